/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/failures.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/failure_limit.h"
#include "report/render.h"
#include "util/clock.h"
#include "util/format.h"
#include "util/procfs.h"
#include "util/units.h"

#define FACTS_NS (20 * NS_PER_MS)  /* many stacks fail at once: one look does for all of them */
#define CAUSE_NS (100 * NS_PER_MS) /* a MemoryError follows what was refused within this */
#define HOLD_NS (20 * NS_PER_MS)   /* so long a refusal's line waits for the MemoryError */
#define LINES_PER_SEC 10
#define MAX_KILLS 1000 /* the newest are kept */

struct kill {
	pid_t pid;
	uint64_t start_ns, time_ns;
	char *comm, *exe, *cgroup, *limit; /* owned */
};

/* A line that is to be printed. */
struct line {
	uint32_t space, cause; /* cause 0 = a kill */
	uint64_t bytes, time_ns;
	uint64_t held_until_ns; /* 0 = not decided yet */
	char *text;		/* owned; NULL = taken back */
};

struct failures {
	ARRAY(struct failure_limit) limits; /* `limit` is owned */
	ARRAY(uint64_t) times;		    /* of each */
	ARRAY(struct kill) kills;

	ARRAY(struct line) lines;
	size_t next_line;
	uint64_t second_ns;		 /* when the second began in which ... */
	struct line said[LINES_PER_SEC]; /* ... these were printed, without their text ... */
	uint32_t said_cnt;
	uint64_t unsaid; /* ... and so many were not */

	bool report_wanted;
	uint64_t last_report_ns; /* 0 = never */

	struct memory_facts facts;
	uint32_t facts_space; /* SPACE_NONE = none */
	uint64_t facts_ns;
};

struct failures *failures__new(void)
{
	return calloc(1, sizeof(struct failures));
}

static void free_kill(struct kill *kill)
{
	free(kill->comm);
	free(kill->exe);
	free(kill->cgroup);
	free(kill->limit);
}

void failures__free(struct failures *failures)
{
	if (!failures)
		return;
	for (size_t i = 0; i < failures->limits.cnt; i++)
		free((char *)failures->limits.items[i].limit);
	for (size_t i = 0; i < failures->kills.cnt; i++)
		free_kill(&failures->kills.items[i]);
	for (size_t i = failures->next_line; i < failures->lines.cnt; i++)
		free(failures->lines.items[i].text);
	array_free(&failures->limits);
	array_free(&failures->times);
	array_free(&failures->kills);
	array_free(&failures->lines);
	memory_facts__free(&failures->facts);
	free(failures);
}

/* ---- who ---- */

/* The process of an event as far as it is known; text is borrowed. */
struct subject {
	pid_t pid;
	bool is_alive;		/* /proc/PID is this process */
	const char *comm, *exe; /* "" = unknown */
	const char *cgroup;	/* "" = unknown */
	uint64_t start_ns;
	struct proc_info info;
};

static void subject__read(struct subject *subject, pid_t pid, const struct space_info *space)
{
	*subject = (struct subject){.pid = pid, .comm = "", .exe = "", .cgroup = ""};
	subject->is_alive = !proc_info__read(pid, &subject->info);
	if (space) {
		subject->cgroup = space->cgroup ? space->cgroup : "";
		subject->comm = space->comm ? space->comm : "";
		subject->exe = space->exe ? space->exe : "";
	}
	/* A vfork child runs in its parent's space. */
	if (space && space->tgid == pid && space->start_ns) {
		subject->start_ns = space->start_ns;
		if (subject->is_alive && subject->info.start_ns != space->start_ns)
			subject->is_alive = false; /* the number belongs to somebody else by now */
	}
	if (!subject->is_alive)
		return;
	subject->start_ns = subject->info.start_ns;
	if (!*subject->comm || (space && space->tgid != pid))
		subject->comm = subject->info.comm;
}

static const struct memory_facts *read_facts(struct failures *failures, uint32_t space,
					     const struct subject *subject)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (failures->facts_space == space && space != SPACE_NONE &&
	    now - failures->facts_ns < FACTS_NS)
		return &failures->facts;
	memory_facts__free(&failures->facts);
	memory_facts__read(&failures->facts, subject->is_alive ? subject->pid : 0,
			   *subject->cgroup ? subject->cgroup : NULL);
	failures->facts_space = space;
	failures->facts_ns = now;
	return &failures->facts;
}

