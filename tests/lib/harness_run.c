/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The usual course of a test: leaker, trace, go, report. */
#include "lib/harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ARGS 64

struct args {
	const char *items[MAX_ARGS];
	size_t cnt;
};

static void args__add(struct args *args, const char *arg)
{
	assert_true(args->cnt + 1 < MAX_ARGS);
	args->items[args->cnt++] = arg;
}

static void args__add_all(struct args *args, const char *const *list)
{
	for (; *list; list++)
		args__add(args, *list);
}

struct child *trace__start(const char *const *tool_args)
{
	struct args args = {0};
	struct child *tool;

	args__add_all(&args, ARGS("trace", "--format", "json", "--top", "0"));
	args__add_all(&args, tool_args);
	tool = tool__start(args.items, NULL);
	tool__await_tracing(tool);
	return tool;
}

struct report trace__end(struct child *tool)
{
	struct report report;
	char *out;

	tool__stop(tool);
	out = child__stdout(tool);
	report = report__parse(out);
	free(out);
	assert_ledger(&report);
	return report;
}

void leaker__go(struct child *leaker)
{
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "DONE", LONG_MS));
}

struct run run__begin(const char *const *leaker_args, const char *const *tool_args,
		      const struct child_opts *opts)
{
	struct run run = {.leaker = leaker__start(leaker_args, opts)};
	char *pid = format("%d", (int)run.leaker->pid);
	struct args args = {0};

	args__add_all(&args, tool_args);
	args__add_all(&args, ARGS("-p", pid));
	run.tool = trace__start(args.items);
	free(pid);
	return run;
}

void run__go(struct run *run)
{
	leaker__go(run->leaker);
	run->expects = expects__read(run->leaker);
}

void run__end(struct run *run)
{
	char *out;

	tool__stop(run->tool);
	out = child__stdout(run->tool);
	run->report = report__parse(out);
	free(out);
	leaker__finish(run->leaker);
}

struct run run__trace(const char *const *leaker_args, const char *const *tool_args,
		      const struct child_opts *opts)
{
	struct run run = run__begin(leaker_args, tool_args, opts);

	run__go(&run);
	run__end(&run);
	assert_ledger(&run.report);
	return run;
}

struct run run__command(const char *const *leaker_args, const char *const *tool_args,
			const struct child_opts *opts)
{
	char *path = leaker_path(leaker_args[0]), *out = format("%s/report.json", scratch_dir());
	struct args args = {0};
	struct run run = {0};

	args__add_all(&args, ARGS("trace", "--format", "json", "--top", "0", "-o", out));
	args__add_all(&args, tool_args);
	args__add_all(&args, ARGS("--", path));
	args__add_all(&args, leaker_args + 1);
	args__add(&args, "now");
	run.tool = tool__start(args.items, opts);
	if (child__await_exit(run.tool, LONG_MS))
		fail_msg("the tool ended with status 0x%x: %s", run.tool->status,
			 child__stderr(run.tool));
	run.leaker = run.tool; /* they share stdout */
	run.expects = expects__read(run.tool);
	run.report = report__read_file(out);
	assert_ledger(&run.report);
	free(path);
	free(out);
	return run;
}

void check_exact(const char *const *leaker_args, const char *const *tool_args,
		 const struct child_opts *opts)
{
	struct run run = run__trace(leaker_args, tool_args, opts);

	assert_true(run.expects.cnt > 0);
	for (size_t i = 0; i < run.expects.cnt; i++)
		assert_expect(&run.report, expects__of(&run.expects, (int)i));
	assert_int_equal(report__loss(&run.report, "unknown_frees"), 0);
}

int harness__main(const char *name, const struct CMUnitTest *tests, size_t cnt)
{
	char *tool = tool_path();

	if (geteuid() != 0) {
		fprintf(stderr, "%s: end-to-end tests need root\n", name);
		return 77;
	}
	if (access(tool, X_OK)) {
		fprintf(stderr, "%s: %s is not there; build it first\n", name, tool);
		return 77;
	}
	free(tool);
	signal(SIGPIPE, SIG_IGN);
	/* Patterns with * and ?; NULL = all, none. */
	cmocka_set_test_filter(getenv("TEST_FILTER"));
	cmocka_set_skip_filter(getenv("TEST_LEFT_OUT"));
	return _cmocka_run_group_tests(name, tests, cnt, NULL, NULL);
}
