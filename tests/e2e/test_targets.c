/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which processes are traced, and what becomes of them during a trace. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/harness.h"

/* Traces with "target" options while "leakers" work one after another; checks each. */
static void check_leakers(const char *const *target, struct child **leakers, size_t cnt)
{
	struct child *tool = trace__start(target);
	struct report report;

	for (size_t i = 0; i < cnt; i++)
		leaker__go(leakers[i]);
	report = trace__end(tool);
	for (size_t i = 0; i < cnt; i++) {
		struct expects expects = expects__read(leakers[i]);

		assert_expect(&report, expects__of(&expects, 0));
		leaker__finish(leakers[i]);
	}
}

static void test_several_pids(void **state)
{
	struct child *leakers[] = {leaker__start(ARGS("alloc", "malloc"), NULL),
				   leaker__start(ARGS("alloc-static", "realloc"), NULL),
				   leaker__start(ARGS("alloc", "big"), NULL)};
	char *pids = format("%d,%d,%d", (int)leakers[0]->pid, (int)leakers[1]->pid,
			    (int)leakers[2]->pid);

	(void)state;
	check_leakers(ARGS("-p", pids), leakers, 3);
	free(pids);
}

static void test_comm(void **state)
{
	struct child *bystander = leaker__start(ARGS("many", "sizes"), NULL);
	struct child *leakers[] = {leaker__start(ARGS("alloc", "malloc"), NULL),
				   leaker__start(ARGS("alloc", "calloc"), NULL)};

	(void)state;
	check_leakers(ARGS("--comm", "alloc"), leakers, 2);
	child__poke(bystander);
	free(child__await_line(bystander, bystander->out_fd, "DONE", TIMEOUT_MS));
	leaker__finish(bystander);
}

static void test_every_process_of_the_host(void **state)
{
	struct child *leakers[] = {leaker__start(ARGS("alloc", "all"), NULL),
				   leaker__start(ARGS("alloc-static", "all"), NULL)};

	(void)state;
	check_leakers(ARGS("-a"), leakers, 2);
}

/* Makes a cgroup in whichever hierarchy there is, owned path or NULL. */
static char *make_cgroup(void)
{
	static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified",
					    "/sys/fs/cgroup/memory"};

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		char *procs = format("%s/cgroup.procs", roots[i]);
		char *path = format("%s/leaksweep-e2e-%d", roots[i], (int)getpid());
		bool made = !access(procs, F_OK) && !mkdir(path, 0755);

		free(procs);
		if (made)
			return path;
		free(path);
	}
	return NULL;
}

static void enter_group(const char *group, pid_t pid)
{
	char *procs = format("%s/cgroup.procs", group);
	FILE *file = fopen(procs, "we");

	assert_non_null(file);
	fprintf(file, "%d\n", (int)pid);
	assert_int_equal(fclose(file), 0);
	free(procs);
}

static void test_cgroup(void **state)
{
	char *cgroup = make_cgroup();
	struct child *leaker;

	(void)state;
	if (!cgroup) {
		print_message("skipped: no cgroup hierarchy to write to\n");
		skip();
	}
	leaker = leaker__start(ARGS("alloc", "all"), NULL);
	enter_group(cgroup, leaker->pid);
	check_leakers(ARGS("--cgroup", cgroup), &leaker, 1);
	assert_int_equal(rmdir(cgroup), 0);
	free(cgroup);
}

#define MANY_GROUPS 200
#define MANY_EXECS 300
#define EXEC_PAUSE_MS 5

/* Makes or removes the groups below one. */
static void many_groups(const char *parent, int (*change)(const char *path))
{
	for (int i = 0; i < MANY_GROUPS; i++) {
		char *path = format("%s/%d", parent, i);

		assert_int_equal(change(path), 0);
		free(path);
	}
}

static int make_group(const char *path)
{
	return mkdir(path, 0755);
}

/* Returns how often a process has called read(2) or its like. */
static int64_t read_calls(pid_t pid)
{
	char *path = format("/proc/%d/io", (int)pid), *line = NULL;
	FILE *file = fopen(path, "re");
	int64_t calls = -1;
	size_t cap = 0;

	while (file && calls < 0 && getline(&line, &cap, file) > 0)
		if (!strncmp(line, "syscr: ", 7))
			calls = atoll(line + 7);
	if (file)
		fclose(file);
	free(line);
	free(path);
	return calls;
}

