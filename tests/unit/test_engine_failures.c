/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which limit refused memory, and what is said of it when. */
#include "unit/compile.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "engine/failure_limit.h"
#include "engine/failures.h"
#include "util/clock.h"
#include "util/procfs.h"

#define KIB 1024ULL
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define SPACE 5
#define HELD (20 * NS_PER_MS) /* a refusal waits for a MemoryError */

/* ---- sentences ---- */

/* A process that nothing limits, on a host with plenty. */
static struct memory_facts free_facts(void)
{
	return (struct memory_facts){
		.has_proc = true,
		.has_host = true,
		.proc = {.size_limit = MEMORY_UNLIMITED,
			 .data_limit = MEMORY_UNLIMITED,
			 .size = 100 * MIB,
			 .size_peak = 200 * MIB,
			 .data = 50 * MIB},
		.host = {.ram = 16 * GIB,
			 .available = 8 * GIB,
			 .swap = 2 * GIB,
			 .commit_limit = 10 * GIB,
			 .committed = 4 * GIB,
			 .admin_reserve = 8 * MIB,
			 .user_reserve = 128 * MIB,
			 .max_maps = 65530},
	};
}

static void check_refusal(const struct memory_facts *facts, uint64_t bytes, const char *expected)
{
	char *sentence = explain_refusal(facts, bytes);

	assert_non_null(sentence);
	assert_string_equal(sentence, expected);
	free(sentence);
}

static void test_nothing_known(void **state)
{
	struct memory_facts facts = free_facts();

	(void)state;
	check_refusal(&facts, 64 * MIB, "");
	check_refusal(&facts, 0, "");
	facts.has_proc = facts.has_host = false;
	check_refusal(&facts, 64 * MIB, "");
	check_refusal(&facts, UINT64_MAX,
		      "more than the address space of a process, 8.0 EiB asked for");
}

static void test_address_space_limit(void **state)
{
	struct memory_facts facts = free_facts();

	(void)state;
	facts.proc.size_limit = 524288 * KIB;
	facts.proc.size = 498 * MIB + 100 * KIB;
	facts.proc.size_peak = 499 * MIB;
	check_refusal(&facts, 64 * MIB,
		      "ulimit -v 524288 KiB: 498.1 MiB in use, 64.0 MiB asked for");
	/* It has given memory back before the look. */
	facts.proc.size = 20 * MIB;
	check_refusal(&facts, 64 * MIB,
		      "ulimit -v 524288 KiB: up to 499.0 MiB in use, 64.0 MiB asked for");
	check_refusal(&facts, 0, "");
	/* A small block makes the allocator ask for a mapping. */
	facts.proc.size_peak = 512 * MIB - 300 * KIB;
	check_refusal(&facts, 100, "ulimit -v 524288 KiB: up to 511.7 MiB in use, 100 B asked for");
	check_refusal(&facts, 0, "ulimit -v 524288 KiB: up to 511.7 MiB in use");
	facts.proc.size_peak = 300 * MIB;
	check_refusal(&facts, 100, "");
	/* The process is gone: only what exceeds the limit by itself is sure. */
	facts.proc.size = facts.proc.size_peak = facts.proc.data = 0;
	check_refusal(&facts, 7629 * MIB, "ulimit -v 524288 KiB, 7.5 GiB asked for");
	check_refusal(&facts, 512 * MIB, "");
}

static void test_data_limit(void **state)
{
	struct memory_facts facts = free_facts();

	(void)state;
	facts.proc.data_limit = 102400 * KIB;
	check_refusal(&facts, 64 * MIB,
		      "ulimit -d 102400 KiB: 50.0 MiB in use, 64.0 MiB asked for");
	facts.proc.data = 10 * MIB;
	check_refusal(&facts, 64 * MIB,
		      "ulimit -d 102400 KiB: up to 110.0 MiB in use, 64.0 MiB asked for");
	/* What is certain goes before what may be. */
	facts.proc.size_limit = 160 * MIB;
	check_refusal(&facts, 64 * MIB,
		      "ulimit -v 163840 KiB: 100.0 MiB in use, 64.0 MiB asked for");
}

