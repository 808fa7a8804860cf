/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts that add up, and what a change of them means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "model/ledger.h"

#define MIB (1ULL << 20)

static uint64_t sum_of(const struct ledger *ledger)
{
	uint64_t sum = 0;

	for (int i = 0; i < LEDGER_PART_CNT; i++)
		sum += ledger->part_bytes[i];
	return sum;
}

static struct ledger make(uint64_t heaps_mib, uint64_t mapped_mib)
{
	struct ledger ledger = {.is_known = true};

	ledger__put(&ledger, LEDGER_HEAP_UNREAD, heaps_mib * MIB);
	ledger__put(&ledger, LEDGER_MAPPED, mapped_mib * MIB);
	return ledger;
}

static void divide(struct ledger *ledger, uint64_t used, uint64_t holes, uint64_t pages,
		   uint64_t top)
{
	struct heap_sums sums = {.largest_free = 5 * MIB, .free_cnt = 7};

	sums.resident[HEAP_USED] = used * MIB;
	sums.resident[HEAP_HOLES] = holes * MIB;
	sums.resident[HEAP_PAGES] = pages * MIB;
	sums.resident[HEAP_TOP] = top * MIB;
	ledger__divide_heaps(ledger, &sums);
}

static void test_divide(void **state)
{
	struct ledger ledger = make(100, 20);

	(void)state;
	divide(&ledger, 50, 20, 10, 5);
	assert_int_equal(ledger.part_bytes[LEDGER_HEAP_UNREAD], 15 * MIB);
	assert_int_equal(ledger__live(&ledger), 50 * MIB);
	assert_int_equal(ledger__fragmented(&ledger), 20 * MIB);
	assert_int_equal(ledger__kept(&ledger), 35 * MIB);
	assert_int_equal(ledger.anon_bytes, 120 * MIB);
	assert_int_equal(sum_of(&ledger), ledger.anon_bytes);
	/* A process that has grown since its mappings were read: no more than there was. */
	ledger = make(40, 20);
	divide(&ledger, 50, 20, 10, 5);
	assert_int_equal(ledger.part_bytes[LEDGER_HEAP_USED], 40 * MIB);
	assert_int_equal(ledger__kept(&ledger), 0);
	assert_int_equal(sum_of(&ledger), 60 * MIB);
}

static void test_group(void **state)
{
	struct ledger group = {0}, first = make(10, 2), second = make(30, 4), none = {0};

	(void)state;
	first.allocator = second.allocator = "jemalloc";
	first.shared_bytes = second.huge_bytes = 3;
	second.largest_free_bytes = 9;
	ledger__add(&group, &none);
	assert_false(group.is_known);
	ledger__add(&group, &first);
	ledger__add(&group, &second);
	assert_true(group.is_known);
	assert_int_equal(group.anon_bytes, 46 * MIB);
	assert_int_equal(sum_of(&group), 46 * MIB);
	assert_int_equal(group.shared_bytes + group.huge_bytes, 6);
	assert_int_equal(group.largest_free_bytes, 9);
	assert_string_equal(group.allocator, "jemalloc");
	second.allocator = "musl";
	ledger__add(&group, &second);
	assert_null(group.allocator);
	ledger__add(&group, &first);
	assert_null(group.allocator);
}

/* A heap of 100 MiB that ten processes have since a fork, of which each has written a tenth since,
 * and 30 MiB that one has alone. */
static void test_shared(void **state)
{
	struct ledger group = {0}, one = {.is_known = true}, before = one;

	(void)state;
	ledger__put(&one, LEDGER_HEAP_UNREAD, 100 * MIB);
	ledger__share(&one, &before, 19 * MIB);
	before = one;
	ledger__put(&one, LEDGER_MAPPED, 30 * MIB);
	ledger__move(&one, LEDGER_MAPPED, LEDGER_BIG_BLOCKS, 10 * MIB);
	ledger__share(&one, &before, 30 * MIB);
	before = one;
	ledger__put(&one, LEDGER_OBJECTS_FREE, 30 * MIB);
	ledger__put(&one, LEDGER_MAPPED, 10 * MIB);
	ledger__share(&one, &before, 20 * MIB);
	divide(&one, 50, 20, 10, 5);
	assert_int_equal(one.anon_bytes, 170 * MIB);
	assert_int_equal(sum_of(&one), 170 * MIB);
	for (int i = 0; i < 10; i++)
		ledger__add(&group, &one);
	assert_int_equal(sum_of(&group), group.anon_bytes);
	assert_in_range(group.anon_bytes, 690 * MIB, 690 * MIB + 100);
	assert_in_range(group.part_bytes[LEDGER_HEAP_USED], 95 * MIB, 95 * MIB + 100);
	assert_in_range(group.part_bytes[LEDGER_HEAP_HOLES], 38 * MIB, 38 * MIB + 100);
	assert_int_equal(group.part_bytes[LEDGER_BIG_BLOCKS], 100 * MIB);
	assert_int_equal(group.part_bytes[LEDGER_OBJECTS_FREE], 150 * MIB);
	assert_int_equal(group.part_bytes[LEDGER_MAPPED], 250 * MIB);
}