static void exec_elsewhere(void)
{
	char *leaf = leaker_path("storm_leaf");

	for (int i = 0; i < MANY_EXECS; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid) {
			execl(leaf, leaf, "leak", "100", (char *)NULL);
			_exit(127);
		}
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		sleep_ms(EXEC_PAUSE_MS); /* else many of them wait together */
	}
	free(leaf);
}

/* Who execs elsewhere does not make the tool read all of the groups; who comes in is followed. */
static void test_cgroup_beside_many_execs(void **state)
{
	char *cgroup = make_cgroup(), *inner;
	struct child *leaker, *tool;
	struct expects expects;
	struct report report;
	int64_t calls;

	(void)state;
	if (!cgroup || read_calls(getpid()) < 0) {
		print_message("skipped: no cgroup hierarchy to write to, or no /proc/PID/io\n");
		skip();
	}
	many_groups(cgroup, make_group);
	tool = trace__start(ARGS("--cgroup", cgroup));
	calls = read_calls(tool->pid);
	exec_elsewhere();
	calls = read_calls(tool->pid) - calls;
	print_message("%lld calls of read for %d execs\n", (long long)calls, MANY_EXECS);
	leaker = leaker__start(ARGS("alloc", "malloc"), NULL);
	inner = format("%s/7", cgroup);
	enter_group(inner, leaker->pid);
	sleep_ms(1000 * slowness());
	leaker__go(leaker);
	report = trace__end(tool);
	expects = expects__read(leaker);
	assert_expect(&report, expects__of(&expects, 0));
	leaker__finish(leaker);
	many_groups(cgroup, rmdir);
	assert_int_equal(rmdir(cgroup), 0);
	assert_in_range(calls, 0, MANY_GROUPS * MANY_EXECS / 5);
	free(inner);
	free(cgroup);
}

/* PATH is searched, arguments are kept, the exit status is in the report. */
static void test_command_by_name(void **state)
{
	char *out = format("%s/report.json", scratch_dir()), *path = leaker_path("alloc"), *env;
	struct child_opts opts = {0};
	struct report report;
	struct child *tool;
	struct expects expects;
	struct json_object *proc, *code;

	(void)state;
	*strrchr(path, '/') = '\0';
	env = format("PATH=%s:/usr/bin:/bin", path);
	opts.env = ARGS(env);
	tool = tool__start(ARGS("trace", "--format", "json", "--top", "0", "-o", out, "--", "alloc",
				"malloc", "7", "now"),
			   &opts);
	assert_int_equal(child__await_exit(tool, TIMEOUT_MS), 0);
	expects = expects__read(tool);
	report = report__read_file(out);
	assert_expect_functions(&report, expects__of(&expects, 0));
	proc = report__process(&report, expect__pid(expects__of(&expects, 0)));
	assert_non_null(proc);
	assert_true(json_object_object_get_ex(proc, "exit_code", &code));
	assert_int_equal(json_object_get_int(code), 7);
	free(env);
	free(path);
	free(out);
}

/* A command that is over in a millisecond is seen from its first allocation on. */
static void test_short_lived_command(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) {
		struct run run = run__command(ARGS("alloc", "free-null"), NO_ARGS, NULL);

		assert_expect_functions(&run.report, expects__of(&run.expects, 0));
	}
}

/* The traced process is killed: the trace ends by itself, with a report of what it had. */
static void test_target_dies(void **state)
{
	struct run run = run__begin(ARGS("alloc", "malloc"), NO_ARGS, NULL);
	struct json_object *proc;
	char *out;

	(void)state;
	run__go(&run);
	kill(run.leaker->pid, SIGKILL);
	child__await_exit(run.leaker, TIMEOUT_MS);
	if (child__await_exit(run.tool, TIMEOUT_MS))
		fail_msg("status 0x%x: %s", run.tool->status, child__stderr(run.tool));
	out = child__stdout(run.tool);
	run.report = report__parse(out);
	free(out);
	proc = report__process(&run.report, run.leaker->pid);
	assert_non_null(proc);
	assert_expect(&run.report, expects__of(&run.expects, 0));
}

static void write_file(const char *path)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fclose(file), 0);
}

