/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole stacks of ordinary programs: every frame from the caller of the allocator to the first of
 * the thread, in code without frame pointers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/harness.h"
#include "lib/stack_truth.h"

static void check_chain(const char *leaker)
{
	need_leaker(leaker);
	check_stacks(ARGS(leaker, "main"), NO_ARGS);
	check_stacks(ARGS(leaker, "threads"), NO_ARGS);
}

static void test_without_frame_pointers(void **state)
{
	(void)state;
	check_chain("chain");
}

static void test_static(void **state)
{
	(void)state;
	check_chain("chain-static");
}

static void test_static_pie(void **state)
{
	(void)state;
	check_chain("chain-static-pie");
}

static void test_at_a_fixed_address(void **state)
{
	(void)state;
	check_chain("chain-no-pie");
}

static void test_musl(void **state)
{
	(void)state;
	check_chain("chain-musl");
}

static void test_musl_static(void **state)
{
	(void)state;
	check_chain("chain-musl-static");
}

static void test_indirect_branch_tracking(void **state)
{
	(void)state;
	check_chain("chain-cet");
	check_chain("chain-static-cet");
}

static void test_lazy_binding(void **state)
{
	(void)state;
	check_chain("chain-lazy");
}

/* From the first instruction on: nothing was loaded when it began. */
static void test_commands(void **state)
{
	static const char *const leakers[] = {"chain",	   "chain-static", "chain-static-pie",
					      "chain-cet", "chain-lazy",   "chain-no-pie"};

	(void)state;
	for (size_t i = 0; i < sizeof(leakers) / sizeof(leakers[0]); i++)
		check_stacks_of_command(ARGS(leakers[i], "main"), NO_ARGS);
	check_stacks_of_command(ARGS("chain", "threads"), NO_ARGS);
}

/* ---- C++ ------------------------------------------------------------------------------------- */

static void test_exceptions(void **state)
{
	(void)state;
	check_stacks(ARGS("cxx_stacks", "exceptions"), NO_ARGS);
}

static void test_cxx_library(void **state)
{
	(void)state;
	check_stacks(ARGS("cxx_stacks", "library"), NO_ARGS);
}

static void test_coroutines(void **state)
{
	(void)state;
	check_stacks(ARGS("cxx_stacks", "coroutines"), NO_ARGS);
}

/* ---- code that comes and goes ---------------------------------------------------------------- */

static void check_plugins(const char *mode)
{
	char *alpha = leaker_path("libalpha.so"), *shifted = leaker_path("libshifted.so");

	check_stacks(ARGS("plug_loop", mode, "alpha", alpha), NO_ARGS);
	check_stacks(ARGS("plug_loop", mode, "alpha", alpha, "shifted", shifted), NO_ARGS);
	free(alpha);
	free(shifted);
}

static void test_libraries_that_come_and_go(void **state)
{
	(void)state;
	check_plugins("slow");
}

/* Each is gone a fraction of a millisecond after it came. */
static void test_libraries_that_are_gone_at_once(void **state)
{
	(void)state;
	check_plugins("loop");
}

/* The same addresses hold other code, with frames of another size, a moment later. */
static void test_another_library_at_the_same_address(void **state)
{
	char *alpha = leaker_path("libalpha.so"), *gamma = leaker_path("libgamma.so");

	(void)state;
	check_stacks(ARGS("plug_loop", "swap", "alpha", alpha, "gamma", gamma), NO_ARGS);
	free(alpha);
	free(gamma);
}

/* Puts another file in the place of one, as a package manager does it. */
static void replace_file(const char *path, const char *with)
{
	char *new_path = format("%s.new", path);

	copy_file(with, new_path);
	assert_int_equal(rename(new_path, path), 0);
	free(new_path);
}

/* Traces a leaker that works in two halves; its file is replaced by another before or within. */
static void check_replaced(const char *const *leaker, const char *path, const char *with,
			   bool before_trace)
{
	struct run run = {.leaker = leaker__start(leaker, NULL)};
	char *pid = format("%d", (int)run.leaker->pid);

	if (before_trace)
		replace_file(path, with);
	run.tool = tool__start(ARGS("trace", "--format", "json", "--top", "0", "-p", pid), NULL);
	tool__await_tracing(run.tool);
	child__poke(run.leaker);
	free(child__await_line(run.leaker, run.leaker->out_fd, "HALF", TIMEOUT_MS));
	if (!before_trace)
		replace_file(path, with);
	run__go(&run);
	run__end(&run);
	assert_stacks(&run.report, run.leaker);
	free(pid);
}

