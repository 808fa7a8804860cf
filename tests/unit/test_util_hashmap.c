/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_insert_find_remove),
	};

	return cmocka_run_group_tests_name("util hashmap", tests, NULL, NULL);
}
