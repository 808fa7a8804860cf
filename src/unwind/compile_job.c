/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/compile_job.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unwind/table_file.h"
#include "util/clock.h"

#define MAX_POLLED 64

const struct sandbox_limits compile_job_limits = {
	.cpu_ns = 20000000000,
	.memory_bytes = 2ULL << 30,
	.output_bytes = MAX_UNWIND_ROWS * sizeof(struct unwind_row) +
			MAX_UNWIND_PAGES * sizeof(struct unwind_page) + 4096,
};

/* The answer is a table file, for which the key is no secret, or an error. */
static const uint8_t no_key[SIPHASH_BYTES];

static int run(void *arg, int output_fd)
{
	const struct compile_job *job = arg;
	struct unwind_table table;
	int err;

	err = job->compile(job->fd, &table);
	if (err)
		return sandbox__answer_error(output_fd, err);
	return table_file__write(output_fd, no_key, no_key, &table);
}

int compile_job__start(struct compile_job *ret, table_compiler compile, int fd,
		       const struct sandbox_limits *limits)
{
	int err;

	ret->compile = compile;
	ret->fd = fd;
	err = sandbox__start(run, ret, &fd, 1, limits, &ret->sandbox);
	if (err) {
		close(fd);
		return err;
	}
	ret->pid_fd = (int)syscall(SYS_pidfd_open, ret->sandbox.pid, 0);
	return 0;
}

/* Returns a timeout for poll(2). */
static int ms_until(uint64_t until_ns)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	uint64_t ms = until_ns > now_ns ? (until_ns - now_ns) / NS_PER_MS + 1 : 0;

	return ms < INT32_MAX ? (int)ms : INT32_MAX;
}

size_t compile_job__wait_any(struct compile_job *const *jobs, size_t cnt)
{
	struct pollfd polled[MAX_POLLED];
	size_t first = 0; /* to be out of time */

	if (cnt > MAX_POLLED)
		cnt = MAX_POLLED;
	for (size_t i = 0; i < cnt; i++) {
		if (jobs[i]->pid_fd < 0)
			return i; /* then this one is waited for */
		polled[i] = (struct pollfd){.fd = jobs[i]->pid_fd, .events = POLLIN};
		if (jobs[i]->sandbox.until_ns < jobs[first]->sandbox.until_ns)
			first = i;
	}
	while (poll(polled, cnt, ms_until(jobs[first]->sandbox.until_ns)) < 0)
		if (errno != EINTR)
			return first;
	for (size_t i = 0; i < cnt; i++)
		if (polled[i].revents)
			return i;
	return first;
}

/* Everything here was said by a child that hostile input may have taken over. */
static int read_answer(int fd, struct unwind_table *ret)
{
	struct unwind_table table;
	int err;

	err = sandbox__answered_error(fd);
	if (err)
		return err;
	err = table_file__read(fd, no_key, no_key, &table);
	if (err)
		return err == -ENOMEM ? err : -EPIPE;
	if (!unwind_table__is_valid(&table)) {
		unwind_table__free(&table);
		return -EPIPE;
	}
	*ret = table;
	return 0;
}

int compile_job__finish(struct compile_job *job, struct unwind_table *ret)
{
	int err;

	err = sandbox__wait(&job->sandbox);
	if (!err)
		err = read_answer(job->sandbox.output_fd, ret);
	else if (err != -ETIME)
		err = -EPIPE;
	sandbox__close(&job->sandbox);
	if (job->pid_fd >= 0)
		close(job->pid_fd);
	close(job->fd);
	return err;
}
