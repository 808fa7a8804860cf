/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the traps of an allocator are predicted to cost; a look at the processes that run now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "engine/host_allocs.h"

#define MALLOC ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0)
#define CALLOC ALLOC_FN(ALLOC_OP_ALLOC, 2, 1, 0, 0)
#define FREE ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0)
#define SIZED_FREE_OF_SECOND ALLOC_FN(ALLOC_OP_FREE, 0, 0, 2, 0)

static const struct trap_costs costs = {
	.emulated_ns = 600, .stepped_ns = 4000, .call_return_ns = 1000};

static bool predict(struct alloc_site *sites, size_t cnt, double *ret_ns)
{
	struct elf_allocs allocs = {0};

	allocs.sites.items = sites;
	allocs.sites.cnt = cnt;
	return predict_pair_ns(&allocs, &costs, ret_ns);
}

static void check_pair(enum probe_cost alloc, enum probe_cost release, double want_ns)
{
	struct alloc_site sites[] = {
		{.symbol = "malloc", .cookie = MALLOC, .cost = alloc},
		{.symbol = "free", .cookie = FREE, .cost = release},
	};
	double ns = 0;

	assert_true(predict(sites, 2, &ns));
	assert_true(ns == want_ns);
}

static void test_pair(void **state)
{
	(void)state;
	check_pair(PROBE_EMULATED, PROBE_EMULATED, 1600);
	check_pair(PROBE_EMULATED, PROBE_STEPPED, 5000);
	check_pair(PROBE_STEPPED, PROBE_EMULATED, 5000);
	check_pair(PROBE_STEPPED, PROBE_STEPPED, 8400);
}

/* Of several that look alike, the ones everybody calls count, wherever they stand. */
static void test_pair_of_malloc_and_free(void **state)
{
	struct alloc_site sites[] = {
		{.symbol = "valloc", .cookie = MALLOC, .cost = PROBE_STEPPED},
		{.symbol = "tc_malloc", .cookie = MALLOC, .cost = PROBE_STEPPED},
		{.symbol = "malloc", .cookie = MALLOC, .cost = PROBE_EMULATED},
		{.symbol = "free", .cookie = FREE, .cost = PROBE_EMULATED},
		{.symbol = "tc_cfree", .cookie = FREE, .cost = PROBE_STEPPED},
	};
	double ns = 0;

	(void)state;
	assert_true(predict(sites, 5, &ns));
	assert_true(ns == 1600);
	/* Without the plain names a prefixed pair is the next best. */
	assert_true(predict(sites, 2, &ns) == false);
	sites[2].symbol = "pvalloc";
	sites[3].symbol = "_ZdlPv";
	assert_true(predict(sites, 5, &ns));
	assert_true(ns == 8400);
}

static void test_no_pair(void **state)
{
	struct alloc_site sites[] = {
		{.symbol = "calloc", .cookie = CALLOC, .cost = PROBE_EMULATED},
		{.symbol = "put_back", .cookie = SIZED_FREE_OF_SECOND, .cost = PROBE_EMULATED},
		{.symbol = "free", .cookie = FREE, .cost = PROBE_EMULATED},
	};
	double ns = 7;

	(void)state;
	assert_false(predict(NULL, 0, &ns));
	assert_false(predict(sites, 3, &ns));
	assert_true(ns == 7);
}

static void test_scan_of_this_host(void **state)
{
	struct host_allocs allocs;

	(void)state;
	assert_int_equal(host_allocs__scan(&allocs), 0);
	assert_true(allocs.allocator_cnt <= allocs.files.cnt);
	assert_true(allocs.unfollowed.cnt <= allocs.proc_cnt);
	for (size_t i = 0; i < allocs.files.cnt; i++) {
		const struct host_file *file = &allocs.files.items[i];

		assert_int_equal(file->allocs.allocator != NULL, i < allocs.allocator_cnt);
		assert_int_equal(file->emulated_cnt + file->stepped_cnt, file->allocs.sites.cnt);
		assert_true(file->proc_cnt >= 1 && file->proc_cnt <= allocs.proc_cnt);
		if (i && i != allocs.allocator_cnt)
			assert_true(file[-1].proc_cnt >= file->proc_cnt);
		for (size_t j = 0; j < i; j++)
			assert_false(allocs.files.items[j].dev == file->dev &&
				     allocs.files.items[j].ino == file->ino);
	}
	for (size_t i = 0; i < allocs.unfollowed.cnt; i++)
		assert_true(!i || allocs.unfollowed.items[i - 1].rss_bytes >=
					  allocs.unfollowed.items[i].rss_bytes);
	host_allocs__free(&allocs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pair),
		cmocka_unit_test(test_pair_of_malloc_and_free),
		cmocka_unit_test(test_no_pair),
		cmocka_unit_test(test_scan_of_this_host),
	};

	return cmocka_run_group_tests_name("engine host", tests, NULL, NULL);
}
