/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each call but mremap does to the ranges of a space. */
#include "unit/collect_ranges_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void test_map_and_unmap(void **state)
{
	struct ranges *r = *state;
	struct range_origin origin = by(1, 10);

	assert_false(ranges__has_memory(r));
	assert_int_equal(row_cnt(r), 0);
	map(r, 0, 4, by(1, 10));
	map(r, 4, 2, by(1, 20));
	map(r, 100, 1, by(2, 30));
	assert_true(ranges__has_memory(r));
	CHECK(r, 1, .alloc = 6, .alloc_count = 2, .live = 6, .live_count = 2, .oldest_ns = 10,
	      .newest_ns = 20);
	unmap(r, 0, 4, 40);
	CHECK(r, 1, .alloc = 6, .alloc_count = 2, .live = 2, .live_count = 1, .oldest_ns = 20,
	      .newest_ns = 20);
	unmap(r, 4, 2, 50);
	unmap(r, 100, 1, 50);
	CHECK(r, 1, .alloc = 6, .alloc_count = 2);
	CHECK(r, 2, .alloc = 1, .alloc_count = 1);
	assert_int_equal(row_cnt(r), 2);
	assert_false(ranges__has_memory(r));
	assert_int_equal(ranges__unknown_bytes(r), 0);

	/* Lengths are in pages, whatever was asked for; stack 0 is a stack like any other. */
	origin.stack_id = 0;
	assert_int_equal(ranges__map(r, AT(10), 1, &origin), 0);
	assert_int_equal(ranges__map(r, AT(11), page + 1, &origin), 0);
	CHECK(r, 0, .alloc = 3, .alloc_count = 2, .live = 3, .live_count = 2);
	assert_int_equal(ranges__unmap(r, AT(10), page + 1, 60), 0);
	CHECK(r, 0, .alloc = 3, .alloc_count = 2, .live = 1, .live_count = 1);
}

static void test_unmap_parts_of_one(void **state)
{
	struct ranges *r = *state;

	map(r, 0, 10, by(1, 10));
	unmap(r, 0, 2, 20); /* head */
	CHECK(r, 1, .alloc = 10, .alloc_count = 1, .live = 8, .live_count = 1);
	unmap(r, 9, 1, 20); /* tail */
	CHECK(r, 1, .alloc = 10, .alloc_count = 1, .live = 7, .live_count = 1);
	unmap(r, 4, 2, 20); /* middle */
	CHECK(r, 1, .alloc = 10, .alloc_count = 1, .live = 5, .live_count = 1, .oldest_ns = 10,
	      .newest_ns = 10);
	unmap(r, 4, 2, 30); /* nothing lies there any more */
	assert_int_equal(ranges__unknown_bytes(r), LEN(2));
	unmap(r, 6, 3, 30);
	CHECK(r, 1, .alloc = 10, .alloc_count = 1, .live = 2, .live_count = 1);
	unmap(r, 2, 2, 30);
	CHECK(r, 1, .alloc = 10, .alloc_count = 1);
}

