/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "model/imprint.h"
#include "util/clock.h"

#define BLOCKS 16

static const uint8_t key[SIPHASH_BYTES] = {1, 2, 3};

/* What a test's blocks contain at a time. */
typedef void fill_fn(uint32_t block, uint64_t now_s, uint64_t words[static 12]);

/* Looks at blocks of 96 bytes, born one second apart, whenever they are due until `until_s`. */
static struct imprint_sums watch(fill_fn *fill, uint64_t until_s, uint64_t elder_s)
{
	struct imprints set = {0};
	uint64_t words[12];

	for (uint64_t now_s = 0; now_s <= until_s; now_s++) {
		if (now_s < BLOCKS)
			imprints__offer(&set, now_s << 12, 96, now_s * NS_PER_SEC);
		for (size_t i = 0; i < set.cnt; i++) {
			struct imprint *imprint = &set.items[i];

			if (!imprint__is_due(imprint, now_s * NS_PER_SEC + 1))
				continue;
			fill(imprint->addr >> 12, now_s, words);
			imprint__look(imprint, key, words, sizeof(words), now_s * NS_PER_SEC + 1);
		}
	}
	return imprints__sum(&set, 0, until_s * NS_PER_SEC, elder_s * NS_PER_SEC,
			     until_s * NS_PER_SEC + 1);
}

static void fill_with(uint64_t number, uint64_t words[static 12])
{
	for (uint64_t i = 0; i < 12; i++)
		words[i] = (number * 12 + i) * 0x9e3779b97f4a7c15ULL;
}

static void fill_kept(uint32_t block, uint64_t now_s, uint64_t words[static 12])
{
	fill_with(block, words);
	words[0] = words[1] = now_s; /* the allocator's: a free block's list */
}

static void test_kept(void **state)
{
	struct imprint_sums sums = watch(fill_kept, 60, 15);

	(void)state;
	assert_false(sums.is_alike);
	assert_int_equal(sums.read, BLOCKS);
	assert_int_equal(sums.kept, BLOCKS);
	assert_int_equal(sums.elders, BLOCKS);
	assert_int_equal(sums.late, 0);
	assert_int_equal(sums.life_ns, 0);
	assert_false(sums.has_oldest_ended);
}

/* All of it is new 20 s after the birth, but for what all blocks have in common. */
static void fill_renewed(uint32_t block, uint64_t now_s, uint64_t words[static 12])
{
	fill_with(block + (now_s >= block + 20 ? 100 : 0), words);
	words[5] = words[6] = 7;
}

static void test_renewed(void **state)
{
	struct imprint_sums sums = watch(fill_renewed, 60, 15);

	(void)state;
	assert_int_equal(sums.read, BLOCKS);
	assert_int_equal(sums.kept, 0);
	assert_int_equal(sums.late, BLOCKS);
	assert_in_range(sums.life_ns, 20 * NS_PER_SEC, 23 * NS_PER_SEC);
	sums = watch(fill_renewed, 60, 30);
	assert_int_equal(sums.elders, 0);
	assert_int_equal(sums.late, 0);
	/* Some were born less than 20 s ago. */
	sums = watch(fill_renewed, 24, 6);
	assert_in_range(sums.kept, 10, 12);
	assert_true(sums.has_oldest_ended);
	assert_int_equal(sums.read, BLOCKS);
}

static void fill_alike(uint32_t block, uint64_t now_s, uint64_t words[static 12])
{
	(void)block;
	(void)now_s;
	fill_with(1, words);
}

static void test_alike(void **state)
{
	struct imprint_sums sums = watch(fill_alike, 60, 15);

	(void)state;
	assert_true(sums.is_alike);
	assert_int_equal(sums.read, 0);
}

/* Three of the words are written all the time. */
static void fill_restless(uint32_t block, uint64_t now_s, uint64_t words[static 12])
{
	fill_with(block, words);
	words[3] = words[4] = words[8] = now_s * 12 + block;
}

