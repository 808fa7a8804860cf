/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that comes from the kernel directly, as a layer of its own. */
#include "lib/harness.h"

static int64_t layer_bytes(const struct run *run)
{
	return report__sum(&run->report, run->leaker->pid, "mmap", NULL).live_bytes;
}

/* Live bytes of all sites of the EXPECT line in layer mmap. */
static int64_t expected_bytes(const struct run *run)
{
	struct json_object *sites;
	int64_t sum = 0;

	assert_true(json_object_object_get_ex(expects__of(&run->expects, 0), "mmap", &sites));
	json_object_object_foreach(sites, name, site)
	{
		struct json_object *live;

		assert_true(json_object_object_get_ex(site, "live_bytes", &live));
		assert_non_null(name);
		sum += json_object_get_int64(live);
	}
	return sum;
}

/* The layer's sum, and nothing of it in layer malloc. */
static struct run check_sum(const char *mode)
{
	struct run run = run__trace(ARGS("maps", mode), NO_ARGS, NULL);
	struct tally blocks = report__sum(&run.report, run.leaker->pid, "malloc", NULL);

	assert_int_equal(layer_bytes(&run), expected_bytes(&run));
	assert_tally(&run.report, "layer malloc", blocks,
		     expect__totals(expects__of(&run.expects, 0)));
	return run;
}

/* Beside the sum each named function, which made the system call itself. */
static void check_functions(const char *mode)
{
	struct run run = check_sum(mode);

	assert_expect(&run.report, expects__of(&run.expects, 0));
}

static void test_mmap_and_munmap(void **state)
{
	(void)state;
	check_functions("plain");
}

static void test_partial_munmap(void **state)
{
	(void)state;
	check_functions("partial");
}

static void test_mremap(void **state)
{
	(void)state;
	check_sum("remap");
}

static void test_map_fixed_over_another(void **state)
{
	(void)state;
	check_functions("overlay");
}

static void test_reservation_is_no_memory(void **state)
{
	struct run run = check_sum("reserve-only");

	(void)state;
	assert_int_equal(layer_bytes(&run), 0);
}

static void test_reservation_becomes_memory_by_mprotect(void **state)
{
	(void)state;
	check_sum("reserve");
}

static void test_brk(void **state)
{
	(void)state;
	check_functions("brk");
}

static void test_sbrk(void **state)
{
	(void)state;
	check_sum("sbrk");
}

/* Through libc's wrappers; the caller is in the stack, whether the wrapper has a frame or not. */
static void test_mmap_by_libc(void **state)
{
	struct run run = check_sum("libc");
	struct tally got =
		report__sum_anywhere(&run.report, run.leaker->pid, "mmap", "map_by_libc");
	struct tally rest = report__sum_anywhere(&run.report, run.leaker->pid, "mmap", "mode_libc");

	(void)state;
	assert_true(got.live_bytes == expected_bytes(&run) ||
		    rest.live_bytes == expected_bytes(&run));
}

/* What malloc maps is malloc's: exact sizes there, nothing here. */
static void test_malloc_above_the_threshold_is_no_mmap(void **state)
{
	struct run run = run__trace(ARGS("alloc", "big"), NO_ARGS, NULL);

	(void)state;
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_int_equal(layer_bytes(&run), 0);
}

/* The heap that malloc grows by brk is malloc's too. */
static void test_heap_growth_is_no_mmap(void **state)
{
	struct run run = run__trace(ARGS("many", "blocks", "200000"), NO_ARGS, NULL);

	(void)state;
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_int_equal(layer_bytes(&run), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_mmap_and_munmap),
		E2E_TEST(test_partial_munmap),
		E2E_TEST(test_mremap),
		E2E_TEST(test_map_fixed_over_another),
		E2E_TEST(test_reservation_is_no_memory),
		E2E_TEST(test_reservation_becomes_memory_by_mprotect),
		E2E_TEST(test_brk),
		E2E_TEST(test_sbrk),
		E2E_TEST(test_mmap_by_libc),
		E2E_TEST(test_malloc_above_the_threshold_is_no_mmap),
		E2E_TEST(test_heap_growth_is_no_mmap),
	};

	return harness__main("e2e mmap", tests, sizeof(tests) / sizeof(tests[0]));
}
