/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What mremap does to the ranges of a space. */
#include "unit/collect_ranges_fixture.h"

/* The old range of an mremap may have a new owner when it is reported, too. */
static void test_late_remap(void **state)
{
	struct ranges *r = *state;
	struct range_origin late = {.stack_id = 9, .begin_ns = 100, .time_ns = 120, RANGE_MEMORY};

	map(r, 0, 4, by(1, 10));
	map(r, 0, 4, by(2, 110));
	remap(r, 0, 4, 40, 8, late);
	CHECK(r, 1, .alloc = 4, .alloc_count = 1);
	CHECK(r, 2, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	CHECK(r, 9, .alloc = 8, .alloc_count = 1, .live = 8, .live_count = 1, .oldest_ns = 120,
	      .newest_ns = 120);

	/* So may the tail that is cut off. */
	map(r, 60, 8, by(3, 10));
	map(r, 66, 2, by(4, 110));
	remap(r, 60, 8, 60, 4, late);
	CHECK(r, 3, .alloc = 8, .alloc_count = 1, .live = 4, .live_count = 1);
	CHECK(r, 4, .alloc = 2, .alloc_count = 1, .live = 2, .live_count = 1);
	assert_int_equal(ranges__unknown_bytes(r), 0);
}

static void test_remap_in_place(void **state)
{
	struct ranges *r = *state;

	map(r, 0, 8, by(1, 10));
	remap(r, 0, 8, 0, 5, by(9, 20));
	CHECK(r, 1, .alloc = 8, .alloc_count = 1, .live = 5, .live_count = 1);
	for (uint64_t i = 0; i < 5; i++)
		remap(r, 0, 5 + i, 0, 6 + i, by(9, 30 + i));
	CHECK(r, 1, .alloc = 13, .alloc_count = 1, .live = 10, .live_count = 1, .oldest_ns = 10,
	      .newest_ns = 10);
	CHECK(r, 9, 0);
	/* Growth belongs to the last byte, over whatever was thought to be there. */
	map(r, 10, 2, by(2, 40));
	map(r, 12, 2, by(3, 40));
	remap(r, 0, 12, 0, 13, by(9, 50));
	CHECK(r, 2, .alloc = 3, .alloc_count = 1, .live = 3, .live_count = 1);
	CHECK(r, 3, .alloc = 2, .alloc_count = 1, .live = 1, .live_count = 1);
	unmap(r, 0, 13, 60);
	CHECK(r, 1, .alloc = 13, .alloc_count = 1);
	CHECK(r, 2, .alloc = 3, .alloc_count = 1);
	/* A kind that is not counted stays so. */
	map(r, 50, 2, by_kind(4, 70, RANGE_ALLOCATOR));
	map(r, 60, 2, by_kind(4, 70, RANGE_FILE));
	remap(r, 50, 2, 50, 4, by(9, 80));
	remap(r, 60, 2, 60, 4, by(9, 80));
	CHECK(r, 4, 0);
	CHECK(r, 9, 0);
	assert_int_equal(ranges__unknown_bytes(r), 0);
}

static void test_remap_moves(void **state)
{
	struct ranges *r = *state;

	map(r, 0, 8, by(1, 10));
	map(r, 40, 8, by(2, 20));
	remap(r, 0, 8, 44, 8, by(9, 30)); /* onto half of another */
	CHECK(r, 1, .alloc = 8, .alloc_count = 1, .live = 8, .live_count = 1, .oldest_ns = 10,
	      .newest_ns = 10);
	CHECK(r, 2, .alloc = 8, .alloc_count = 1, .live = 4, .live_count = 1);
	unmap(r, 0, 8, 40); /* has gone from there */
	assert_int_equal(ranges__unknown_bytes(r), LEN(8));
	remap(r, 44, 8, 0, 12, by(9, 50)); /* and grows */
	CHECK(r, 1, .alloc = 12, .alloc_count = 1, .live = 12, .live_count = 1);
	remap(r, 0, 12, 60, 3, by(9, 60)); /* and shrinks */
	CHECK(r, 1, .alloc = 12, .alloc_count = 1, .live = 3, .live_count = 1);
	CHECK(r, 9, 0);

	/* The middle of a mapping moves: both places are one mapping, which ends with both. */
	map(r, 100, 9, by(3, 70));
	remap(r, 103, 3, 200, 5, by(9, 80));
	CHECK(r, 3, .alloc = 11, .alloc_count = 1, .live = 11, .live_count = 1);
	unmap(r, 100, 9, 90);
	assert_int_equal(ranges__unknown_bytes(r), LEN(11));
	CHECK(r, 3, .alloc = 11, .alloc_count = 1, .live = 5, .live_count = 1);
	unmap(r, 200, 5, 90);
	CHECK(r, 3, .alloc = 11, .alloc_count = 1);
}

static void test_remap_overlap(void **state)
{
	struct ranges *r = *state;

	map(r, 0, 8, by(1, 10));
	remap(r, 0, 8, 4, 8, by(9, 20));
	CHECK(r, 1, .alloc = 8, .alloc_count = 1, .live = 8, .live_count = 1);
	unmap(r, 0, 4, 30);
	assert_int_equal(ranges__unknown_bytes(r), LEN(4));
	remap(r, 4, 8, 2, 8, by(9, 40));
	CHECK(r, 1, .alloc = 8, .alloc_count = 1, .live = 8, .live_count = 1);
	remap(r, 2, 8, 6, 2, by(9, 50)); /* into what is cut off */
	CHECK(r, 1, .alloc = 8, .alloc_count = 1, .live = 2, .live_count = 1);
	unmap(r, 6, 2, 60);
	CHECK(r, 1, .alloc = 8, .alloc_count = 1);
	assert_int_equal(ranges__unknown_bytes(r), LEN(4));
}

static void test_remap_of_unknown(void **state)
{
	struct ranges *r = *state;

	remap(r, 0, 4, 40, 6, by(1, 10));
	CHECK(r, 1, .alloc = 6, .alloc_count = 1, .live = 6, .live_count = 1, .oldest_ns = 10,
	      .newest_ns = 10);
	remap(r, 100, 4, 100, 3, by(2, 20));
	CHECK(r, 2, .alloc = 3, .alloc_count = 1, .live = 3, .live_count = 1);
	assert_int_equal(ranges__unknown_bytes(r), LEN(1));
	remap(r, 200, 4, 300, 4, by_kind(3, 30, RANGE_ALLOCATOR));
	CHECK(r, 3, 0);
	/* Known in part and grown: one mapping, so all of it was memory. */
	map(r, 402, 2, by(4, 40));
	remap(r, 400, 4, 500, 8, by(5, 50));
	CHECK(r, 4, .alloc = 6, .alloc_count = 1, .live = 6, .live_count = 1);
	CHECK(r, 5, .alloc = 2, .alloc_count = 1, .live = 2, .live_count = 1);
	/* Known in part and moved as it is: what is between may be holes. */
	map(r, 600, 2, by(6, 60));
	map(r, 604, 2, by(6, 60));
	remap(r, 600, 6, 700, 6, by(7, 70));
	CHECK(r, 6, .alloc = 4, .alloc_count = 2, .live = 4, .live_count = 2);
	CHECK(r, 7, 0);
	unmap(r, 702, 2, 80);
	assert_int_equal(ranges__unknown_bytes(r), LEN(1 + 2));
}

static void test_remap_keeping_old(void **state)
{
	struct ranges *r = *state;
	struct range_origin origin = by(9, 20);

	map(r, 0, 4, by(1, 10));
	assert_int_equal(ranges__remap(r, AT(0), LEN(4), AT(40), LEN(4), true, &origin), 0);
	CHECK(r, 1, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	CHECK(r, 9, 0);
	commit(r, 0, 2, by(2, 30)); /* the old place is a reservation */
	CHECK(r, 2, .alloc = 2, .alloc_count = 1, .live = 2, .live_count = 1);
	unmap(r, 0, 4, 40);
	CHECK(r, 2, .alloc = 2, .alloc_count = 1);
	CHECK(r, 1, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	assert_int_equal(ranges__unknown_bytes(r), 0);
	/* Nonsense that the kernel refuses: still every byte once. */
	origin = by(9, 50);
	assert_int_equal(ranges__remap(r, AT(40), LEN(4), AT(42), LEN(4), true, &origin), 0);
	origin = by(9, 60);
	assert_int_equal(ranges__remap(r, AT(42), LEN(4), AT(42), LEN(4), true, &origin), 0);
	CHECK(r, 1, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
}

static void test_remap_duplicates(void **state)
{
	struct ranges *r = *state;

	map(r, 0, 4, by(1, 10));
	remap(r, 0, 0, 40, 4, by(2, 20));
	CHECK(r, 1, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	CHECK(r, 2, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
	map(r, 100, 4, by_kind(3, 30, RANGE_FILE));
	remap(r, 100, 0, 140, 4, by(3, 40)); /* of a file */
	CHECK(r, 3, 0);
	remap(r, 200, 0, 240, 4, by(4, 50)); /* of something older than the trace */
	CHECK(r, 4, .alloc = 4, .alloc_count = 1, .live = 4, .live_count = 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_late_remap),	     TEST(test_remap_in_place),
		TEST(test_remap_moves),	     TEST(test_remap_overlap),
		TEST(test_remap_of_unknown), TEST(test_remap_keeping_old),
		TEST(test_remap_duplicates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