/* Sizes of a process that has nearly all there is of addresses. */
static void test_shared_large(void **state)
{
	struct ledger group = {0}, one = {.is_known = true}, before = one;

	(void)state;
	ledger__put(&one, LEDGER_MAPPED, 1ULL << 56);
	ledger__share(&one, &before, 1ULL << 55);
	ledger__move(&one, LEDGER_MAPPED, LEDGER_BIG_BLOCKS, 1ULL << 55);
	ledger__add(&group, &one);
	assert_int_equal(group.anon_bytes, 1ULL << 55);
	assert_int_equal(group.part_bytes[LEDGER_BIG_BLOCKS], 1ULL << 54);
}

static void test_names(void **state)
{
	(void)state;
	for (enum ledger_part i = 1; i < LEDGER_PART_CNT; i++)
		for (enum ledger_part k = 1; k < LEDGER_PART_CNT; k++)
			assert_true(i == k ||
				    (strcmp(ledger_part__name(i), ledger_part__name(k)) != 0 &&
				     strcmp(ledger_part__field(i), ledger_part__field(k)) != 0));
	assert_string_equal(ledger_part__name(0), "?");
	assert_string_equal(ledger_part__name(LEDGER_PART_CNT), "?");
	assert_string_equal(ledger_part__field(0), "?");
	assert_string_equal(ledger_part__field(LEDGER_PART_CNT), "?");
	for (enum ledger_cause i = 0; i < LEDGER_CAUSE_CNT; i++)
		for (enum ledger_cause k = 0; k < i; k++)
			assert_string_not_equal(ledger_cause__name(i), ledger_cause__name(k));
	assert_string_equal(ledger_cause__name(LEDGER_CAUSE_CNT), "?");
}

/* A process of 100 MiB of blocks, of which one part becomes larger by so much. */
static struct ledger_verdict judge(enum ledger_part part, uint64_t bytes)
{
	struct ledger before = make(110, 5), now;

	divide(&before, 100, 5, 3, 2);
	now = before;
	ledger__put(&now, part, bytes);
	return ledger__judge(&before, &now, MIB);
}

static void assert_verdict(struct ledger_verdict verdict, enum ledger_cause cause, uint64_t bytes)
{
	assert_int_equal(verdict.cause, cause);
	assert_int_equal(verdict.bytes, bytes);
}

static void test_judge(void **state)
{
	static const struct {
		enum ledger_part part;
		enum ledger_cause cause;
	} wanted[] = {
		{LEDGER_HEAP_USED, LEDGER_CAUSE_LIVE},
		{LEDGER_BIG_BLOCKS, LEDGER_CAUSE_LIVE},
		{LEDGER_OBJECTS, LEDGER_CAUSE_LIVE},
		{LEDGER_MAPPED, LEDGER_CAUSE_LIVE},
		{LEDGER_OTHER_HEAP, LEDGER_CAUSE_LIVE},
		{LEDGER_HEAP_PAGES, LEDGER_CAUSE_RETAINED},
		{LEDGER_HEAP_TOP, LEDGER_CAUSE_RETAINED},
		{LEDGER_OBJECTS_FREE, LEDGER_CAUSE_RETAINED},
		{LEDGER_HEAP_HOLES, LEDGER_CAUSE_FRAGMENTED},
		{LEDGER_HEAP_CACHED, LEDGER_CAUSE_FRAGMENTED},
		{LEDGER_HUGE_ZEROS, LEDGER_CAUSE_HUGE_PAGES},
		{LEDGER_THREAD_STACKS, LEDGER_CAUSE_STACKS},
		{LEDGER_MAIN_STACK, LEDGER_CAUSE_STACKS},
		{LEDGER_FILES, LEDGER_CAUSE_FILES},
		{LEDGER_HEAP_UNREAD, LEDGER_CAUSE_UNEXPLAINED},
		{LEDGER_UNEXPLAINED, LEDGER_CAUSE_UNEXPLAINED},
	};

	(void)state;
	assert_int_equal(sizeof(wanted) / sizeof(wanted[0]), LEDGER_PART_CNT - 1);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		assert_verdict(judge(wanted[i].part, 30 * MIB), wanted[i].cause, 30 * MIB);
		assert_verdict(judge(wanted[i].part, MIB - 1), LEDGER_CAUSE_NONE, 0);
	}
}