static void test_overcommit(void **state)
{
	struct memory_facts facts = free_facts();

	(void)state;
	check_refusal(&facts, 18 * GIB, "");
	check_refusal(&facts, 18 * GIB + 1,
		      "more in one piece than the host has (vm.overcommit_memory 0): 16.0 GiB of "
		      "RAM, 2.0 GiB of swap, 18.0 GiB asked for");
	facts.host.overcommit = OVERCOMMIT_ALWAYS;
	check_refusal(&facts, 100 * GIB, "");
	facts.host.overcommit = OVERCOMMIT_STRICT;
	check_refusal(&facts, 5 * GIB, "");
	check_refusal(&facts, 6 * GIB + 1,
		      "vm.overcommit_memory 2: 4.0 GiB of CommitLimit 10.0 GiB committed, 6.0 GiB "
		      "asked for");
	/* 8 MiB are held back, 100/32 MiB for others, and it had 100 MiB more. */
	check_refusal(&facts, 6 * GIB - 113 * MIB, "");
	check_refusal(&facts, 6 * GIB - 112 * MIB,
		      "vm.overcommit_memory 2: 4.0 GiB of CommitLimit 10.0 GiB committed, 5.9 GiB "
		      "asked for");
}

static void test_other_limits(void **state)
{
	struct memory_facts facts = free_facts();

	(void)state;
	facts.map_cnt = 65530;
	check_refusal(&facts, 4096, "vm.max_map_count 65530: the process has 65530 mappings");
	facts.map_cnt = 60000;
	check_refusal(&facts, 4096, "");
	facts.has_cgroup = true;
	facts.cgroup = (struct cgroup_memory){
		.path = "/x", .limit_name = "memory.max", .limit = 64 * MIB, .usage = 60 * MIB};
	check_refusal(&facts, 4096, "");
	facts.cgroup.usage = 65500 * KIB;
	check_refusal(&facts, 4096,
		      "cgroup /x: memory.max 64.0 MiB, 64.0 MiB in use, 4.0 KiB asked for");
	facts.cgroup.limit = 0;
	check_refusal(&facts, 0, "cgroup /x: memory.max 0 B, 64.0 MiB in use");
}

static void check_kill(const struct memory_facts *facts, const char *expected)
{
	char *sentence = explain_kill(facts);

	assert_non_null(sentence);
	assert_string_equal(sentence, expected);
	free(sentence);
}

static void test_kill_reasons(void **state)
{
	struct memory_facts facts = free_facts();

	(void)state;
	check_kill(&facts, "");
	facts.has_cgroup = true;
	facts.cgroup = (struct cgroup_memory){
		.path = "/x", .limit_name = "memory.max", .limit = 64 * MIB, .usage = 1 * MIB};
	check_kill(&facts, "in cgroup /x (memory.max 64.0 MiB)");
	facts.host.available = GIB;
	check_kill(&facts, "the host is out of memory: 16.0 GiB of RAM, 1.0 GiB available");
	facts.cgroup.peak = 64 * MIB;
	check_kill(&facts, "in cgroup /x (memory.max 64.0 MiB)");
	facts.has_cgroup = facts.has_host = false;
	check_kill(&facts, "");
}

/* ---- events ---- */

/* A process that may have 4 GiB of data, under a name of its choice. Another program: a sanitizer's
 * own memory would exceed any limit. */
static pid_t start_limited(const char *name)
{
	struct rlimit limit = {.rlim_cur = 4 * GIB, .rlim_max = 4 * GIB};
	struct proc_info info;
	char *path;
	int ready[2];
	char byte;
	pid_t pid;

	assert_true(asprintf(&path, "%s/%s", work_dir, name) > 0);
	assert_int_equal(symlink("/bin/sleep", path), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setrlimit(RLIMIT_DATA, &limit);
		execl(path, name, "600", NULL);
		_exit(1);
	}
	close(ready[1]);
	/* exec closes the pipe, and sets the name right after. */
	assert_int_equal(read(ready[0], &byte, 1), 0);
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(proc_info__read(pid, &info), 0);
		if (!strncmp(info.comm, name, strlen(info.comm)))
			break;
		usleep(1000);
	}
	close(ready[0]);
	free(path);
	return pid;
}

