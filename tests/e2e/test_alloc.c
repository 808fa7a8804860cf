/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every call of the malloc family, traced by pid and started by the tool: exact to the byte. */
#include <stdlib.h>

#include "lib/harness.h"

static void check_both_ways(const char *mode)
{
	struct run run;

	check_exact(ARGS("alloc", mode), NO_ARGS, NULL);
	run = run__command(ARGS("alloc", mode), NO_ARGS, NULL);
	assert_int_equal(run.expects.cnt, 1);
	assert_expect_functions(&run.report, expects__of(&run.expects, 0));
}

static void test_plain_malloc(void **state)
{
	(void)state;
	check_both_ways("malloc");
}

static void test_calloc_and_its_overflow(void **state)
{
	(void)state;
	check_both_ways("calloc");
}

static void test_grow_and_shrink(void **state)
{
	(void)state;
	check_both_ways("realloc");
}

static void test_failed_realloc_keeps_the_block(void **state)
{
	(void)state;
	check_both_ways("realloc-failed");
}

static void test_reallocarray_and_its_overflow(void **state)
{
	(void)state;
	check_both_ways("reallocarray");
}

static void test_posix_memalign_and_its_errors(void **state)
{
	(void)state;
	check_both_ways("posix_memalign");
}

static void test_aligned_alloc_memalign_valloc_pvalloc(void **state)
{
	(void)state;
	check_both_ways("aligned");
	check_both_ways("pvalloc");
}

static void test_free_null_is_nothing(void **state)
{
	(void)state;
	check_both_ways("free-null");
}

static void test_blocks_above_the_mmap_threshold(void **state)
{
	(void)state;
	check_both_ways("big");
}

static void test_all_calls_in_one_process(void **state)
{
	(void)state;
	check_both_ways("all");
}

/* Frame 0 is the caller of malloc, and that is strdup itself. */
static void test_strdup(void **state)
{
	struct run run = run__trace(ARGS("alloc", "strdup"), NO_ARGS, NULL);
	struct json_object *expect = expects__of(&run.expects, 0);
	int pid = expect__pid(expect);

	(void)state;
	assert_expect(&run.report, expect);
	assert_tally(&run.report, "strdup", report__sum_like(&run.report, pid, "malloc", "strdup"),
		     expect__totals(expect));
}

/* How often asprintf calls the allocator is not known, what stays is. */
static void test_asprintf(void **state)
{
	struct run run = run__trace(ARGS("alloc", "asprintf"), NO_ARGS, NULL);
	struct json_object *expect = expects__of(&run.expects, 0);

	(void)state;
	assert_live(&run.report, "asprintf",
		    report__sum(&run.report, expect__pid(expect), "malloc", NULL),
		    expect__totals(expect));
}

/* operator new ends in malloc: each block counts once, whichever of the two is probed. */
static void test_operator_new_and_delete(void **state)
{
	struct run run = run__trace(ARGS("new_delete"), NO_ARGS, NULL);

	(void)state;
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_int_equal(report__loss(&run.report, "unknown_frees"), 0);
}

/* A process without any allocation is reported as such, and covered. */
static void test_nothing_allocated(void **state)
{
	struct run run = run__trace(ARGS("alloc", "idle"), NO_ARGS, NULL);
	struct json_object *proc = report__process(&run.report, run.leaker->pid), *coverage,
			   *allocators, *status;

	(void)state;
	assert_non_null(proc);
	assert_true(json_object_object_get_ex(proc, "coverage", &coverage));
	assert_true(json_object_object_get_ex(coverage, "allocators", &allocators));
	assert_true(json_object_array_length(allocators) >= 1);
	assert_true(json_object_object_get_ex(json_object_array_get_idx(allocators, 0), "status",
					      &status));
	assert_string_equal(json_object_get_string(status), "probed");
	assert_int_equal(report__number(&run.report, "totals", "alloc_count"), 0);
}

/* Two traces at once do not disturb each other. */
static void test_two_tools_at_once(void **state)
{
	struct run first = run__begin(ARGS("alloc", "all"), NO_ARGS, NULL);
	struct run second = run__begin(ARGS("alloc", "all"), NO_ARGS, NULL);

	(void)state;
	run__go(&first);
	run__go(&second);
	run__end(&first);
	run__end(&second);
	assert_expect(&first.report, expects__of(&first.expects, 0));
	assert_expect(&second.report, expects__of(&second.expects, 0));
	assert_null(report__process(&first.report, second.leaker->pid));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_plain_malloc),
		E2E_TEST(test_calloc_and_its_overflow),
		E2E_TEST(test_grow_and_shrink),
		E2E_TEST(test_failed_realloc_keeps_the_block),
		E2E_TEST(test_reallocarray_and_its_overflow),
		E2E_TEST(test_posix_memalign_and_its_errors),
		E2E_TEST(test_aligned_alloc_memalign_valloc_pvalloc),
		E2E_TEST(test_free_null_is_nothing),
		E2E_TEST(test_blocks_above_the_mmap_threshold),
		E2E_TEST(test_all_calls_in_one_process),
		E2E_TEST(test_strdup),
		E2E_TEST(test_asprintf),
		E2E_TEST(test_operator_new_and_delete),
		E2E_TEST(test_nothing_allocated),
		E2E_TEST(test_two_tools_at_once),
	};

	return harness__main("e2e alloc", tests, sizeof(tests) / sizeof(tests[0]));
}