static void test_unmap_across_many(void **state)
{
	struct ranges *r = *state;

	for (uint64_t i = 0; i < 10; i++)
		map(r, i * 5, 4, by(i + 1, 10 + i)); /* a page between each two */
	/* Half of the first to 3/4 of the eighth. */
	unmap(r, 2, 36, 100);
	CHECK(r, 1, .alloc = 4, .alloc_count = 1, .live = 2, .live_count = 1);
	for (uint64_t i = 1; i < 7; i++)
		CHECK(r, i + 1, .alloc = 4, .alloc_count = 1);
	CHECK(r, 8, .alloc = 4, .alloc_count = 1, .live = 1, .live_count = 1);
	CHECK(r, 9, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	assert_int_equal(ranges__unknown_bytes(r), LEN(7));
	unmap(r, 0, 1000, 200);
	assert_false(ranges__has_memory(r));
	assert_int_equal(ranges__unknown_bytes(r), LEN(7) + LEN(1000 - 2 - 1 - 4 - 4));
}

static void test_overlay(void **state)
{
	struct ranges *r = *state;

	map(r, 0, 10, by(1, 10));
	map(r, 3, 4, by(2, 20)); /* MAP_FIXED into the middle */
	CHECK(r, 1, .alloc = 10, .alloc_count = 1, .live = 6, .live_count = 1);
	CHECK(r, 2, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	map(r, 2, 3, by(1, 30)); /* across a border */
	CHECK(r, 1, .alloc = 13, .alloc_count = 2, .live = 8, .live_count = 2, .oldest_ns = 10,
	      .newest_ns = 30);
	CHECK(r, 2, .alloc = 4, .alloc_count = 1, .live = 2, .live_count = 1);
	map(r, 0, 20, by_kind(3, 40, RANGE_FILE));
	CHECK(r, 1, .alloc = 13, .alloc_count = 2);
	CHECK(r, 2, .alloc = 4, .alloc_count = 1);
	CHECK(r, 3, 0);
	assert_false(ranges__has_memory(r));
	assert_int_equal(ranges__unknown_bytes(r), 0);
}

static void test_uncounted_kinds(void **state)
{
	struct ranges *r = *state;

	map(r, 0, 4, by_kind(1, 10, RANGE_FILE));
	map(r, 4, 4, by_kind(1, 10, RANGE_ALLOCATOR));
	map(r, 8, 4, by_kind(1, 10, RANGE_RESERVED));
	map(r, 12, 4, by_kind(1, 10, 77)); /* no such kind */
	assert_int_equal(row_cnt(r), 0);
	assert_false(ranges__has_memory(r));
	unmap(r, 1, 14, 20);
	unmap(r, 0, 1, 20);
	assert_int_equal(ranges__unknown_bytes(r), 0);
	unmap(r, 0, 15, 20);
	assert_int_equal(ranges__unknown_bytes(r), LEN(15));
	unmap(r, 15, 1, 20);
	assert_int_equal(ranges__unknown_bytes(r), LEN(15));
}

/* One thread's munmap is reported after another thread has been given the same addresses. */
static void test_late_unmap(void **state)
{
	struct ranges *r = *state;

	map(r, 0, 8, by(1, 10));
	map(r, 2, 4, by(2, 105));
	unmap(r, 0, 8, 100);
	CHECK(r, 1, .alloc = 8, .alloc_count = 1);
	CHECK(r, 2, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	assert_int_equal(ranges__unknown_bytes(r), 0);
	unmap(r, 0, 8, 104);
	CHECK(r, 2, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	unmap(r, 0, 8, 105);
	CHECK(r, 2, .alloc = 4, .alloc_count = 1);

	/* What mremap has put there is as new as the mremap, however old the mapping is. */
	map(r, 20, 4, by(3, 110));
	remap(r, 20, 4, 40, 4, by(9, 205));
	unmap(r, 40, 4, 200);
	CHECK(r, 3, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1, .oldest_ns = 110,
	      .newest_ns = 110);
	/* The same for what it has added; the rest is as old as it was. */
	remap(r, 40, 4, 40, 6, by(9, 305));
	unmap(r, 40, 6, 300);
	CHECK(r, 3, .alloc = 6, .alloc_count = 1, .live = 2, .live_count = 1);
}

static void test_brk(void **state)
{
	struct ranges *r = *state;
	struct range_origin first = by(1, 10), second = by(2, 20), shrink = by(3, 30);

	assert_int_equal(ranges__brk(r, AT(0), AT(1) + 5, &first), 0);
	assert_int_equal(ranges__brk(r, AT(1) + 5, AT(2), &second), 0); /* in the same page */
	assert_int_equal(ranges__brk(r, AT(2), AT(4), &second), 0);
	CHECK(r, 1, .alloc = 2, .alloc_count = 1, .live = 2, .live_count = 1);
	CHECK(r, 2, .alloc = 2, .alloc_count = 1, .live = 2, .live_count = 1);
	assert_int_equal(ranges__brk(r, AT(4), AT(1) - 1, &shrink), 0);
	CHECK(r, 1, .alloc = 2, .alloc_count = 1, .live = 1, .live_count = 1);
	CHECK(r, 2, .alloc = 2, .alloc_count = 1);
	assert_int_equal(ranges__unknown_bytes(r), 0);
	assert_int_equal(ranges__brk(r, AT(1), AT(0) - page, &shrink), 0);
	assert_int_equal(ranges__unknown_bytes(r), LEN(1));
	assert_int_equal(ranges__brk(r, 0, AT(1), &first), 0); /* not known from where */
	assert_int_equal(ranges__brk(r, AT(1), UINT64_MAX, &first), 0);
	CHECK(r, 1, .alloc = 2, .alloc_count = 1);
	CHECK(r, 3, 0);
}

static void test_protect(void **state)
{
	struct ranges *r = *state;
	struct range_origin origin = by(9, 20);

	map(r, 0, 20, by_kind(1, 10, RANGE_RESERVED));
	assert_int_equal(ranges__protect(r, AT(0), LEN(20), false, &origin), 0);
	CHECK(r, 9, 0);
	commit(r, 5, 10, by(2, 30)); /* the middle */
	CHECK(r, 2, .alloc = 10, .alloc_count = 1, .live = 10, .live_count = 1, .oldest_ns = 30,
	      .newest_ns = 30);
	commit(r, 0, 20, by(3, 40)); /* what is left: two parts */
	CHECK(r, 3, .alloc = 10, .alloc_count = 2, .live = 10, .live_count = 2);
	CHECK(r, 2, .alloc = 10, .alloc_count = 1, .live = 10, .live_count = 1);
	assert_int_equal(ranges__protect(r, AT(0), LEN(20), false, &origin), 0);
	CHECK(r, 2, .alloc = 10, .alloc_count = 1, .live = 10, .live_count = 1);
	unmap(r, 0, 20, 50);
	CHECK(r, 2, .alloc = 10, .alloc_count = 1);
	CHECK(r, 3, .alloc = 10, .alloc_count = 2);
	CHECK(r, 1, 0);

	/* Reservations side by side turn as one; files, memory and the unknown do not turn. */
	map(r, 100, 2, by_kind(1, 60, RANGE_RESERVED));
	map(r, 102, 2, by_kind(1, 61, RANGE_RESERVED));
	map(r, 104, 2, by_kind(1, 62, RANGE_FILE));
	map(r, 106, 2, by(1, 63));
	map(r, 109, 2, by_kind(1, 64, RANGE_RESERVED));
	commit(r, 90, 20, by(4, 70));
	CHECK(r, 4, .alloc = 5, .alloc_count = 2, .live = 5, .live_count = 2);
	CHECK(r, 1, .alloc = 2, .alloc_count = 1, .live = 2, .live_count = 1);
	/* An arena that grows page by page is never counted. */
	map(r, 200, 64, by_kind(1, 80, RANGE_RESERVED));
	for (uint64_t i = 0; i < 64; i++)
		commit(r, 200 + i, 1, by_kind(5, 90 + i, RANGE_ALLOCATOR));
	commit(r, 200, 64, by(5, 200));
	CHECK(r, 5, 0);
}

static void test_mark_allocator(void **state)
{
	struct ranges *r = *state;

	map(r, 0, 8, by(1, 10));
	map(r, 8, 4, by(1, 20));
	map(r, 20, 4, by(2, 30));
	unmap(r, 2, 2, 40);
	remap(r, 6, 2, 40, 3, by(9, 50));
	CHECK(r, 1, .alloc = 13, .alloc_count = 2, .live = 11, .live_count = 2);
	ranges__mark_allocator(r, AT(41) + 7); /* the moved part of the first */
	CHECK(r, 1, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1, .oldest_ns = 20,
	      .newest_ns = 20);
	ranges__mark_allocator(r, AT(0));
	ranges__mark_allocator(r, AT(2)); /* nothing there */
	ranges__mark_allocator(r, AT(12));
	ranges__mark_allocator(r, 0);
	ranges__mark_allocator(r, UINT64_MAX);
	CHECK(r, 1, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	ranges__mark_allocator(r, AT(24) - 1);
	CHECK(r, 2, 0);
	assert_int_equal(row_cnt(r), 1);
	assert_true(ranges__has_memory(r));
	/* It stays an allocator's when it grows, and its end is nobody's free. */
	remap(r, 20, 4, 20, 6, by(9, 60));
	unmap(r, 0, 8, 70);
	unmap(r, 20, 6, 70);
	unmap(r, 40, 3, 70);
	CHECK(r, 2, 0);
	CHECK(r, 1, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	ranges__mark_allocator(r, AT(9));
	assert_int_equal(row_cnt(r), 0);
	assert_false(ranges__has_memory(r));
}

static void test_fork(void **state)
{
	struct ranges *r = *state, *child, *grandchild;

	map(r, 0, 8, by(1, 10));
	map(r, 10, 4, by(2, 20));
	map(r, 20, 4, by(3, 30));
	map(r, 30, 4, by_kind(4, 30, RANGE_RESERVED));
	unmap(r, 0, 2, 40);
	unmap(r, 20, 4, 40);
	unmap(r, 50, 1, 40);
	child = ranges__fork(r);
	assert_non_null(child);
	assert_true(ranges__has_memory(child));
	assert_int_equal(ranges__unknown_bytes(child), 0);
	CHECK(child, 1, .inherited = 6, .inherited_count = 1, .live = 6, .live_count = 1,
	      .oldest_ns = 10, .newest_ns = 10);
	CHECK(child, 3, 0);

	unmap(child, 0, 4, 50); /* frees in the child are the child's */
	unmap(child, 10, 4, 50);
	map(child, 60, 1, by(2, 60));
	commit(child, 30, 1, by(4, 60));
	CHECK(child, 1, .inherited = 6, .inherited_count = 1, .live = 4, .live_count = 1);
	CHECK(child, 2, .inherited = 4, .inherited_count = 1, .alloc = 1, .alloc_count = 1,
	      .live = 1, .live_count = 1, .oldest_ns = 60, .newest_ns = 60);
	CHECK(child, 4, .alloc = 1, .alloc_count = 1, .live = 1, .live_count = 1);
	CHECK(r, 1, .alloc = 8, .alloc_count = 1, .live = 6, .live_count = 1);
	CHECK(r, 2, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);

	remap(child, 4, 4, 4, 6, by(9, 70)); /* grows what it inherited */
	CHECK(child, 1, .inherited = 6, .inherited_count = 1, .alloc = 2, .live = 6,
	      .live_count = 1);
	grandchild = ranges__fork(child);
	assert_non_null(grandchild);
	ranges__mark_allocator(child, AT(4));
	CHECK(child, 1, 0);
	ranges__free(child);
	CHECK(grandchild, 1, .inherited = 6, .inherited_count = 1, .live = 6, .live_count = 1);
	CHECK(grandchild, 2, .inherited = 1, .inherited_count = 1, .live = 1, .live_count = 1);
	ranges__free(grandchild);
}

static void test_hostile_input(void **state)
{
	const uint64_t huge = 1ULL << 61,
		       odd[] = {0, 1, page, huge, 1ULL << 63, UINT64_MAX - page, UINT64_MAX};
	const size_t cnt = sizeof(odd) / sizeof(odd[0]);
	struct range_origin origin = by(1, 10);
	struct ranges *r = *state;
	struct range_costs costs;

	for (size_t i = 0; i < cnt * cnt * cnt * cnt; i++) {
		uint64_t a = odd[i % cnt], b = odd[i / cnt % cnt];
		uint64_t c = odd[i / cnt / cnt % cnt], d = odd[i / cnt / cnt / cnt];

		origin.time_ns = c;
		origin.begin_ns = d;
		assert_int_equal(ranges__map(r, a, b, &origin), 0);
		assert_int_equal(ranges__protect(r, b, a, true, &origin), 0);
		assert_int_equal(ranges__remap(r, a, b, c, d, i & 1, &origin), 0);
		assert_int_equal(ranges__brk(r, a, b, &origin), 0);
		assert_int_equal(ranges__unmap(r, c, d, a), 0);
		ranges__mark_allocator(r, b);
	}
	ranges__free(r);
	*state = r = ranges__new();
	assert_non_null(r);
	assert_int_equal(ranges__map(r, AT(0), 0, &origin), 0);
	assert_int_equal(ranges__map(r, UINT64_MAX - page, 4 * page, &origin), 0);
	assert_int_equal(row_cnt(r), 0);
	/* Sums of a program that maps all it can for ever. */
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(ranges__map(r, page, huge, &origin), 0);
	assert_int_equal(ranges__costs(r, &costs), 0);
	assert_int_equal(costs.rows.cnt, 1);
	assert_int_equal(costs.rows.items[0].cost.live_bytes, huge);
	assert_int_equal(costs.rows.items[0].cost.free_count, 99);
	range_costs__free(&costs);
}

static void shuffle(uint32_t *order, size_t cnt)
{
	uint64_t random = 1;

	for (size_t i = 0; i < cnt; i++)
		order[i] = i;
	for (size_t i = cnt - 1; i > 0; i--) {
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		size_t j = (random >> 33) % (i + 1);
		uint32_t swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

/* As many as vm.max_map_count allows, in any order; the times are for the reader. */
static void test_many(void **state)
{
	const size_t cnt = 65000;
	uint32_t *order = malloc(cnt * sizeof(*order));
	struct ranges *r = *state, *child;
	double start, mapped, forked, unmapped;

	assert_non_null(order);
	shuffle(order, cnt);
	start = now_ms();
	for (size_t i = 0; i < cnt; i++)
		map(r, order[i] * 2, 1, by(order[i] % 1000, i + 1));
	mapped = now_ms();
	child = ranges__fork(r);
	forked = now_ms();
	assert_non_null(child);
	shuffle(order, cnt);
	for (size_t i = 0; i < cnt; i++)
		unmap(r, order[cnt - 1 - i] * 2, 1, cnt + i);
	unmapped = now_ms();
	printf("%zu mappings in random order: map %.1f ms, fork %.1f ms, unmap %.1f ms\n", cnt,
	       mapped - start, forked - mapped, unmapped - forked);
	assert_false(ranges__has_memory(r));
	assert_int_equal(ranges__unknown_bytes(r), 0);
	CHECK(r, 999, .alloc = 65, .alloc_count = 65);
	CHECK(child, 999, .inherited = 65, .inherited_count = 65, .live = 65, .live_count = 65);
	unmap(child, 0, cnt * 2, cnt * 3);
	assert_false(ranges__has_memory(child));
	ranges__free(child);
	free(order);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_map_and_unmap),
		TEST(test_unmap_parts_of_one),
		TEST(test_unmap_across_many),
		TEST(test_overlay),
		TEST(test_uncounted_kinds),
		TEST(test_late_unmap),
		TEST(test_brk),
		TEST(test_protect),
		TEST(test_mark_allocator),
		TEST(test_fork),
		TEST(test_hostile_input),
		TEST(test_many),
	};

	ranges__free(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