static void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static struct event failure_event(pid_t pid, uint32_t cause, uint64_t stack_id, uint64_t bytes,
				  uint64_t time_ns)
{
	return (struct event){
		.kind = EV_FAILURE,
		.space = SPACE,
		.time_ns = time_ns,
		.stack_id = stack_id,
		.failed = {.bytes = bytes, .cause = cause, .tgid = (uint32_t)pid},
	};
}

/* Lets what waits for a MemoryError wait until `now_ns`. */
static void pass_time(struct failures *failures, uint64_t now_ns)
{
	assert_null(failures__next_line(failures, now_ns - HELD));
}

static void apply(struct failures *failures, struct event event, const struct space_table *table)
{
	assert_int_equal(failures__apply(failures, &event, table), 0);
}

static void check_line(struct failures *failures, uint64_t now_ns, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Compares the next line; NULL = there must be none. */
static void check_line(struct failures *failures, uint64_t now_ns, const char *fmt, ...)
{
	char *line = failures__next_line(failures, now_ns), *expected;
	va_list args;

	if (!fmt) {
		assert_null(line);
		return;
	}
	va_start(args, fmt);
	assert_true(vasprintf(&expected, fmt, args) > 0);
	va_end(args);
	assert_non_null(line);
	assert_string_equal(line, expected);
	free(expected);
	free(line);
}

/* Returns the sentence for a limit of 4 GiB, which says how much the process has. */
static char *limit_of(struct failures *failures, const struct space_table *table, size_t index)
{
	size_t cnt;
	const struct failure_limit *limits = failures__limits(failures, table, &cnt);

	assert_true(index < cnt);
	return strdup(limits[index].limit);
}

static void test_refusal_is_told_at_once(void **state)
{
	struct failures *failures = failures__new();
	struct space_table table = {0};
	pid_t pid = start_limited("server");
	const struct failure_limit *limits;
	size_t cnt;
	char *why;

	(void)state;
	space_table__add(&table, SPACE, pid, 1);
	apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, 77, 5 * GIB, 1000), &table);
	limits = failures__limits(failures, &table, &cnt);
	assert_int_equal(cnt, 1);
	assert_int_equal(limits[0].space, SPACE);
	assert_int_equal(limits[0].cause, FAILURE_CAUSE_ALLOC);
	assert_int_equal(limits[0].stack_id, 77);
	assert_int_equal(limits[0].bytes, 5 * GIB);
	assert_non_null(strstr(limits[0].limit, "ulimit -d 4194304 KiB: "));
	assert_non_null(strstr(limits[0].limit, " in use, 5.0 GiB asked for"));
	why = limit_of(failures, &table, 0);
	check_line(failures, 1000, NULL); /* it may yet become a MemoryError */
	assert_int_equal(failures__wait_ms(failures, 1000), 21);
	assert_int_equal(failures__wait_ms(failures, 1000 + HELD), 0);
	check_line(failures, 1000 + HELD, "server[%d]: allocation refused, asked for 5.0 GiB; %s",
		   pid, why);
	check_line(failures, 1000 + HELD, NULL);
	assert_int_equal(failures__wait_ms(failures, 1000 + HELD), -1);
	apply(failures, failure_event(pid, FAILURE_CAUSE_MAPPING, 78, 4096, 2000), &table);
	pass_time(failures, NS_PER_SEC);
	check_line(failures, NS_PER_SEC,
		   "server[%d]: mapping refused, asked for 4.0 KiB; which limit refused it is not "
		   "known",
		   pid);
	/* Nobody asks for the entries of a space that is forgotten. */
	space_table__drop(&table, space_table__find(&table, SPACE));
	failures__limits(failures, &table, &cnt);
	assert_int_equal(cnt, 0);
	assert_false(failures__wants_report(failures, 1));
	free(why);
	end_process(pid);
	failures__free(failures);
	space_table__free(&table);
}