/* Blocks become free and stay; a cache of files grows beside a leak. */
static void test_judge_changes(void **state)
{
	struct ledger before = make(100, 0), now;

	(void)state;
	divide(&before, 90, 5, 3, 2);
	now = make(100, 0);
	divide(&now, 10, 15, 70, 5);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_RETAINED, 70 * MIB);
	assert_verdict(ledger__judge(&now, &before, MIB), LEDGER_CAUSE_LIVE, 80 * MIB);
	now = before;
	ledger__put(&now, LEDGER_HEAP_USED, 10 * MIB);
	now.file_bytes += 20 * MIB;
	now.shared_bytes += 20 * MIB;
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_LIVE, 10 * MIB);
	now = before;
	now.file_bytes += 20 * MIB;
	now.shared_bytes += 20 * MIB;
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_NONE, 0);
	assert_verdict(ledger__judge(&before, &before, 1), LEDGER_CAUSE_NONE, 0);
}

/* What explains half of the growth, or less, does not explain it. */
static void test_judge_share(void **state)
{
	struct ledger before = make(100, 0), now;

	(void)state;
	divide(&before, 90, 5, 3, 2);
	now = before;
	ledger__put(&now, LEDGER_THREAD_STACKS, 50 * MIB);
	ledger__put(&now, LEDGER_HEAP_USED, 20 * MIB);
	ledger__put(&now, LEDGER_HEAP_PAGES, 30 * MIB);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_LIVE, 20 * MIB);
	ledger__put(&now, LEDGER_THREAD_STACKS, MIB);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_STACKS, 51 * MIB);
	now = before;
	ledger__put(&now, LEDGER_THREAD_STACKS, 50 * MIB);
	ledger__put(&now, LEDGER_HEAP_PAGES, 40 * MIB);
	ledger__put(&now, LEDGER_FILES, 10 * MIB);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_NONE, 0);
	ledger__put(&now, LEDGER_UNEXPLAINED, 5 * MIB);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_UNEXPLAINED, 5 * MIB);
}

/* Who grows by what goes to the swap is not told of the stacks that stay in memory. */
static void test_judge_swapped(void **state)
{
	struct ledger before = make(100, 0), now;

	(void)state;
	divide(&before, 90, 5, 3, 2);
	now = before;
	ledger__put(&now, LEDGER_THREAD_STACKS, 20 * MIB);
	now.swapped_bytes = 30 * MIB;
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_UNEXPLAINED, 30 * MIB);
	ledger__put(&now, LEDGER_THREAD_STACKS, 20 * MIB);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_STACKS, 40 * MIB);
	now = before;
	ledger__put(&now, LEDGER_THREAD_STACKS, 8 * MIB);
	ledger__put(&now, LEDGER_HEAP_USED, 2 * MIB);
	now.swapped_bytes = 7 * MIB;
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_LIVE, 2 * MIB);
	before.swapped_bytes = 2 * MIB;
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_STACKS, 8 * MIB);
}

