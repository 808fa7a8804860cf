/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The same truth by every kind of probe that the kernel has, and with probes in the target only. */
#include <stdlib.h>
#include <string.h>

#include "lib/harness.h"
#include "lib/stack_truth.h"

/* Skips the test when this kernel does not have the mode. */
static void need_mode(const char *mode)
{
	struct child *leaker = leaker__start(ARGS("alloc", "idle"), NULL);
	char *pid = format("%d", (int)leaker->pid), *err;
	struct child *tool = tool__start(ARGS("trace", "--probe-mode", mode, "--duration", "10ms",
					      "--format", "json", "-p", pid),
					 NULL);
	int status = child__await_exit(tool, TIMEOUT_MS);

	free(pid);
	if (!status)
		return;
	err = child__stderr(tool);
	if (!strstr(err, "this kernel has no"))
		fail_msg("status 0x%x: %s", status, err);
	print_message("skipped: %s", err);
	free(err);
	skip();
}

static void check_mode(const char *mode)
{
	const char *const *tool_args = ARGS("--probe-mode", mode);

	need_mode(mode);
	check_exact(ARGS("alloc", "all"), tool_args, NULL);
	check_exact(ARGS("threads", "race"), tool_args, NULL);
	check_exact(ARGS("threads", "handoff"), tool_args, NULL);
	check_exact(ARGS("tree", "inherit"), tool_args, NULL);
	check_exact(ARGS("signals-malloc", "plain"), tool_args, NULL);
	check_exact(ARGS("signals-malloc", "jump"), tool_args, NULL);
	check_stacks(ARGS("chain", "main"), tool_args);
	check_stacks(ARGS("chain-static", "threads"), tool_args);
}

static void test_session_probes(void **state)
{
	(void)state;
	check_mode("session");
}

static void test_multi_probes(void **state)
{
	(void)state;
	check_mode("multi");
}

static void test_perf_event_probes(void **state)
{
	(void)state;
	check_mode("perf");
}

/* Only the target has the breakpoints: other users of the library are not even counted as foreign.
 */
static void test_probes_in_the_target_only(void **state)
{
	struct child *bystander = leaker__start(ARGS("many", "pairs", "1", "1000"), NULL);
	struct run run = run__begin(ARGS("alloc", "all"), ARGS("--scope", "process"), NULL);

	(void)state;
	child__poke(bystander);
	free(child__await_line(bystander, bystander->out_fd, "DONE", TIMEOUT_MS));
	run__go(&run);
	run__end(&run);
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_int_equal(report__loss(&run.report, "hits_foreign"), 0);
	leaker__finish(bystander);
	check_exact(ARGS("threads", "race"), ARGS("--scope", "process"), NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_session_probes),
		E2E_TEST(test_multi_probes),
		E2E_TEST(test_perf_event_probes),
		E2E_TEST(test_probes_in_the_target_only),
	};

	return harness__main("e2e modes", tests, sizeof(tests) / sizeof(tests[0]));
}