static void check_program_replaced(bool before_trace)
{
	char *program = leaker_path("chain"), *other = leaker_path("odd_frames"),
	     *path = format("%s/program", scratch_dir());

	copy_file(program, path);
	check_replaced(ARGS(path, "wait"), path, other, before_trace);
	free(program);
	free(other);
	free(path);
}

static void test_program_replaced_before_the_trace(void **state)
{
	(void)state;
	check_program_replaced(true);
}

static void test_program_replaced_during_the_trace(void **state)
{
	(void)state;
	check_program_replaced(false);
}

static void check_library_replaced(bool before_trace)
{
	char *library = leaker_path("libalpha.so"), *other = leaker_path("libgamma.so"),
	     *path = format("%s/library.so", scratch_dir());

	copy_file(library, path);
	check_replaced(ARGS("plug_loop", "hold", "alpha", path), path, other, before_trace);
	free(library);
	free(other);
	free(path);
}

static void test_library_replaced_before_the_trace(void **state)
{
	(void)state;
	check_library_replaced(true);
}

static void test_library_replaced_during_the_trace(void **state)
{
	(void)state;
	check_library_replaced(false);
}

/* ---- children -------------------------------------------------------------------------------- */

static void test_forked_children(void **state)
{
	(void)state;
	check_stacks(ARGS("stacks_tree", "fork"), NO_ARGS);
}

static void check_started(const char *program)
{
	char *path = leaker_path(program);

	check_stacks(ARGS("stacks_tree", "exec", path), NO_ARGS);
	free(path);
}

static void test_started_programs(void **state)
{
	(void)state;
	check_started("chain");
	check_started("chain-no-pie");
	check_started("chain-cet");
}

/* ---- the memo -------------------------------------------------------------------------------- */

static void test_equal_stacks_are_walked_once(void **state)
{
	struct run run = check_stacks(ARGS("memo", "same"), NO_ARGS);

	(void)state;
	assert_in_range(report__loss(&run.report, "stacks_reused"), 19000, 20000);
	assert_in_range(report__loss(&run.report, "stacks_walked"), 1, 1000);
}

static void test_callers_that_take_turns(void **state)
{
	struct run run = check_stacks(ARGS("memo", "near"), NO_ARGS);

	(void)state;
	assert_true(report__loss(&run.report, "stacks_reused") > 1000);
	assert_true(report__loss(&run.report, "stacks_walked") > 1000);
	run = check_stacks(ARGS("memo", "threads"), NO_ARGS);
	assert_true(report__loss(&run.report, "stacks_reused") > 1000);
}

static void test_callers_forty_frames_up(void **state)
{
	struct run run = check_stacks(ARGS("memo", "far"), NO_ARGS);

	(void)state;
	assert_true(report__loss(&run.report, "stacks_reused") > 100);
	assert_true(report__loss(&run.report, "stacks_walked") > 100);
}

static void test_frames_that_move(void **state)
{
	(void)state;
	check_stacks(ARGS("memo", "moved"), NO_ARGS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_without_frame_pointers),
		E2E_TEST(test_static),
		E2E_TEST(test_static_pie),
		E2E_TEST(test_at_a_fixed_address),
		E2E_TEST(test_musl),
		E2E_TEST(test_musl_static),
		E2E_TEST(test_indirect_branch_tracking),
		E2E_TEST(test_lazy_binding),
		E2E_TEST(test_commands),
		E2E_TEST(test_exceptions),
		E2E_TEST(test_cxx_library),
		E2E_TEST(test_coroutines),
		E2E_TEST(test_libraries_that_come_and_go),
		E2E_TEST(test_libraries_that_are_gone_at_once),
		E2E_TEST(test_another_library_at_the_same_address),
		E2E_TEST(test_program_replaced_before_the_trace),
		E2E_TEST(test_program_replaced_during_the_trace),
		E2E_TEST(test_library_replaced_before_the_trace),
		E2E_TEST(test_library_replaced_during_the_trace),
		E2E_TEST(test_forked_children),
		E2E_TEST(test_started_programs),
		E2E_TEST(test_equal_stacks_are_walked_once),
		E2E_TEST(test_callers_that_take_turns),
		E2E_TEST(test_callers_forty_frames_up),
		E2E_TEST(test_frames_that_move),
	};

	return harness__main("e2e unwind", tests, sizeof(tests) / sizeof(tests[0]));
}
