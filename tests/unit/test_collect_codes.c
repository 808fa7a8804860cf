/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code objects by number: kept once, found, and gone with their space. */
#include "collect_events_fixture.h"

#include "collect/codes.h"

static struct python_text text_of(const char *chars)
{
	struct python_text text = {
		.chars = strlen(chars), .width = 1, .is_ascii = 1, .len = strlen(chars)};

	memcpy(text.bytes, chars, text.len);
	return text;
}

static struct python_code *make_record(uint32_t id, uint32_t space, const char *file,
				       const char *name)
{
	struct python_code *record = calloc(1, sizeof(*record));

	assert_non_null(record);
	record->id = id;
	record->space = space;
	record->first_line = 10;
	record->file = text_of(file);
	record->name = text_of(name);
	return record;
}

static void add(struct code_table *table, uint32_t id, uint32_t space, const char *name)
{
	struct python_code *record = make_record(id, space, "app.py", name);

	assert_int_equal(code_table__add(table, record, 0x030b, NULL, 0), 0);
	free(record);
}

static void test_add_and_find(void **state)
{
	struct code_table table = {0};
	const struct code_object *code;

	(void)state;
	assert_null(code_table__find(&table, 2));
	add(&table, 2, 1, "store");
	add(&table, 7, 1, "load");
	code = code_table__find(&table, 7);
	assert_non_null(code);
	assert_string_equal(code->file, "app.py");
	assert_string_equal(code->name, "load");
	assert_int_equal(code->first_line, 10);
	assert_int_equal(code->version, 0x030b);
	assert_null(code_table__find(&table, 3));
	code_table__free(&table);
}

static void test_known_number_stays(void **state)
{
	struct code_table table = {0};

	(void)state;
	add(&table, 2, 1, "store");
	add(&table, 2, 1, "other");
	assert_string_equal(code_table__find(&table, 2)->name, "store");
	code_table__free(&table);
}

static void test_purge(void **state)
{
	struct code_table table = {0};
	struct hashmap spaces = {0};

	(void)state;
	for (uint32_t id = 2; id < 1000; id++)
		add(&table, id, id % 3, "f");
	assert_non_null(hashmap__insert(&spaces, 1, 0, NULL));
	code_table__purge(&table, &spaces);
	for (uint32_t id = 2; id < 1000; id++)
		assert_int_equal(code_table__find(&table, id) != NULL, id % 3 != 1);
	hashmap__free(&spaces);
	code_table__free(&table);
}

/* A program may make code for ever. */
static void test_bounded(void **state)
{
	struct code_table table = {0};
	struct python_code *record = make_record(2, 1, "f", "f");

	(void)state;
	for (uint32_t i = 0; i < MAX_CODES + 5; i++, record->id++)
		assert_int_equal(code_table__add(&table, record, 0x030b, NULL, 0), 0);
	assert_int_equal(table.lost_cnt, 5);
	assert_non_null(code_table__find(&table, 2));
	assert_null(code_table__find(&table, record->id - 1));
	free(record);
	code_table__free(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_and_find),
		cmocka_unit_test(test_known_number_stays),
		cmocka_unit_test(test_purge),
		cmocka_unit_test(test_bounded),
	};

	return cmocka_run_group_tests_name("collect/codes", tests, NULL, NULL);
}
