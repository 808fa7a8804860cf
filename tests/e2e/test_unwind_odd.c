/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole stacks where frames are not what they usually are. */
#include <stdlib.h>

#include "include/maps.h"
#include "lib/harness.h"
#include "lib/stack_truth.h"

static void check_odd(const char *mode)
{
	check_stacks(ARGS("odd_frames", mode), NO_ARGS);
	check_stacks(ARGS("odd_frames-static", mode), NO_ARGS);
}

static void test_frames_of_variable_size(void **state)
{
	(void)state;
	check_odd("sizes");
}

static void test_calls_that_do_not_return(void **state)
{
	(void)state;
	check_odd("noreturn");
}

static void test_deeper_than_can_be_kept(void **state)
{
	char *max_frames = format("%d", MAX_FRAMES);
	struct run run = check_stacks(ARGS("odd_frames", "deep", max_frames), NO_ARGS);

	(void)state;
	assert_int_equal(report__loss(&run.report, "stacks_truncated"), 200);
	free(max_frames);
}

static void test_called_back_by_the_library(void **state)
{
	(void)state;
	check_odd("callbacks");
}

static void test_behind_main(void **state)
{
	(void)state;
	check_odd("exit");
	check_odd("exit-called");
}

static void test_before_main(void **state)
{
	(void)state;
	check_stacks(ARGS("odd_frames", "start"), NO_ARGS);
	check_stacks_of_command(ARGS("odd_frames", "start"), NO_ARGS);
}

/* Constructors of a library, what resolves a call when it is bound, destructors. */
static void test_inside_the_dynamic_linker(void **state)
{
	(void)state;
	check_stacks_of_command(ARGS("early"), NO_ARGS);
}

static void test_contexts(void **state)
{
	(void)state;
	check_odd("contexts");
}

static void test_musl(void **state)
{
	static const char *const modes[] = {"sizes", "noreturn", "callbacks", "exit",
					    "exit-called"};

	(void)state;
	need_leaker("odd_frames-musl");
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		check_stacks(ARGS("odd_frames-musl", modes[i]), NO_ARGS);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void check_interrupted(const char *leaker)
{
	need_leaker(leaker);
	check_stacks(ARGS(leaker, "plain"), NO_ARGS);
	check_stacks(ARGS(leaker, "altstack"), NO_ARGS);
}

static void test_interrupted_anywhere(void **state)
{
	(void)state;
	check_interrupted("interrupted");
}

/* What the kernel still holds of a call that never returns is no part of a later stack. */
static void test_calls_left_by_siglongjmp(void **state)
{
	struct run run = check_stacks(ARGS("interrupted", "jump"), NO_ARGS);

	(void)state;
	assert_true(report__loss(&run.report, "returns_lost") > 0);
}

static void test_interrupted_in_lazy_binding(void **state)
{
	(void)state;
	check_interrupted("interrupted-lazy");
}

static void test_interrupted_static(void **state)
{
	(void)state;
	check_interrupted("interrupted-static");
}

static void test_interrupted_musl(void **state)
{
	(void)state;
	check_interrupted("interrupted-musl");
}

static void test_interrupted_musl_static(void **state)
{
	(void)state;
	check_interrupted("interrupted-musl-static");
}

/* ---- code made at run time ------------------------------------------------------------------- */

static void test_frame_pointers_of_code_made_at_run_time(void **state)
{
	(void)state;
	need_leaker("jit");
	check_stacks(ARGS("jit", "chained"), NO_ARGS);
}

static void test_no_frame_pointers_in_code_made_at_run_time(void **state)
{
	(void)state;
	need_leaker("jit");
	check_stacks(ARGS("jit", "bare"), NO_ARGS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_frames_of_variable_size),
		E2E_TEST(test_calls_that_do_not_return),
		E2E_TEST(test_deeper_than_can_be_kept),
		E2E_TEST(test_called_back_by_the_library),
		E2E_TEST(test_behind_main),
		E2E_TEST(test_before_main),
		E2E_TEST(test_inside_the_dynamic_linker),
		E2E_TEST(test_contexts),
		E2E_TEST(test_musl),
		E2E_TEST(test_interrupted_anywhere),
		E2E_TEST(test_calls_left_by_siglongjmp),
		E2E_TEST(test_interrupted_in_lazy_binding),
		E2E_TEST(test_interrupted_static),
		E2E_TEST(test_interrupted_musl),
		E2E_TEST(test_interrupted_musl_static),
		E2E_TEST(test_frame_pointers_of_code_made_at_run_time),
		E2E_TEST(test_no_frame_pointers_in_code_made_at_run_time),
	};

	return harness__main("e2e unwind odd", tests, sizeof(tests) / sizeof(tests[0]));
}