/* ---- lines ---- */

/* Queues a line: who, what and why, made safe for a terminal. `text` is freed. Returns 0 or
 * -ENOMEM. */
static int add_line(struct failures *failures, const struct event *event, uint32_t cause,
		    uint64_t bytes, char *text)
{
	struct line line = {
		.space = event->space, .cause = cause, .bytes = bytes, .time_ns = event->time_ns};
	size_t len;
	FILE *out;
	int err;

	out = text ? open_memstream(&line.text, &len) : NULL;
	if (!out) {
		free(text);
		return -ENOMEM;
	}
	text_put(out, text);
	free(text);
	err = fclose(out) || array_push(&failures->lines, line) ? -ENOMEM : 0;
	if (err)
		free(line.text);
	return err;
}

/* Whether it is what a MemoryError follows, if the process is a Python. */
static bool is_call(const struct line *line)
{
	return line->cause == FAILURE_CAUSE_ALLOC || line->cause == FAILURE_CAUSE_MAPPING;
}

static bool is_cause_of(uint64_t time_ns, const struct event *event)
{
	return time_ns <= event->time_ns && event->time_ns - time_ns < CAUSE_NS;
}

/* The line of a MemoryError says what those before it say, of what led to it. */
static void take_back_causes(struct failures *failures, const struct event *event)
{
	for (size_t i = failures->next_line; i < failures->lines.cnt; i++) {
		struct line *line = &failures->lines.items[i];

		if (line->space != event->space || !is_call(line) ||
		    !is_cause_of(line->time_ns, event))
			continue;
		free(line->text);
		line->text = NULL;
	}
}

static char *describe(const struct subject *subject, uint32_t cause, uint64_t bytes,
		      const char *limit)
{
	const char *comm = *subject->comm ? subject->comm : "process";
	const char *why = *limit ? limit : "which limit refused it is not known";
	char buf[UNITS_MAX];

	if (cause == FAILURE_CAUSE_MEMORY_ERROR && !bytes)
		return format_text("%s[%d]: MemoryError; %s", comm, (int)subject->pid, why);
	if (!bytes)
		return format_text("%s[%d]: memory refused; %s", comm, (int)subject->pid, why);
	format_size(bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes, buf);
	return format_text("%s[%d]: %s, asked for %s; %s", comm, (int)subject->pid,
			   cause == FAILURE_CAUSE_MEMORY_ERROR ? "MemoryError"
			   : cause == FAILURE_CAUSE_MAPPING    ? "mapping refused"
							       : "allocation refused",
			   buf, why);
}

/* Returns the owned line that counts what was not printed. */
static char *take_unsaid(struct failures *failures)
{
	char *text = format_text("%" PRIu64 " more refusals, not told one by one; the report has "
				 "them",
				 failures->unsaid);

	failures->unsaid = 0;
	return text;
}

/* Whether this second has already seen a line that says the same: it comes from another stack. */
static bool was_said(const struct failures *failures, const struct line *line)
{
	for (uint32_t i = 0; i < failures->said_cnt; i++) {
		const struct line *said = &failures->said[i];

		if (line->cause && said->space == line->space && said->cause == line->cause &&
		    said->bytes == line->bytes)
			return true;
	}
	return false;
}

/* A refusal waits from now on: the event of the MemoryError may be in the next batch. */
static void hold_new_lines(struct failures *failures, uint64_t now_ns)
{
	for (size_t i = failures->lines.cnt; i-- > failures->next_line;) {
		struct line *line = &failures->lines.items[i];

		if (line->held_until_ns)
			break;
		line->held_until_ns = is_call(line) ? now_ns + HOLD_NS : now_ns;
	}
}

char *failures__next_line(struct failures *failures, uint64_t now_ns)
{
	bool is_end = now_ns == UINT64_MAX;
	struct line *line;

	if (now_ns - failures->second_ns >= NS_PER_SEC) {
		if (failures->unsaid)
			return take_unsaid(failures);
		failures->second_ns = now_ns;
		failures->said_cnt = 0;
	}
	if (!is_end)
		hold_new_lines(failures, now_ns);
	while (failures->next_line < failures->lines.cnt) {
		line = &failures->lines.items[failures->next_line];
		if (line->text && line->held_until_ns > now_ns)
			return NULL;
		failures->next_line++;
		if (!line->text)
			continue;
		if (failures->said_cnt < LINES_PER_SEC && !was_said(failures, line)) {
			failures->said[failures->said_cnt++] = *line;
			return line->text;
		}
		failures->unsaid++;
		free(line->text);
	}
	failures->lines.cnt = failures->next_line = 0;
	return is_end && failures->unsaid ? take_unsaid(failures) : NULL;
}

