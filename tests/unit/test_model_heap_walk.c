/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Heaps that are made up: of all glibcs that are known, and such as no glibc would make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "model/heap_walk.h"

#define BASE 0x555555559000ULL
#define PAGE 4096ULL
#define HEAP_BYTES (64 * PAGE)
#define PREV_INUSE 1
#define IS_MMAPPED 2
#define NON_MAIN 4

struct heap {
	uint8_t bytes[HEAP_BYTES + HEAP_LOOKAHEAD_BYTES];
	uint8_t present[HEAP_BYTES / PAGE];
	uint64_t first, end; /* of what is laid out, offsets */
	bool last_is_free;
	uint64_t last_size;
};

static struct heap heap;

static void put(uint64_t off, uint64_t value)
{
	assert_true(off + sizeof(value) <= sizeof(heap.bytes));
	memcpy(heap.bytes + off, &value, sizeof(value));
}

static void begin_heap(void)
{
	heap = (struct heap){0};
	memset(heap.present, 1, sizeof(heap.present));
}

/* Adds a chunk. Returns its offset. */
static uint64_t add(uint64_t size, bool is_free)
{
	uint64_t at = heap.end;

	put(at, heap.last_is_free ? heap.last_size : 0x1122334455667788);
	put(at + 8, size | (heap.last_is_free ? 0 : PREV_INUSE));
	heap.end += size;
	heap.last_is_free = is_free;
	heap.last_size = size;
	return at;
}

static void add_top(void)
{
	add(HEAP_BYTES - heap.end, false);
}

/* Goes over it in windows. Returns how it ended. */
static enum heap_walk_state walk_in(uint64_t window_bytes, bool is_main, uint64_t key,
				    const uint64_t *heads, struct heap_sums *ret)
{
	const struct heap_span span = {BASE, BASE + HEAP_BYTES};
	const struct heap_place place = {span.start, span.end, BASE + heap.first, is_main};
	static uint8_t bytes[HEAP_BYTES + HEAP_LOOKAHEAD_BYTES];
	enum heap_walk_state state;
	struct heap_walk walk;

	*ret = (struct heap_sums){0};
	heap_walk__begin(&walk, &place, &span, 1);
	walk.cache_key = key;
	for (uint64_t at = 0; at < HEAP_BYTES; at += window_bytes) {
		struct heap_window window = {BASE + at, BASE + at + window_bytes, bytes,
					     heap.present + at / PAGE, PAGE};

		memset(bytes, 0xa5, sizeof(bytes)); /* what is not needed is not looked at */
		if (heap_walk__needs(&walk, &window))
			memcpy(bytes, heap.bytes + at, window_bytes + HEAP_LOOKAHEAD_BYTES);
		heap_walk__take(&walk, &window);
	}
	state = walk.state;
	heap_walk__finish(&walk, heads, ret);
	heap_sums__settle(ret);
	return state;
}

static uint64_t sum_of(const uint64_t parts[HEAP_PART_CNT])
{
	uint64_t sum = 0;

	for (int i = 0; i < HEAP_PART_CNT; i++)
		sum += parts[i];
	return sum;
}

/* In windows of all sizes the same is found, and nothing twice. */
static enum heap_walk_state walk(bool is_main, uint64_t key, const uint64_t *heads,
				 struct heap_sums *ret)
{
	enum heap_walk_state state = walk_in(HEAP_BYTES, is_main, key, heads, ret);
	uint64_t resident = 0;

	for (size_t i = 0; i < HEAP_BYTES / PAGE; i++)
		resident += heap.present[i] ? PAGE : 0;
	assert_int_equal(sum_of(ret->size), HEAP_BYTES);
	assert_int_equal(sum_of(ret->resident), resident);
	return state;
}

static void assert_same_in_windows(bool is_main)
{
	struct heap_sums whole, parts;

	walk(is_main, 0, NULL, &whole);
	for (uint64_t bytes = PAGE; bytes < HEAP_BYTES; bytes *= 2) {
		walk_in(bytes, is_main, 0, NULL, &parts);
		assert_memory_equal(&whole, &parts, sizeof(whole));
	}
}