/* malloc fails, then Python raises: one line, which says what was asked for. */
static void test_memory_error_is_one_line(void **state)
{
	struct failures *failures = failures__new();
	struct space_table table = {0};
	pid_t pid = start_limited("python3");
	const struct failure_limit *limits;
	size_t cnt;
	char *why;

	(void)state;
	space_table__add(&table, SPACE, pid, 1);
	apply(failures, failure_event(pid, FAILURE_CAUSE_MAPPING, 1, MIB, 1000), &table);
	apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, 2, 8 * GIB, 2000), &table);
	apply(failures, failure_event(pid, FAILURE_CAUSE_MEMORY_ERROR, 3, 0, 3000), &table);
	limits = failures__limits(failures, &table, &cnt);
	assert_int_equal(cnt, 3);
	assert_int_equal(limits[2].bytes, 8 * GIB);
	why = limit_of(failures, &table, 2);
	assert_non_null(strstr(why, "ulimit -d 4194304 KiB: "));
	check_line(failures, 3000, "python3[%d]: MemoryError, asked for 8.0 GiB; %s", pid, why);
	check_line(failures, 3000, NULL);
	/* The next one has no cause: neither the old one is taken for it, nor one of later. */
	apply(failures, failure_event(pid, FAILURE_CAUSE_MEMORY_ERROR, 4, 0, 4000), &table);
	check_line(failures, 4000, "python3[%d]: MemoryError; which limit refused it is not known",
		   pid);
	apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, 5, 8 * GIB, 5000), &table);
	apply(failures, failure_event(pid, FAILURE_CAUSE_MEMORY_ERROR, 6, 0, 5000 + NS_PER_SEC),
	      &table);
	pass_time(failures, 2 * NS_PER_SEC);
	free(failures__next_line(failures, 2 * NS_PER_SEC));
	check_line(failures, 2 * NS_PER_SEC,
		   "python3[%d]: MemoryError; which limit refused it is not known", pid);
	/* The refusal was told already, and is not taken back. */
	apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, 7, 9 * GIB, 3 * NS_PER_SEC),
	      &table);
	pass_time(failures, 3 * NS_PER_SEC + HELD);
	free(failures__next_line(failures, 3 * NS_PER_SEC + HELD));
	apply(failures, failure_event(pid, FAILURE_CAUSE_MEMORY_ERROR, 8, 0, 3 * NS_PER_SEC + HELD),
	      &table);
	free(why);
	why = limit_of(failures, &table, 6);
	check_line(failures, 3 * NS_PER_SEC + HELD,
		   "python3[%d]: MemoryError, asked for 9.0 GiB; %s", pid, why);
	free(why);
	end_process(pid);
	failures__free(failures);
	space_table__free(&table);
}

static void test_lines_are_limited(void **state)
{
	struct failures *failures = failures__new();
	struct space_table table = {0};
	pid_t pid = start_limited("busy");
	uint64_t now = 5 * NS_PER_SEC;
	size_t cnt;

	(void)state;
	for (uint64_t i = 0; i < 37; i++)
		apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, i, 100 + i, i), &table);
	pass_time(failures, now);
	for (int i = 0; i < 10; i++)
		free(failures__next_line(failures, now + (uint64_t)i));
	check_line(failures, now + 11, NULL);
	assert_int_equal(failures__wait_ms(failures, now + 400 * NS_PER_MS), 581);
	apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, 99, 99, 99), &table);
	pass_time(failures, now + NS_PER_SEC / 2);
	check_line(failures, now + NS_PER_SEC / 2, NULL);
	apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, 100, 98, 100), &table);
	pass_time(failures, now + NS_PER_SEC - 2 * HELD);
	check_line(failures, now + NS_PER_SEC,
		   "28 more refusals, not told one by one; the report has them");
	check_line(failures, now + NS_PER_SEC,
		   "busy[%d]: allocation refused, asked for 98 B; which limit refused it is not "
		   "known",
		   pid);
	check_line(failures, now + NS_PER_SEC, NULL);
	assert_int_equal(failures__wait_ms(failures, now + NS_PER_SEC), -1);
	/* All at once at the end. */
	for (uint64_t i = 0; i < 12; i++)
		apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, i, 1 + i, UINT64_MAX / 2),
		      &table);
	for (int i = 0; i < 10; i++)
		free(failures__next_line(failures, UINT64_MAX));
	check_line(failures, UINT64_MAX,
		   "2 more refusals, not told one by one; the report has them");
	check_line(failures, UINT64_MAX, NULL);
	/* The space was never known: nothing to report. */
	failures__limits(failures, &table, &cnt);
	assert_int_equal(cnt, 0);
	end_process(pid);
	failures__free(failures);
	space_table__free(&table);
}

