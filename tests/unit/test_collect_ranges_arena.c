/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mappings that Python's object allocator made for its pools. */
#include "collect_ranges_fixture.h"

static void test_leaves_the_sums(void **state)
{
	struct ranges *ranges = *state;

	map(ranges, 0, 64, by(1, 10));
	map(ranges, 64, 64, by(1, 20));
	map(ranges, 128, 8, by(2, 30));
	ranges__mark_arena(ranges, AT(70) + 100);
	assert_int_equal(ranges__arena_bytes(ranges), LEN(64));
	CHECK(ranges, 1, 64, 1, 64, 1, 0, 0, 10, 10);
	ranges__mark_arena(ranges, AT(0));
	ranges__mark_arena(ranges, AT(63));
	assert_int_equal(ranges__arena_bytes(ranges), LEN(128));
	assert_int_equal(row_cnt(ranges), 1);
	CHECK(ranges, 2, 8, 1, 8, 1);
}

static void test_unmapped_in_parts(void **state)
{
	struct ranges *ranges = *state;

	map(ranges, 0, 64, by(1, 10));
	ranges__mark_arena(ranges, AT(0));
	unmap(ranges, 10, 4, 20);
	assert_int_equal(ranges__arena_bytes(ranges), LEN(60));
	unmap(ranges, 0, 64, 30);
	assert_int_equal(ranges__arena_bytes(ranges), 0);
	map(ranges, 0, 64, by(1, 40)); /* another one in its place */
	CHECK(ranges, 1, 64, 1, 64, 1);
}

/* What is no memory of the program's stays what it is. */
static void test_other_kinds(void **state)
{
	struct ranges *ranges = *state;

	map(ranges, 0, 8, by_kind(1, 10, RANGE_ALLOCATOR));
	map(ranges, 8, 8, by_kind(1, 10, RANGE_RESERVED));
	map(ranges, 16, 8, by_kind(1, 10, RANGE_FILE));
	map(ranges, 24, 8, by(1, 10));
	ranges__mark_allocator(ranges, AT(24));
	for (uint64_t at = 0; at < 40; at++)
		ranges__mark_arena(ranges, AT(at));
	assert_int_equal(ranges__arena_bytes(ranges), 0);
	assert_int_equal(ranges__reserved_bytes(ranges), LEN(8));
}

static void test_inherited(void **state)
{
	struct ranges *ranges = *state, *child;

	map(ranges, 0, 64, by(1, 10));
	map(ranges, 64, 8, by(2, 20));
	ranges__mark_arena(ranges, AT(0));
	child = ranges__fork(ranges);
	assert_non_null(child);
	unmap(ranges, 0, 32, 30);
	assert_int_equal(ranges__arena_bytes(child), LEN(64));
	assert_int_equal(ranges__arena_bytes(ranges), LEN(32));
	CHECK(child, 2, 0, 0, 8, 1, 8, 1);
	ranges__free(child);
}

static void test_known_bytes(void **state)
{
	struct ranges *ranges = *state;

	assert_int_equal(ranges__known_bytes(ranges, 0, UINT64_MAX), 0);
	map(ranges, 10, 10, by(1, 10));
	map(ranges, 30, 10, by_kind(1, 10, RANGE_ALLOCATOR));
	map(ranges, 40, 5, by_kind(1, 10, RANGE_FILE));
	assert_int_equal(ranges__known_bytes(ranges, AT(0), AT(100)), LEN(25));
	assert_int_equal(ranges__known_bytes(ranges, AT(15), AT(32)), LEN(7));
	assert_int_equal(ranges__known_bytes(ranges, AT(12), AT(13)), LEN(1));
	assert_int_equal(ranges__known_bytes(ranges, AT(20), AT(30)), 0);
	assert_int_equal(ranges__known_bytes(ranges, AT(15), AT(15)), 0);
	assert_int_equal(ranges__known_bytes(ranges, AT(15), AT(12)), 0);
	assert_int_equal(ranges__known_bytes(ranges, 0, UINT64_MAX), LEN(25));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_leaves_the_sums), TEST(test_unmapped_in_parts), TEST(test_other_kinds),
		TEST(test_inherited),	    TEST(test_known_bytes),
	};

	return cmocka_run_group_tests_name("collect/ranges_arena", tests, NULL, NULL);
}
