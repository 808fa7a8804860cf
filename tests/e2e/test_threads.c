/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads, signal handlers and everything else that runs on top of a call in progress. */
#include "lib/harness.h"

/* Each thread's first malloc makes an arena; that is the allocator's affair, not memory that the
 * program mapped. */
static void test_arenas(void **state)
{
	struct run run = run__trace(ARGS("threads", "arenas"), NO_ARGS, NULL);

	(void)state;
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_int_equal(report__sum(&run.report, 0, "mmap", NULL).live_bytes, 0);
}

static void test_allocated_here_freed_there(void **state)
{
	(void)state;
	check_exact(ARGS("threads", "handoff"), NO_ARGS, NULL);
}

/* realloc gives an address away before it returns, and another thread has it at once. */
static void test_realloc_races_with_malloc(void **state)
{
	(void)state;
	check_exact(ARGS("threads", "race"), NO_ARGS, NULL);
}

static void check_signals(const char *mode)
{
	check_exact(ARGS("signals-malloc", mode), NO_ARGS, NULL);
	check_exact(ARGS("signals", mode),
		    ARGS("--alloc-fn", "sig_alloc:size=1", "--free-fn", "sig_free"), NULL);
}

static void test_signal_handler_allocates(void **state)
{
	(void)state;
	check_signals("plain");
}

static void test_signal_handler_on_its_own_stack(void **state)
{
	(void)state;
	check_signals("altstack");
}

/* The allocations that were left never returned: nobody owns their blocks, and the report counts
 * them as lost. */
static void test_siglongjmp_out_of_an_allocation(void **state)
{
	struct run run = run__trace(ARGS("signals-malloc", "jump"), NO_ARGS, NULL);

	(void)state;
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_in_range(report__loss(&run.report, "returns_lost"), 250, 301);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_arenas),
		E2E_TEST(test_allocated_here_freed_there),
		E2E_TEST(test_realloc_races_with_malloc),
		E2E_TEST(test_signal_handler_allocates),
		E2E_TEST(test_signal_handler_on_its_own_stack),
		E2E_TEST(test_siglongjmp_out_of_an_allocation),
	};

	return harness__main("e2e threads", tests, sizeof(tests) / sizeof(tests[0]));
}