static void test_restless(void **state)
{
	struct imprint_sums sums = watch(fill_restless, 60, 15);

	(void)state;
	assert_false(sums.is_alike);
	assert_int_equal(sums.kept, BLOCKS);
	assert_int_equal(sums.read, BLOCKS);
}

/* A block is written only after the first look. */
static void fill_slowly(uint32_t block, uint64_t now_s, uint64_t words[static 12])
{
	fill_with(block + (now_s < block + 1 ? 1000 : 0), words);
}

static void test_filled_in_slowly(void **state)
{
	struct imprint_sums sums = watch(fill_slowly, 60, 15);

	(void)state;
	assert_int_equal(sums.read, BLOCKS);
	assert_int_equal(sums.kept, BLOCKS);
}

static void test_seldom_looked_at(void **state)
{
	struct imprint imprint = {.addr = 1, .bytes = 96, .born_ns = NS_PER_SEC};
	struct imprints set = {.cnt = BLOCKS};
	struct imprint_sums sums;
	uint64_t words[12];

	(void)state;
	for (size_t i = 0; i < BLOCKS; i++) {
		fill_with(i, words);
		set.items[i] = imprint;
		imprint__look(&set.items[i], key, words, sizeof(words), 2 * NS_PER_SEC);
	}
	/* Nothing is known of them after the first look, until there is one of late. */
	sums = imprints__sum(&set, 0, UINT64_MAX, 15 * NS_PER_SEC, 61 * NS_PER_SEC);
	assert_int_equal(sums.read, 0);
	fill_with(0, words);
	imprint__look(&set.items[0], key, words, sizeof(words), 60 * NS_PER_SEC);
	imprints__end(&set, 1, NS_PER_SEC, 61 * NS_PER_SEC);
	sums = imprints__sum(&set, 0, UINT64_MAX, 15 * NS_PER_SEC, 61 * NS_PER_SEC);
	assert_int_equal(sums.read, BLOCKS);
	assert_int_equal(sums.late, BLOCKS);
}

static void test_small_blocks(void **state)
{
	struct imprint small = {.addr = 1, .bytes = 23, .born_ns = 1}, large = small;
	uint64_t words[12] = {0};

	(void)state;
	large.bytes = 1 << 20;
	imprint__look(&small, key, words, 23, 2);
	assert_int_equal(small.word_cnt, 0);
	imprint__look(&large, key, words, 40, 2);
	assert_int_equal(large.word_cnt, 1);
	/* What could not be read tells nothing of the words that are known. */
	imprint__look(&large, key, NULL, 0, 3);
	assert_int_equal(large.changed_ms[0], 0);
	assert_int_equal(large.last_ns, 2);
	assert_false(imprint__is_due(&small, 2));
}

/* The sample stays evenly spread, whoever ends. */
static void test_spread(void **state)
{
	struct imprints set = {0}, other = {0};
	uint64_t gap;

	(void)state;
	for (uint64_t i = 1; i <= 10000; i++) {
		imprints__offer(&set, i, 96, i * 1000);
		imprints__offer(&other, i, 96, i * 1000);
		imprints__end(&other, i / 2, i / 2 * 1000, i * 1000);
	}
	assert_int_equal(set.cnt, MAX_IMPRINTS);
	assert_int_equal(set.items[0].addr, 1);
	assert_int_equal(set.items[MAX_IMPRINTS - 1].addr, 10000);
	for (size_t i = 0; i < set.cnt; i++) {
		assert_int_equal(set.items[i].addr, other.items[i].addr);
		gap = i ? set.items[i].addr - set.items[i - 1].addr : 1;
		assert_in_range(gap, 1, 3 * 10000 / MAX_IMPRINTS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_renewed),
		cmocka_unit_test(test_alike),
		cmocka_unit_test(test_restless),
		cmocka_unit_test(test_filled_in_slowly),
		cmocka_unit_test(test_seldom_looked_at),
		cmocka_unit_test(test_small_blocks),
		cmocka_unit_test(test_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
