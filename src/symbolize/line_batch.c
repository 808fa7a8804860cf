// SPDX-License-Identifier: GPL-2.0-or-later
#include "symbolize/line_batch.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cpu_time.h"
#include "util/sandbox.h"

#define LEAST_CPU_NS (5 * NS_PER_MS)	/* to make a child takes some of it */
#define WALL_LIMIT_NS (30 * NS_PER_SEC) /* the same on a busy host */
#define MEMORY_LIMIT (1ULL << 30)	/* beside the file itself, unpacked */
#define OUTPUT_LIMIT (64ULL << 20)
#define MAX_CHILDREN 16

struct child {
	struct line_job *job;
	struct sandbox sandbox;
	int pid_fd; /* -1 = no way to wait with a limit */
	uint64_t deadline_ns;
};

struct crew {
	struct child children[MAX_CHILDREN];
	size_t cnt, max;
	uint64_t left_ns; /* CPU time that nobody was given */
};

static uint64_t file_size(int fd)
{
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

static void start_child(struct crew *crew, struct line_job *job)
{
	const struct sandbox_limits limits = {
		.cpu_ns = crew->left_ns < LINE_CPU_NS ? crew->left_ns : LINE_CPU_NS,
		/* It is mapped, and compressed sections come out several times as big. */
		.memory_bytes = MEMORY_LIMIT +
				5 * (file_size(job->input.fd) + file_size(job->input.alt_fd)),
		.output_bytes = OUTPUT_LIMIT,
	};
	const int fds[] = {job->input.fd, job->input.alt_fd};
	struct child *child = &crew->children[crew->cnt];

	*child = (struct child){.job = job};
	job->cpu_ns = limits.cpu_ns;
	job->err =
		sandbox__start(dwarf_lines__write, &job->input, fds, 2, &limits, &child->sandbox);
	if (job->err)
		return;
	child->pid_fd = pidfd_open(child->sandbox.pid, 0);
	child->deadline_ns = clock_ns(CLOCK_MONOTONIC) + WALL_LIMIT_NS;
	crew->left_ns -= job->cpu_ns;
	crew->cnt++;
}

static int read_answer(struct line_job *job, int fd)
{
	uint64_t size = file_size(fd);
	size_t done = 0;
	ssize_t got;

	if (!size)
		return 0;
	job->answer = malloc(size);
	if (!job->answer)
		return -ENOMEM;
	while (done < size) {
		got = pread(fd, job->answer + done, size - done, (off_t)done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	job->answer_size = done;
	return 0;
}

/* Takes the child out of the crew. Returns 0 or -ENOMEM. */
static int finish_child(struct crew *crew, size_t index, bool late)
{
	struct child *child = &crew->children[index];
	struct line_job *job = child->job;
	uint64_t before_ns = children_cpu_ns(), used_ns;
	int err;

	job->err = late ? -ETIME : sandbox__wait(&child->sandbox);
	err = read_answer(job, child->sandbox.output_fd);
	if (child->pid_fd >= 0)
		close(child->pid_fd);
	sandbox__close(&child->sandbox);
	used_ns = children_cpu_ns() - before_ns;
	crew->left_ns += used_ns < job->cpu_ns ? job->cpu_ns - used_ns : 0;
	*child = crew->children[--crew->cnt];
	return err;
}

/* Waits until some child is done or out of time. */
static int wait_for_some(struct crew *crew)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), next = UINT64_MAX, ms;
	struct pollfd fds[MAX_CHILDREN];
	int err = 0;

	for (size_t i = 0; i < crew->cnt; i++) {
		fds[i] = (struct pollfd){.fd = crew->children[i].pid_fd, .events = POLLIN};
		if (fds[i].fd < 0)
			return finish_child(crew, i, false);
		if (crew->children[i].deadline_ns < next)
			next = crew->children[i].deadline_ns;
	}
	ms = next > now ? (next - now) / NS_PER_MS + 1 : 0;
	if (poll(fds, crew->cnt, (int)ms) < 0 && errno != EINTR)
		return finish_child(crew, 0, false);
	now = clock_ns(CLOCK_MONOTONIC);
	/* From the end: who is taken out is replaced by the last. */
	for (size_t i = crew->cnt; i-- > 0 && !err;)
		if (fds[i].revents)
			err = finish_child(crew, i, false);
		else if (now >= crew->children[i].deadline_ns)
			err = finish_child(crew, i, true);
	return err;
}

/* Who needs least goes first: a file too big for the time there is keeps nobody waiting. */
static struct line_job *next_job(struct line_job *jobs, size_t cnt)
{
	struct line_job *next = NULL;

	for (size_t i = 0; i < cnt; i++)
		if (!jobs[i].cpu_ns && (!next || jobs[i].least_cpu_ns < next->least_cpu_ns))
			next = &jobs[i];
	return next;
}

static bool has_time_for(const struct crew *crew, const struct line_job *job)
{
	return crew->left_ns >= LEAST_CPU_NS && crew->left_ns >= job->least_cpu_ns;
}

int line_batch__run(struct line_job *jobs, size_t cnt, uint64_t cpu_ns)
{
	size_t cpus = cpu_cnt();
	struct crew crew = {.max = MAX_CHILDREN, .left_ns = cpu_ns};
	struct line_job *job;
	int err = 0;

	if (cpus < MAX_CHILDREN)
		crew.max = cpus;
	while (!err) {
		while (crew.cnt < crew.max && (job = next_job(jobs, cnt)) &&
		       has_time_for(&crew, job))
			start_child(&crew, job);
		if (!crew.cnt)
			break;
		err = wait_for_some(&crew);
	}
	while (crew.cnt)
		finish_child(&crew, crew.cnt - 1, true);
	for (size_t i = 0; i < cnt; i++)
		if (!jobs[i].cpu_ns)
			jobs[i].err = -EAGAIN;
	return err;
}

/* ---- answers -------------------------------------------------------------------------------- */

static bool is_sound(const struct lines_head *head, const struct line_chunk *chunk,
		     const struct line_job *job)
{
	const struct lines_record *record;
	const struct lines_call *call;

	for (uint32_t i = 0; i < head->record_cnt; i++) {
		record = &chunk->records[i];
		if (record->index >= job->input.cnt || record->function >= head->text_size ||
		    record->file >= head->text_size || record->call_first > head->call_cnt ||
		    record->call_cnt > head->call_cnt - record->call_first)
			return false;
	}
	for (uint32_t i = 0; i < head->call_cnt; i++) {
		call = &chunk->calls[i];
		if (call->function >= head->text_size || call->file >= head->text_size)
			return false;
	}
	return true;
}

int line_job__next(const struct line_job *job, size_t *pos, struct line_chunk *ret_chunk)
{
	size_t left = job->answer_size - *pos, records_size, calls_size;
	const char *at = job->answer + *pos;
	const struct lines_head *head;
	struct line_chunk chunk;

	if (!left)
		return 0;
	head = (const struct lines_head *)at;
	if (left < sizeof(*head) || head->magic != LINES_MAGIC)
		return -EBADMSG;
	left -= sizeof(*head);
	records_size = head->record_cnt * sizeof(struct lines_record);
	calls_size = head->call_cnt * sizeof(struct lines_call);
	if (records_size > left || calls_size > left - records_size ||
	    head->text_size > left - records_size - calls_size || !head->text_size ||
	    head->text_size % 8)
		return -EBADMSG;
	chunk.record_cnt = head->record_cnt;
	chunk.records = (const struct lines_record *)(at + sizeof(*head));
	chunk.calls = (const struct lines_call *)((const char *)chunk.records + records_size);
	chunk.text = (const char *)chunk.calls + calls_size;
	if (chunk.text[0] || chunk.text[head->text_size - 1] || !is_sound(head, &chunk, job))
		return -EBADMSG;
	*pos += sizeof(*head) + records_size + calls_size + head->text_size;
	*ret_chunk = chunk;
	return 1;
}

void line_batch__free(struct line_job *jobs, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		free(jobs[i].answer);
		jobs[i].answer = NULL;
		jobs[i].answer_size = 0;
	}
}
