/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls and checks in pages, for the tests of collect/ranges.h. */
#ifndef LEAKSWEEP_TESTS_COLLECT_RANGES_FIXTURE_H
#define LEAKSWEEP_TESTS_COLLECT_RANGES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "collect/ranges.h"

static uint64_t page;

/* Addresses and lengths of the tests are in pages from here. */
#define AT(n) (0x7f0000000000ULL + (n)*page)
#define LEN(n) ((n)*page)

static inline struct range_origin by_kind(uint64_t stack_id, uint64_t time_ns, enum range_kind kind)
{
	return (struct range_origin){
		.stack_id = stack_id,
		.begin_ns = time_ns - 1,
		.time_ns = time_ns,
		.kind = kind,
	};
}

static inline struct range_origin by(uint64_t stack_id, uint64_t time_ns)
{
	return by_kind(stack_id, time_ns, RANGE_MEMORY);
}

static inline void map(struct ranges *ranges, uint64_t at, uint64_t len, struct range_origin origin)
{
	assert_int_equal(ranges__map(ranges, AT(at), LEN(len), &origin), 0);
}

static inline void unmap(struct ranges *ranges, uint64_t at, uint64_t len, uint64_t begin_ns)
{
	assert_int_equal(ranges__unmap(ranges, AT(at), LEN(len), begin_ns), 0);
}

static inline void remap(struct ranges *ranges, uint64_t old_at, uint64_t old_len, uint64_t at,
			 uint64_t len, struct range_origin origin)
{
	assert_int_equal(
		ranges__remap(ranges, AT(old_at), LEN(old_len), AT(at), LEN(len), false, &origin),
		0);
}

static inline void commit(struct ranges *ranges, uint64_t at, uint64_t len,
			  struct range_origin origin)
{
	assert_int_equal(ranges__protect(ranges, AT(at), LEN(len), true, &origin), 0);
}

/* All sums of a stack; bytes in pages. A stack that never was is all zeroes. */
struct want {
	int64_t alloc, alloc_count, live, live_count, inherited, inherited_count;
	uint64_t oldest_ns, newest_ns;
};

static inline void check(const struct ranges *ranges, uint64_t stack_id, struct want want)
{
	struct range_costs costs = {0};
	struct range_cost row = {0};

	assert_int_equal(ranges__costs(ranges, &costs), 0);
	for (size_t i = 0; i < costs.rows.cnt; i++)
		if (costs.rows.items[i].stack_id == stack_id)
			row = costs.rows.items[i];
	range_costs__free(&costs);
	assert_int_equal(row.cost.alloc_bytes, LEN(want.alloc));
	assert_int_equal(row.cost.alloc_count, want.alloc_count);
	assert_int_equal(row.cost.live_bytes, LEN(want.live));
	assert_int_equal(row.cost.live_count, want.live_count);
	assert_int_equal(row.cost.inherited_bytes, LEN(want.inherited));
	assert_int_equal(row.cost.inherited_count, want.inherited_count);
	assert_int_equal(row.cost.free_bytes, LEN(want.alloc + want.inherited - want.live));
	assert_int_equal(row.cost.free_count,
			 want.alloc_count + want.inherited_count - want.live_count);
	if (want.oldest_ns) {
		assert_int_equal(row.oldest_ns, want.oldest_ns);
		assert_int_equal(row.newest_ns, want.newest_ns);
	} else if (!want.live_count) {
		assert_int_equal(row.oldest_ns, 0);
		assert_int_equal(row.newest_ns, 0);
	}
}

#define CHECK(ranges, stack_id, ...) check(ranges, stack_id, (struct want){__VA_ARGS__})

static inline size_t row_cnt(const struct ranges *ranges)
{
	struct range_costs costs = {0};
	size_t cnt;

	assert_int_equal(ranges__costs(ranges, &costs), 0);
	cnt = costs.rows.cnt;
	range_costs__free(&costs);
	return cnt;
}

static inline int new_ranges(void **state)
{
	page = sysconf(_SC_PAGESIZE);
	*state = ranges__new();
	return *state ? 0 : -1;
}

static inline int free_ranges(void **state)
{
	ranges__free(*state);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, new_ranges, free_ranges)

#endif