static void test_parts(void **state)
{
	struct heap_sums sums;

	(void)state;
	begin_heap();
	add(0x290, false);
	add(1000 * 16, false);
	add(3 * PAGE, true);
	add(32, false);
	add(64, true);
	add(48, false);
	add_top();
	heap.present[HEAP_BYTES / PAGE - 1] = 0;
	assert_int_equal(walk(true, 0, NULL, &sums), HEAP_WALK_DONE);
	assert_int_equal(sums.size[HEAP_USED], 0x290 + 16000 + 32 + 48);
	/* Of the free chunk, from 0x4110 to 0x7110, the first page begins behind its record. */
	assert_int_equal(sums.size[HEAP_PAGES], 2 * PAGE);
	assert_int_equal(sums.size[HEAP_HOLES], PAGE + 64);
	assert_int_equal(sums.size[HEAP_TOP], HEAP_BYTES - 0x290 - 16000 - 32 - 64 - 48 - 3 * PAGE);
	assert_int_equal(sums.resident[HEAP_TOP], sums.size[HEAP_TOP] - PAGE);
	assert_int_equal(sums.resident[HEAP_PAGES], 2 * PAGE);
	assert_int_equal(sums.largest_free, 3 * PAGE);
	assert_int_equal(sums.free_cnt, 2);
	assert_same_in_windows(true);
}

/* A free chunk whose pages were given back is in memory no more. */
static void test_trimmed(void **state)
{
	struct heap_sums sums;

	(void)state;
	begin_heap();
	add(PAGE - 32, false);
	add(8 * PAGE, true);
	add(32, false);
	add_top();
	for (size_t i = 1; i < 8; i++)
		heap.present[i] = 0;
	assert_int_equal(walk(true, 0, NULL, &sums), HEAP_WALK_DONE);
	assert_int_equal(sums.resident[HEAP_PAGES], 0);
	assert_int_equal(sums.size[HEAP_PAGES], 6 * PAGE);
	assert_int_equal(sums.resident[HEAP_HOLES], 32 + PAGE - 32);
	assert_same_in_windows(true);
}

/* Up to glibc 2.31 links are plain, from 2.32 on they are not. */
static void check_fast_bins(bool is_plain)
{
	uint64_t heads[HEAP_FAST_BINS] = {0}, at[3], last;
	struct heap_sums sums;

	begin_heap();
	for (int i = 0; i < 3; i++) {
		at[i] = add(48, false);
		add(64, false);
	}
	last = add(48, false);
	add_top();
	for (int i = 0; i < 3; i++) {
		uint64_t place = BASE + at[i] + 16, next = BASE + (i < 2 ? at[i + 1] : last);

		put(at[i] + 16, is_plain ? next : next ^ place >> 12);
	}
	put(last + 16, is_plain ? 0 : (BASE + last + 16) >> 12);
	walk(true, 0, NULL, &sums);
	/* A last one without a link cannot be told from a block whose first word is 0. */
	assert_int_equal(sums.size[HEAP_CACHED], is_plain ? 3 * 48 : 4 * 48);
	walk(true, 0, heads, &sums);
	assert_int_equal(sums.size[HEAP_CACHED], 0);
	heads[1] = BASE + at[0];
	walk(true, 0, heads, &sums);
	assert_int_equal(sums.size[HEAP_CACHED], is_plain ? 3 * 48 : 4 * 48);
	/* A block that holds a pointer to another block is none of these. */
	put(at[0] + 16, BASE + at[1] + 16);
	walk(true, 0, NULL, &sums);
	assert_int_equal(sums.size[HEAP_CACHED], is_plain ? 2 * 48 : 3 * 48);
	assert_same_in_windows(true);
}

static void test_fast_bins(void **state)
{
	(void)state;
	check_fast_bins(true);
	check_fast_bins(false);
}

/* The head of a thread's cache in three forms, with 5 blocks of 64 bytes and 7 of 1040. */
static void test_caches(void **state)
{
	static const struct {
		uint64_t size, number_bytes, bin_cnt, room;
	} forms[] = {{0x250, 1, 64, 0}, {0x290, 2, 64, 0}, {0x300, 2, 76, 7}};
	const uint64_t bins[] = {2, 63}, numbers[] = {5, 7};
	struct heap_sums sums;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint64_t head, block;

		begin_heap();
		head = add(forms[i].size, false) + 16;
		memset(heap.bytes + head, 0, forms[i].size - 16);
		block = add(8000, false) + 16;
		add_top();
		for (uint64_t k = 0; k < forms[i].bin_cnt; k++)
			heap.bytes[head + k * forms[i].number_bytes] = (uint8_t)forms[i].room;
		for (size_t k = 0; k < 2; k++) {
			uint64_t number = forms[i].room ? forms[i].room - numbers[k] : numbers[k];

			heap.bytes[head + bins[k] * forms[i].number_bytes] = (uint8_t)number;
			put(head + forms[i].bin_cnt * forms[i].number_bytes + bins[k] * 8,
			    BASE + block);
		}
		walk(true, 0, NULL, &sums);
		assert_int_equal(sums.size[HEAP_CACHED], 5 * 64 + 7 * 1040);
		/* Numbers without blocks are those of something else. */
		heap.bytes[head] = (uint8_t)(forms[i].room ? 1 : 3);
		walk(true, 0, NULL, &sums);
		assert_int_equal(sums.size[HEAP_CACHED], 0);
	}
}