/* The same from many stacks is one line. */
static void test_equal_lines(void **state)
{
	struct failures *failures = failures__new();
	struct space_table table = {0};
	pid_t pid = start_limited("same");

	(void)state;
	for (uint64_t i = 0; i < 5; i++)
		apply(failures, failure_event(pid, FAILURE_CAUSE_MAPPING, i, MIB, i), &table);
	apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, 6, MIB, 6), &table);
	pass_time(failures, 5 * NS_PER_SEC);
	check_line(failures, 5 * NS_PER_SEC,
		   "same[%d]: mapping refused, asked for 1.0 MiB; which limit refused it is not "
		   "known",
		   pid);
	check_line(failures, 5 * NS_PER_SEC,
		   "same[%d]: allocation refused, asked for 1.0 MiB; which limit refused it is not "
		   "known",
		   pid);
	check_line(failures, 5 * NS_PER_SEC, NULL);
	check_line(failures, 6 * NS_PER_SEC,
		   "4 more refusals, not told one by one; the report has them");
	end_process(pid);
	failures__free(failures);
	space_table__free(&table);
}

/* A name is the process's own choice, a process number may be used again, or gone. */
static void test_hostile_subjects(void **state)
{
	struct failures *failures = failures__new();
	struct space_table table = {0};
	pid_t pid = start_limited("\033[31mred\nno");
	struct space_info *space;

	(void)state;
	apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, 1, 100, 1), &table);
	pass_time(failures, HELD + 1);
	check_line(failures, HELD + 1,
		   "\\x1b[31mred\\x0ano[%d]: allocation refused, asked for 100 B; which limit "
		   "refused it is not known",
		   pid);
	space = space_table__add(&table, SPACE, pid, 1);
	space->start_ns = 12345;
	free(space->comm);
	space->comm = strdup("late");
	/* Its number is somebody else's: that one's limit means nothing. */
	apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, 2, 5 * GIB, NS_PER_SEC), &table);
	pass_time(failures, NS_PER_SEC + HELD);
	/* The look of a moment ago may be used again. */
	free(failures__next_line(failures, NS_PER_SEC + HELD));
	usleep(30000);
	apply(failures, failure_event(pid, FAILURE_CAUSE_ALLOC, 3, 5 * GIB, 3 * NS_PER_SEC),
	      &table);
	pass_time(failures, 3 * NS_PER_SEC + HELD);
	check_line(failures, 3 * NS_PER_SEC + HELD,
		   "late[%d]: allocation refused, asked for 5.0 GiB; which limit refused it is not "
		   "known",
		   pid);
	end_process(pid);
	apply(failures, failure_event(0x3ffffffe, 99, 4, 0, 2 * NS_PER_SEC), &table);
	check_line(failures, 3 * NS_PER_SEC + HELD,
		   "late[1073741822]: memory refused; which limit refused it is not known");
	failures__free(failures);
	space_table__free(&table);
}

/* ---- kills ---- */

static struct event kill_event(pid_t pid, uint64_t time_ns)
{
	return (struct event){
		.kind = EV_OOM_KILL,
		.space = SPACE,
		.time_ns = time_ns,
		.proc = {.tgid = (uint32_t)pid},
	};
}

