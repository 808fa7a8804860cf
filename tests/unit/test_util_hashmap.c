/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "util/hashmap.h"

static void test_insert_find_remove(void **state)
{
	struct hashmap map = {0};
	bool is_new;

	(void)state;
	assert_null(hashmap__find(&map, 1, 2));
	assert_false(hashmap__remove(&map, 1, 2));
	for (uint64_t i = 0; i < 10000; i++) {
		*hashmap__insert(&map, i, i % 7, &is_new) = i * 3;
		assert_true(is_new);
	}
	*hashmap__insert(&map, 5, 5, &is_new) = 1;
	assert_false(is_new);
	assert_int_equal(map.cnt, 10000);
	for (uint64_t i = 0; i < 10000; i += 2)
		assert_true(hashmap__remove(&map, i, i % 7));
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t *value = hashmap__find(&map, i, i % 7);

		if (i % 2 == 0)
			assert_null(value);
		else
			assert_int_equal(*value, i == 5 ? 1 : i * 3);
	}
	hashmap__clear(&map);
	assert_null(hashmap__find(&map, 1, 1));
	hashmap__free(&map);
}

/* ---- against a plain array ------------------------------------------------------------------------------ */

#define MAX_KEYS 600

struct entry {
	uint64_t key, key2, value;
	bool present;
};

struct model {
	struct hashmap map;
	struct entry entries[MAX_KEYS];
	size_t key_cnt, cnt;
	uint64_t random;
};

static uint64_t next_random(struct model *model)
{
	uint64_t z = model->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static void check_all(const struct model *model)
{
	assert_int_equal(model->map.cnt, model->cnt);
	for (size_t i = 0; i < model->key_cnt; i++) {
		const struct entry *entry = &model->entries[i];
		uint64_t *value = hashmap__find(&model->map, entry->key, entry->key2);

		if (entry->present)
			assert_true(value && *value == entry->value);
		else
			assert_null(value);
	}
}

static void do_insert(struct model *model, struct entry *entry)
{
	bool is_new = !entry->present;
	uint64_t *value = hashmap__insert(&model->map, entry->key, entry->key2, &is_new);

	assert_non_null(value);
	assert_int_equal(is_new, !entry->present);
	assert_true(*value == (entry->present ? entry->value : 0));
	model->cnt += !entry->present;
	entry->present = true;
	*value = entry->value = next_random(model);
}

static void do_remove(struct model *model, struct entry *entry)
{
	assert_int_equal(hashmap__remove(&model->map, entry->key, entry->key2), entry->present);
	model->cnt -= entry->present;
	entry->present = false;
}

/* `fill` in 100: how often an operation inserts. */
static void run_model(struct model *model, unsigned int operations, unsigned int fill)
{
	for (unsigned int i = 0; i < operations; i++) {
		struct entry *entry = &model->entries[next_random(model) % model->key_cnt];

		if (next_random(model) % 100 < fill)
			do_insert(model, entry);
		else
			do_remove(model, entry);
		if (i % 64 == 0)
			check_all(model);
		if (i % 4096 == 4095) {
			hashmap__clear(&model->map);
			for (size_t k = 0; k < model->key_cnt; k++)
				model->entries[k].present = false;
			model->cnt = 0;
		}
	}
	check_all(model);
	for (size_t i = 0; i < model->key_cnt; i++) {
		do_remove(model, &model->entries[i]);
		check_all(model);
	}
	hashmap__free(&model->map);
}

static uint64_t rotate(uint64_t x)
{
	return x << 32 | x >> 32;
}

/* As many keys as a table takes before it grows: long runs that wrap around its end. */
static void test_small_full_tables(void **state)
{
	struct model *model = calloc(1, sizeof(*model));

	(void)state;
	assert_non_null(model);
	for (unsigned int round = 0; round < 200; round++) {
		model->random = round;
		model->key_cnt = 45;
		for (size_t i = 0; i < model->key_cnt; i++)
			model->entries[i] = (struct entry){.key = next_random(model), .key2 = next_random(model)};
		run_model(model, 1000, 80);
	}
	free(model);
}

/* The hash begins with key ^ rotate(key2): pairs that agree in it share one home, all of them. */
static void test_colliding_keys(void **state)
{
	struct model *model = calloc(1, sizeof(*model));

	(void)state;
	assert_non_null(model);
	for (unsigned int round = 0; round < 20; round++) {
		model->random = 1000 + round;
		model->key_cnt = 60;
		for (size_t i = 0; i < model->key_cnt; i++) {
			uint64_t home = i % 3, key2 = next_random(model);

			model->entries[i] = (struct entry){.key = home ^ rotate(key2), .key2 = key2};
		}
		run_model(model, 4000, 30 + round * 3);
	}
	free(model);
}

static void test_growing_and_shrinking(void **state)
{
	struct model *model = calloc(1, sizeof(*model));

	(void)state;
	assert_non_null(model);
	for (unsigned int fill = 10; fill <= 90; fill += 20) {
		model->random = fill;
		model->key_cnt = MAX_KEYS;
		/* addresses and small numbers, as the program's keys are */
		for (size_t i = 0; i < model->key_cnt; i++)
			model->entries[i] = (struct entry){
				.key = i % 2 ? i : 0x7f0000000000ULL + i * 4096,
				.key2 = i % 3,
			};
		run_model(model, 20000, fill);
	}
	free(model);
}

/* Removing without end must not fill the table with graves. */
static void test_constant_size(void **state)
{
	struct hashmap map = {0};

	(void)state;
	for (uint64_t i = 0; i < 200000; i++) {
		assert_non_null(hashmap__insert(&map, i, 0, NULL));
		if (i >= 20)
			assert_true(hashmap__remove(&map, i - 20, 0));
	}
	assert_int_equal(map.cnt, 20);
	assert_int_equal(map.cap, 64);
	hashmap__free(&map);
	assert_null(hashmap__find(&map, 1, 0));
	assert_false(hashmap__remove(&map, 1, 0));
	hashmap__clear(&map);
	hashmap__free(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_insert_find_remove),
		cmocka_unit_test(test_small_full_tables),
		cmocka_unit_test(test_colliding_keys),
		cmocka_unit_test(test_growing_and_shrinking),
		cmocka_unit_test(test_constant_size),
	};

	return cmocka_run_group_tests_name("util hashmap", tests, NULL, NULL);
}