/* A thread's heap that is full ends in a chunk of 16 bytes and one of none. */
static void test_full_heap(void **state)
{
	struct heap_sums sums;

	(void)state;
	begin_heap();
	heap.first = heap.end = 48; /* struct heap_info */
	add(HEAP_BYTES - 48 - 32 - 4000, false);
	add(4000, true);
	put(heap.end, 4000);
	put(heap.end + 8, 16);
	put(heap.end + 16, 4000);
	put(heap.end + 24, 0 | PREV_INUSE);
	assert_int_equal(walk(false, 0, NULL, &sums), HEAP_WALK_DONE);
	assert_int_equal(sums.size[HEAP_UNREAD], 0);
	assert_int_equal(sums.size[HEAP_TOP], 0);
	assert_int_equal(sums.size[HEAP_PAGES] + sums.size[HEAP_HOLES], 4000);
	assert_same_in_windows(false);
	/* The main heap never ends so. */
	assert_int_equal(walk(true, 0, NULL, &sums), HEAP_WALK_BROKEN);
}

static void test_broken(void **state)
{
	static const uint64_t sizes[] = {
		0,	    8,		16,	    17,		24 | 1,		33 + 7,	   1 << 30,
		UINT64_MAX, 1ULL << 63, 64 | 1 | 2, 0x41414141, HEAP_BYTES | 1, 64 | 1 | 4};
	struct heap_sums sums;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t at;

		begin_heap();
		add(10 * PAGE, false);
		add(32, false);
		at = add(64, false);
		add(3200, false);
		add_top();
		put(at + 8, sizes[i]);
		assert_int_equal(walk(true, 0, NULL, &sums), HEAP_WALK_BROKEN);
		assert_in_range(sums.size[HEAP_UNREAD], HEAP_BYTES - at - 16,
				HEAP_BYTES - 10 * PAGE);
		assert_in_range(sums.size[HEAP_USED], 10 * PAGE, at + 16);
		assert_same_in_windows(true);
	}
	begin_heap(); /* all zeros: nobody's */
	assert_int_equal(walk(true, 0, NULL, &sums), HEAP_WALK_BROKEN);
	assert_int_equal(sums.size[HEAP_UNREAD], HEAP_BYTES);
	/* A free chunk whose size is said otherwise behind it. */
	add(64, false);
	add(640, true);
	put(add(32, false), 1024);
	add_top();
	assert_int_equal(walk(true, 0, NULL, &sums), HEAP_WALK_BROKEN);
}

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void add_random_chunks(void)
{
	bool was_free = false;

	begin_heap();
	while (heap.end < HEAP_BYTES - 0x3000) {
		bool is_free = !was_free && next_random() % 3 == 0;

		add(32 + next_random() % 128 * (next_random() % 8 ? 1 : 5) * 16, is_free);
		was_free = is_free;
	}
	add_top();
	for (size_t i = 0; i < sizeof(heap.present); i++)
		heap.present[i] = next_random() % 4 != 0;
}

/* Whatever words are changed, the walk ends, and its sums are those of the heap. */
static void test_hostile(void **state)
{
	struct heap_sums sums;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		bool is_main = next_random() & 1;

		add_random_chunks();
		for (uint64_t i = next_random() % 6; i > 0; i--) {
			uint64_t value = next_random() >> next_random() % 64;

			put(next_random() % (HEAP_BYTES / 8) * 8,
			    next_random() & 1 ? value : value % HEAP_BYTES / 16 * 16 | 1);
		}
		walk(is_main, next_random() % 2 ? next_random() : 0, NULL, &sums);
		if (round % 16 == 0)
			assert_same_in_windows(is_main);
	}
	for (int round = 0; round < 200; round++) {
		begin_heap();
		for (uint64_t i = 0; i < HEAP_BYTES; i += 8)
			put(i, round % 2 ? next_random() : (next_random() % 64 * 16) | 1);
		walk(round & 2, 0, NULL, &sums);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),	  cmocka_unit_test(test_trimmed),
		cmocka_unit_test(test_fast_bins), cmocka_unit_test(test_caches),
		cmocka_unit_test(test_full_heap), cmocka_unit_test(test_broken),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