static void test_kill(void **state)
{
	struct failures *failures = failures__new();
	uint64_t now = clock_ns(CLOCK_MONOTONIC), real = clock_ns(CLOCK_REALTIME);
	struct snapshot *snap = snapshot__new("trace");
	struct space_table table = {0};
	pid_t pid = start_limited("redis-server");
	const struct snap_failure *failure;
	struct snap_failure other = {
		.kind = FAILURE_ALLOC, .time_ns = real + NS_PER_SEC, .bytes = 1, .cnt = 1};
	char *line, *begin;

	(void)state;
	apply(failures, kill_event(pid, now), &table);
	line = failures__next_line(failures, now);
	assert_true(asprintf(&begin, "the kernel's OOM killer chose redis-server[%d]", pid) > 0);
	assert_non_null(line);
	assert_ptr_equal(strstr(line, begin), line);
	assert_true(failures__wants_report(failures, now));
	assert_false(failures__wants_report(failures, now + 10 * NS_PER_SEC));
	apply(failures, kill_event(pid + 1, now + 2 * NS_PER_SEC), &table);
	assert_false(failures__wants_report(failures, now + NS_PER_SEC / 2));
	assert_true(failures__wants_report(failures, now + NS_PER_SEC));

	snapshot__add_proc(snap, 4711, 1, "other", "", "", "");
	assert_int_equal(snapshot__add_failure(snap, &other), 0);
	assert_int_equal(failures__tell(failures, snap), 0);
	assert_int_equal(snap->failures.cnt, 3);
	failure = &snap->failures.items[0];
	assert_int_equal(failure->kind, FAILURE_OOM_KILL);
	assert_int_equal(failure->cnt, 1);
	assert_int_equal(failure->stack, 0);
	assert_true(failure->time_ns >= real - NS_PER_SEC && failure->time_ns <= real + NS_PER_SEC);
	assert_int_equal(snap->procs.items[failure->proc].pid, pid);
	assert_string_equal(snap->procs.items[failure->proc].comm, "redis-server");
	assert_int_equal(snap->procs.items[failure->proc].state, PROC_EXITED);
	assert_int_equal(WTERMSIG(snap->procs.items[failure->proc].exit_code), SIGKILL);
	assert_int_equal(snap->failures.items[1].kind, FAILURE_ALLOC);
	assert_int_equal(snap->failures.items[2].kind, FAILURE_OOM_KILL);
	assert_int_equal(snap->procs.cnt, 3);
	free(begin);
	free(line);
	end_process(pid);
	snapshot__free(snap);
	failures__free(failures);
	space_table__free(&table);
}

static void test_many_kills(void **state)
{
	struct failures *failures = failures__new();
	struct snapshot *snap = snapshot__new("trace");
	struct space_table table = {0};

	(void)state;
	for (uint64_t i = 0; i < 1100; i++)
		apply(failures, kill_event(0x3ff00000 + (pid_t)i, i), &table);
	assert_int_equal(failures__tell(failures, snap), 0);
	assert_int_equal(snap->failures.cnt, 1000);
	assert_int_equal(snap->procs.items[snap->failures.items[0].proc].pid, 0x3ff00000 + 100);
	snapshot__free(snap);
	failures__free(failures);
	space_table__free(&table);
}

/* ---- nothing ---- */

static void test_other_events(void **state)
{
	struct failures *failures = failures__new();
	struct space_table table = {0};
	size_t cnt;

	(void)state;
	apply(failures, (struct event){.kind = EV_MMAP, .space = SPACE}, &table);
	check_line(failures, 1, NULL);
	failures__limits(failures, &table, &cnt);
	assert_int_equal(cnt, 0);
	assert_false(failures__wants_report(failures, 1));
	failures__free(failures);
	failures__free(NULL);
}

#define UNIT_TEST(f) cmocka_unit_test_setup_teardown(f, make_work_dir, remove_work_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_known),	 cmocka_unit_test(test_address_space_limit),
		cmocka_unit_test(test_data_limit),	 cmocka_unit_test(test_overcommit),
		cmocka_unit_test(test_other_limits),	 cmocka_unit_test(test_kill_reasons),
		UNIT_TEST(test_refusal_is_told_at_once), UNIT_TEST(test_memory_error_is_one_line),
		UNIT_TEST(test_lines_are_limited),	 UNIT_TEST(test_equal_lines),
		UNIT_TEST(test_hostile_subjects),	 UNIT_TEST(test_kill),
		cmocka_unit_test(test_many_kills),	 cmocka_unit_test(test_other_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