/* Heaps and pools for which there was time once: nothing has changed but what the process has. */
static void test_judge_unread(void **state)
{
	struct ledger before = make(100, 0), now = make(130, 0);

	(void)state;
	divide(&now, 90, 5, 3, 2);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_UNEXPLAINED, 30 * MIB);
	assert_verdict(ledger__judge(&now, &before, MIB), LEDGER_CAUSE_NONE, 0);
	before = (struct ledger){.is_known = true};
	ledger__put(&before, LEDGER_MAPPED, 200 * MIB);
	now = (struct ledger){.is_known = true};
	ledger__put(&now, LEDGER_OBJECTS, 50 * MIB);
	ledger__put(&now, LEDGER_OBJECTS_FREE, 160 * MIB);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_LIVE, 10 * MIB);
	assert_verdict(ledger__judge(&now, &before, MIB), LEDGER_CAUSE_NONE, 0);
}

/* A Python whose pools are read or not: mapped, objects and what is free, in MiB. */
static struct ledger python(uint64_t mapped, uint64_t objects, uint64_t free_mib)
{
	struct ledger ledger = {.is_known = true, .has_unread_pools = !objects};

	ledger__put(&ledger, LEDGER_MAPPED, mapped * MIB);
	ledger__put(&ledger, LEDGER_OBJECTS, objects * MIB);
	ledger__put(&ledger, LEDGER_OBJECTS_FREE, free_mib * MIB);
	return ledger;
}

static void check_pools(struct ledger before, struct ledger now, enum ledger_cause cause,
			uint64_t mib)
{
	assert_verdict(ledger__judge(&before, &now, MIB), cause, mib * MIB);
}

/* What pools that were not read have may be free: it is called live only as far as what is free by
 * now cannot explain it. */
static void test_judge_pools(void **state)
{
	(void)state;
	check_pools(python(200, 0, 0), python(300, 0, 0), LEDGER_CAUSE_UNEXPLAINED, 100);
	check_pools(python(20, 100, 80), python(300, 0, 0), LEDGER_CAUSE_UNEXPLAINED, 100);
	check_pools(python(200, 0, 0), python(20, 50, 230), LEDGER_CAUSE_UNEXPLAINED, 100);
	check_pools(python(200, 0, 0), python(20, 220, 60), LEDGER_CAUSE_UNEXPLAINED, 60);
	check_pools(python(200, 0, 0), python(20, 250, 30), LEDGER_CAUSE_LIVE, 70);
	check_pools(python(200, 0, 0), python(150, 50, 0), LEDGER_CAUSE_NONE, 0);
	check_pools(python(300, 0, 0), python(200, 0, 0), LEDGER_CAUSE_NONE, 0);
	check_pools(python(20, 100, 80), python(20, 120, 160), LEDGER_CAUSE_RETAINED, 80);
	check_pools(python(20, 100, 80), python(120, 110, 80), LEDGER_CAUSE_LIVE, 110);
}

/* An allocator that maps its memory by itself: what it keeps free cannot be told from what is in
 * use, but other parts can. */
static void test_judge_allocator(void **state)
{
	struct ledger before = make(50, 100), now = before;

	(void)state;
	divide(&before, 40, 4, 4, 2);
	now.allocator = "jemalloc";
	divide(&now, 40, 4, 4, 2);
	ledger__put(&now, LEDGER_MAPPED, 30 * MIB);
	ledger__put(&now, LEDGER_OTHER_HEAP, 20 * MIB);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_MAPPED, 50 * MIB);
	ledger__put(&now, LEDGER_HEAP_PAGES, 40 * MIB);
	ledger__put(&now, LEDGER_HEAP_USED, 2 * MIB);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_MAPPED, 50 * MIB);
	ledger__put(&now, LEDGER_HEAP_USED, 60 * MIB);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_LIVE, 62 * MIB);
	before = now;
	ledger__put(&now, LEDGER_THREAD_STACKS, 30 * MIB);
	ledger__put(&now, LEDGER_FILES, 30 * MIB);
	ledger__put(&now, LEDGER_MAPPED, 10 * MIB);
	assert_verdict(ledger__judge(&before, &now, MIB), LEDGER_CAUSE_MAPPED, 10 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_divide),	      cmocka_unit_test(test_group),
		cmocka_unit_test(test_names),	      cmocka_unit_test(test_judge),
		cmocka_unit_test(test_judge_changes), cmocka_unit_test(test_judge_unread),
		cmocka_unit_test(test_judge_share),   cmocka_unit_test(test_judge_swapped),
		cmocka_unit_test(test_shared),	      cmocka_unit_test(test_shared_large),
		cmocka_unit_test(test_judge_pools),   cmocka_unit_test(test_judge_allocator),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