int failures__wait_ms(const struct failures *failures, uint64_t now_ns)
{
	uint64_t until;

	if (failures->next_line < failures->lines.cnt)
		until = failures->lines.items[failures->next_line].held_until_ns;
	else if (failures->unsaid)
		until = failures->second_ns + NS_PER_SEC;
	else
		return -1;
	return until <= now_ns ? 0 : (int)((until - now_ns) / NS_PER_MS) + 1;
}

/* ---- refusals ---- */

/* Returns what was refused last before a MemoryError, to the process as a whole: an allocator's
 * request, which is the program's own, rather than a mapping. 0 = not known. */
static uint64_t bytes_before(const struct failures *failures, const struct event *event)
{
	uint64_t mapping_bytes = 0;

	for (size_t i = failures->limits.cnt; i-- > 0;) {
		const struct failure_limit *limit = &failures->limits.items[i];

		if (!is_cause_of(failures->times.items[i], event))
			break;
		if (limit->space != event->space)
			continue;
		if (limit->cause == FAILURE_CAUSE_MEMORY_ERROR)
			break;
		if (limit->cause == FAILURE_CAUSE_ALLOC)
			return limit->bytes;
		if (!mapping_bytes)
			mapping_bytes = limit->bytes;
	}
	return mapping_bytes;
}

/* Keeps the limit, and takes it over in any case. Returns 0 or -ENOMEM. */
static int add_limit(struct failures *failures, const struct event *event, uint64_t bytes,
		     char *text)
{
	const struct failure_limit limit = {
		.space = event->space,
		.cause = event->failed.cause,
		.stack_id = event->stack_id,
		.limit = text,
		.bytes = bytes,
	};

	if (array_reserve_one(&failures->limits) || array_push(&failures->times, event->time_ns)) {
		free(text);
		return -ENOMEM;
	}
	failures->limits.items[failures->limits.cnt++] = limit;
	return 0;
}

static int apply_failure(struct failures *failures, const struct event *event,
			 const struct space_info *space)
{
	bool is_error = event->failed.cause == FAILURE_CAUSE_MEMORY_ERROR;
	uint64_t bytes = event->failed.bytes;
	struct subject subject;
	char *limit, *text;

	subject__read(&subject, (pid_t)event->failed.tgid, space);
	if (is_error && !bytes)
		bytes = bytes_before(failures, event);
	limit = explain_refusal(read_facts(failures, event->space, &subject), bytes);
	if (!limit)
		return -ENOMEM;
	text = describe(&subject, event->failed.cause, bytes, limit);
	if (add_limit(failures, event, bytes, limit)) {
		free(text);
		return -ENOMEM;
	}
	if (is_error)
		take_back_causes(failures, event);
	return add_line(failures, event, event->failed.cause, bytes, text);
}

const struct failure_limit *failures__limits(struct failures *failures,
					     const struct space_table *table, size_t *ret_cnt)
{
	size_t kept = 0;

	for (size_t i = 0; i < failures->limits.cnt; i++) {
		struct failure_limit *limit = &failures->limits.items[i];

		if (!space_table__find(table, limit->space)) {
			free((char *)limit->limit);
			continue;
		}
		failures->limits.items[kept] = *limit;
		failures->times.items[kept++] = failures->times.items[i];
	}
	failures->limits.cnt = failures->times.cnt = kept;
	*ret_cnt = kept;
	return failures->limits.items;
}

/* ---- kills ---- */

static int add_kill(struct failures *failures, struct kill *kill)
{
	if (!kill->comm || !kill->exe || !kill->cgroup || !kill->limit)
		return -ENOMEM;
	if (failures->kills.cnt == MAX_KILLS) {
		free_kill(&failures->kills.items[0]);
		failures->kills.cnt--;
		memmove(failures->kills.items, failures->kills.items + 1,
			failures->kills.cnt * sizeof(*kill));
	}
	return array_push(&failures->kills, *kill);
}

