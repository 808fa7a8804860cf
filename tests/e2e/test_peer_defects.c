/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fifteen ways in which the best known eBPF leak tracer (bcc's memleak) reports wrong totals,
 * numbered as in our study of it. Each test is named after the defect and passes when ours is
 * right.
 */
#include <math.h>
#include <stdlib.h>

#include "lib/harness.h"

static const struct tally nothing;

/* 1: with the table of blocks full, blocks that were never entered stayed in the totals for ever.
 */
static void test_01_full_table_makes_phantom_leaks(void **state)
{
	struct run run = run__trace(ARGS("many", "pairs", "30000", "100000"),
				    ARGS("--max-blocks", "10000"), NULL);
	struct tally truth = expect__totals(expects__of(&run.expects, 0));
	struct tally got = report__sum(&run.report, 0, "malloc", NULL);
	struct tally churned = report__sum(&run.report, 0, "malloc", "churn_pair");

	(void)state;
	assert_true(report__loss(&run.report, "map_full") > 0);
	assert_true(got.live_bytes <= truth.live_bytes);
	assert_live(&run.report, "blocks that were freed", churned, nothing);
	/* Seen and not seen make the whole. */
	assert_int_equal(got.alloc_count + report__loss(&run.report, "map_full"),
			 truth.alloc_count);
	assert_int_equal(got.alloc_bytes + report__loss(&run.report, "map_full_bytes"),
			 truth.alloc_bytes);
}

/* 2: more than a million live blocks were cut off without a word. */
static void test_02_more_than_a_million_live_blocks(void **state)
{
	(void)state;
	check_exact(ARGS("many", "blocks", "1300000"), NO_ARGS, NULL);
}

/* 3: a malloc that is served by mmap lost its size and its caller. */
static void test_03_malloc_above_the_mmap_threshold(void **state)
{
	struct run run = run__trace(ARGS("alloc", "big"), NO_ARGS, NULL);
	struct json_object *expect = expects__of(&run.expects, 0);

	(void)state;
	assert_expect(&run.report, expect);
	assert_tally(&run.report, "leak_big", report__sum(&run.report, 0, "malloc", "leak_big"),
		     expect__function(expect, "functions", "leak_big"));
	assert_int_equal(report__sum(&run.report, 0, "mmap", NULL).live_bytes, 0);
}

/* 4: a thread's first malloc was lost, and its arena's 128 MiB reservation was a leak. */
static void test_04_thread_arenas(void **state)
{
	struct run run = run__trace(ARGS("threads", "arenas"), NO_ARGS, NULL);

	(void)state;
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_int_equal(report__sum(&run.report, 0, "mmap", NULL).live_bytes, 0);
}

/* 5: a realloc that failed dropped the block that was still there. */
static void test_05_failed_realloc(void **state)
{
	(void)state;
	check_exact(ARGS("alloc", "realloc-failed"), NO_ARGS, NULL);
}

/* 6: a posix_memalign that failed was a leak at whatever the out pointer held. */
static void test_06_failed_posix_memalign(void **state)
{
	(void)state;
	check_exact(ARGS("alloc", "posix_memalign"), NO_ARGS, NULL);
}

/* 7: a munmap of a part removed the whole, or nothing. */
static void test_07_partial_munmap(void **state)
{
	(void)state;
	check_exact(ARGS("maps", "partial"), NO_ARGS, NULL);
}

/* 8: the least age of a leak was meant to be 500 ms and was 500 ns. */
static void test_08_unit_of_the_minimum_age(void **state)
{
	struct run run = run__trace(ARGS("many", "ages", "1500"), ARGS("--min-age", "500ms"), NULL);
	struct json_object *expect = expects__of(&run.expects, 0);

	(void)state;
	assert_live(&run.report, "old blocks", report__sum(&run.report, 0, "malloc", "leak_old"),
		    expect__function(expect, "functions", "leak_old"));
	assert_live(&run.report, "young blocks",
		    report__sum(&run.report, 0, "malloc", "leak_young"), nothing);
}

/* 9: with 30000 stacks, two thirds of the allocations were dropped from every total. */
static void test_09_many_distinct_stacks(void **state)
{
	struct run run = run__trace(ARGS("many", "stacks", "30000"), NO_ARGS, NULL);

	(void)state;
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_int_equal(report__stack_cnt(&run.report), 30000);
}

/* 10: the entry of a freed block was read after another CPU could have reused it. */
static void test_10_freed_entries_reused_by_another_cpu(void **state)
{
	(void)state;
	check_exact(ARGS("threads", "handoff"), NO_ARGS, NULL);
	check_exact(ARGS("threads", "race"), NO_ARGS, NULL);
}

/* 11: a block at an address whose free was missed replaced the old one, whose stack kept its bytes.
 */
static void test_11_address_comes_back_without_a_free(void **state)
{
	char *library = leaker_path("libsecond.so");
	struct run run = run__trace(ARGS("plugin", "lost", library),
				    ARGS("--alloc-fn", "my_alloc:size=1"), NULL);
	struct json_object *expect = expects__of(&run.expects, 0);

	(void)state;
	assert_live(&run.report, "first_owner",
		    report__sum(&run.report, 0, "malloc", "first_owner"), nothing);
	assert_live(&run.report, "second_owner",
		    report__sum(&run.report, 0, "malloc", "second_owner"),
		    expect__function(expect, "functions", "second_owner"));
	assert_int_equal(report__loss(&run.report, "replaced"), 50);
	assert_int_equal(report__loss(&run.report, "replaced_bytes"), 50 * 200);
	free(library);
}

/* 12: counts had 24 bits and sizes 40. */
static void test_12_totals_wider_than_40_bits(void **state)
{
	(void)state;
	check_exact(ARGS("alloc", "terabyte"), NO_ARGS, NULL);
}

static void test_12_counts_wider_than_24_bits(void **state)
{
	(void)state;
	check_exact(ARGS("many", "pairs", "1000", "16780000"), NO_ARGS, NULL);
}

/* 13: memalign and aligned_alloc are one function in glibc, with two probes each block counted
 * twice. */
static void test_13_two_names_for_one_function(void **state)
{
	(void)state;
	check_exact(ARGS("alloc", "aligned"), NO_ARGS, NULL);
}

/*
 * 14: events inside another BPF program were lost: frees made by an interrupt on top of a traced
 * allocation. Only their kernel mode has that; what interrupts a process is a signal, and its
 * handler's calls run on top of calls in progress, probes included.
 */
static void test_14_calls_on_top_of_calls(void **state)
{
	(void)state;
	check_exact(ARGS("signals-malloc", "plain"), NO_ARGS, NULL);
}

/* 15: sampling took calls instead of bytes, and never scaled the result. */
static void test_15_sampled_totals_are_estimates_of_the_whole(void **state)
{
	struct run run =
		run__trace(ARGS("many", "blocks", "100000"), ARGS("--sample-bytes", "1K"), NULL);
	struct tally truth = expect__totals(expects__of(&run.expects, 0));
	struct tally got = report__sum(&run.report, 0, "malloc", "hold_block");
	double p = 1 - exp(-18.0 / 1024), error = 18 * sqrt(100000 * (1 - p) / p);

	(void)state;
	if (fabs((double)(got.live_bytes - truth.live_bytes)) > 5 * error)
		fail_msg("%lld bytes estimated, %lld true, standard error %.0f",
			 (long long)got.live_bytes, (long long)truth.live_bytes, error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_01_full_table_makes_phantom_leaks),
		E2E_TEST(test_02_more_than_a_million_live_blocks),
		E2E_TEST(test_03_malloc_above_the_mmap_threshold),
		E2E_TEST(test_04_thread_arenas),
		E2E_TEST(test_05_failed_realloc),
		E2E_TEST(test_06_failed_posix_memalign),
		E2E_TEST(test_07_partial_munmap),
		E2E_TEST(test_08_unit_of_the_minimum_age),
		E2E_TEST(test_09_many_distinct_stacks),
		E2E_TEST(test_10_freed_entries_reused_by_another_cpu),
		E2E_TEST(test_11_address_comes_back_without_a_free),
		E2E_TEST(test_12_totals_wider_than_40_bits),
		E2E_TEST(test_12_counts_wider_than_24_bits),
		E2E_TEST(test_13_two_names_for_one_function),
		E2E_TEST(test_14_calls_on_top_of_calls),
		E2E_TEST(test_15_sampled_totals_are_estimates_of_the_whole),
	};

	return harness__main("e2e peer defects", tests, sizeof(tests) / sizeof(tests[0]));
}