/* The kernel has no memory for one more: the others are traced on, and the report says so. */
static void test_no_memory_for_one_more(void **state)
{
	char *library = leaker_path("libnomemory.so"), *file = format("%s/full", scratch_dir()),
	     *preload = format("LD_PRELOAD=%s", library), *env = format("NO_MEMORY_FILE=%s", file);
	const struct child_opts opts = {.env = ARGS(preload, env)};
	struct child *first = leaker__start(ARGS("alloc", "malloc"), NULL), *second, *tool;
	struct expects expects;
	struct report report;

	(void)state;
	tool = tool__start(ARGS("trace", "--format", "json", "--top", "0", "--comm", "alloc"),
			   &opts);
	tool__await_tracing(tool);
	write_file(file);
	second = leaker__start(ARGS("alloc", "malloc"), NULL);
	leaker__go(second);
	leaker__go(first);
	report = trace__end(tool);
	expects = expects__read(first);
	assert_expect(&report, expects__of(&expects, 0));
	assert_null(report__process(&report, second->pid));
	assert_non_null(strstr(json_object_to_json_string(field(report.root, "notes")),
			       "not all wanted processes were followed"));
	leaker__finish(first);
	leaker__finish(second);
	free(env);
	free(preload);
	free(file);
	free(library);
}

/* A process ends, another of the same name comes: nothing of the second is put on the first. */
static void test_same_name_again(void **state)
{
	struct child *tool =
		tool__start(ARGS("trace", "--format", "json", "--top", "0", "-a"), NULL);
	struct expects first_expects, second_expects;
	struct child *first, *second;
	struct report report;
	char *out;

	(void)state;
	tool__await_tracing(tool);
	first = leaker__start(ARGS("alloc", "calloc"), NULL);
	child__poke(first);
	free(child__await_line(first, first->out_fd, "DONE", TIMEOUT_MS));
	first_expects = expects__read(first);
	leaker__finish(first);
	second = leaker__start(ARGS("alloc", "malloc"), NULL);
	child__poke(second);
	free(child__await_line(second, second->out_fd, "DONE", TIMEOUT_MS));
	second_expects = expects__read(second);
	tool__stop(tool);
	out = child__stdout(tool);
	report = report__parse(out);
	free(out);
	assert_expect(&report, expects__of(&second_expects, 0));
	assert_int_equal(report__sum(&report, expect__pid(expects__of(&first_expects, 0)), NULL,
				     "leak_malloc")
				 .alloc_count,
			 0);
	leaker__finish(second);
}

/* Ends a trace with this signal; the final report is exact. */
static void check_ended_by(int sig)
{
	struct run run = run__begin(ARGS("alloc", "malloc"), NO_ARGS, NULL);
	char *out;

	run__go(&run);
	kill(run.tool->pid, sig);
	assert_int_equal(child__await_exit(run.tool, TIMEOUT_MS), 0);
	out = child__stdout(run.tool);
	run.report = report__parse(out);
	free(out);
	assert_expect(&run.report, expects__of(&run.expects, 0));
	leaker__finish(run.leaker);
}

static void test_sigint_and_sigterm_end_with_a_report(void **state)
{
	(void)state;
	check_ended_by(SIGINT);
	check_ended_by(SIGTERM);
}

static void test_duration(void **state)
{
	struct run run = run__begin(ARGS("alloc", "malloc"), ARGS("--duration", "2s"), NULL);
	char *out;

	(void)state;
	run__go(&run);
	assert_int_equal(child__await_exit(run.tool, 10000 * patience()), 0);
	out = child__stdout(run.tool);
	run.report = report__parse(out);
	free(out);
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_in_range(report__number(&run.report, NULL, "duration_ns"), 1900000000LL,
			4000000000LL);
	leaker__finish(run.leaker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_several_pids),
		E2E_TEST(test_comm),
		E2E_TEST(test_every_process_of_the_host),
		E2E_TEST(test_cgroup),
		E2E_TEST(test_cgroup_beside_many_execs),
		E2E_TEST(test_command_by_name),
		E2E_TEST(test_short_lived_command),
		E2E_TEST(test_target_dies),
		E2E_TEST(test_no_memory_for_one_more),
		E2E_TEST(test_same_name_again),
		E2E_TEST(test_sigint_and_sigterm_end_with_a_report),
		E2E_TEST(test_duration),
	};

	return harness__main("e2e targets", tests, sizeof(tests) / sizeof(tests[0]));
}