static char *describe_kill(const struct subject *subject, const char *limit)
{
	const char *comm = *subject->comm ? subject->comm : "process";
	const char *link = !strncmp(limit, "in ", 3) ? " " : ": ";

	if (*limit)
		return format_text("the kernel's OOM killer chose %s[%d]%s%s", comm,
				   (int)subject->pid, link, limit);
	if (*subject->cgroup)
		return format_text("the kernel's OOM killer chose %s[%d] in cgroup %s", comm,
				   (int)subject->pid, subject->cgroup);
	return format_text("the kernel's OOM killer chose %s[%d]", comm, (int)subject->pid);
}

static int apply_kill(struct failures *failures, const struct event *event,
		      const struct space_info *space)
{
	struct subject subject;
	struct kill kill;
	char *text = NULL;

	subject__read(&subject, (pid_t)event->proc.tgid, space);
	kill = (struct kill){
		.pid = subject.pid,
		.start_ns = subject.start_ns,
		.time_ns = event->time_ns,
		.comm = strdup(subject.comm),
		.exe = strdup(subject.exe),
		.cgroup = strdup(subject.cgroup),
		.limit = explain_kill(read_facts(failures, event->space, &subject)),
	};
	if (kill.limit)
		text = describe_kill(&subject, kill.limit);
	if (add_kill(failures, &kill)) {
		free_kill(&kill);
		free(text);
		return -ENOMEM;
	}
	failures->report_wanted = true;
	return add_line(failures, event, 0, 0, text);
}

bool failures__wants_report(struct failures *failures, uint64_t now_ns)
{
	if (!failures->report_wanted ||
	    (failures->last_report_ns && now_ns - failures->last_report_ns < NS_PER_SEC))
		return false;
	failures->report_wanted = false;
	failures->last_report_ns = now_ns;
	return true;
}

bool failures__was_killed(const struct failures *failures, pid_t pid, uint64_t start_ns)
{
	for (size_t i = failures->kills.cnt; i-- > 0;)
		if (failures->kills.items[i].pid == pid &&
		    failures->kills.items[i].start_ns == start_ns)
			return true;
	return false;
}

/* Returns the process's index, SNAP_NONE = no memory. */
static uint32_t find_proc(struct snapshot *snap, const struct kill *kill)
{
	uint32_t index;

	for (size_t i = snap->procs.cnt; i-- > 0;) {
		const struct snap_proc *proc = &snap->procs.items[i];

		if (proc->pid == kill->pid && (!kill->start_ns || proc->start_ns == kill->start_ns))
			return (uint32_t)i;
	}
	index = snapshot__add_proc(snap, kill->pid, kill->start_ns, kill->comm, kill->exe,
				   kill->cgroup, "");
	if (index != SNAP_NONE) {
		snap->procs.items[index].state = PROC_EXITED;
		snap->procs.items[index].exit_code = SIGKILL;
	}
	return index;
}

static int compare_failures(const void *a, const void *b)
{
	const struct snap_failure *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return (int)x->kind - (int)y->kind;
}

int failures__tell(const struct failures *failures, struct snapshot *snap)
{
	uint64_t since_boot = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);

	for (size_t i = 0; i < failures->kills.cnt; i++) {
		const struct kill *kill = &failures->kills.items[i];
		const struct snap_failure failure = {
			.kind = FAILURE_OOM_KILL,
			.proc = find_proc(snap, kill),
			.time_ns = since_boot + kill->time_ns,
			.cnt = 1,
			.limit = kill->limit,
		};

		if (failure.proc == SNAP_NONE || snapshot__add_failure(snap, &failure))
			return -ENOMEM;
	}
	if (failures->kills.cnt && snap->failures.cnt)
		qsort(snap->failures.items, snap->failures.cnt, sizeof(*snap->failures.items),
		      compare_failures);
	return 0;
}

int failures__apply(struct failures *failures, const struct event *event,
		    const struct space_table *table)
{
	const struct space_info *space = space_table__find(table, event->space);

	if (event->kind == EV_FAILURE)
		return apply_failure(failures, event, space);
	if (event->kind == EV_OOM_KILL)
		return apply_kill(failures, event, space);
	return 0;
}
