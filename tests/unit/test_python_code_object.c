// SPDX-License-Identifier: GPL-2.0-or-later
/* Text and line tables of code objects, as the formats are described and as a hostile process has
 * them. */
#include "unit/code_object_fixture.h"

#include <limits.h>
#include <locale.h>
#include <uchar.h>

/* ---- text ---- */

static void check_text(const struct python_text *text, const char *expected)
{
	char *decoded = python_text__decode(text);

	assert_non_null(decoded);
	assert_string_equal(decoded, expected);
	free(decoded);
}

static void test_text(void **state)
{
	const uint16_t two[] = {'a', 0x20ac, 0x4e2d, 0xd83d, 0xde00, 0xffff};
	const uint32_t four[] = {'a', 0xe9, 0x20ac, 0x1f600, 0xd800, 0x110000, UINT32_MAX, '\n'};
	struct python_text text;

	(void)state;
	text = text_of("app/cache.py", 1, 12);
	text.is_ascii = 1;
	check_text(&text, "app/cache.py");
	text.bytes[3] = 0xe9; /* no ASCII, whatever it says */
	check_text(&text, "app\xef\xbf\xbd"
			  "cache.py");
	text = text_of("caf\xe9\xff", 1, 5);
	check_text(&text, "café\xc3\xbf");
	/* Lone surrogates, as in names of files that are not UTF-8; a pair is two of them. */
	text = text_of(two, 2, 6);
	check_text(&text, "a€中\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbf");
	text = text_of(four, 4, 8);
	check_text(&text, "aé€😀\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\n");
	text = text_of("a\0b\x1b", 1, 4);
	check_text(&text, "a\xef\xbf\xbd"
			  "b\x1b");
	text = text_of("", 1, 0);
	check_text(&text, "");
}

static void test_broken_text(void **state)
{
	struct python_text text = {.chars = 3};
	uint16_t wide[PYTHON_TEXT_BYTES / 2];
	char *decoded;

	(void)state;
	for (unsigned int width = 0; width < 256; width++) {
		text.width = width;
		text.len = 0;
		check_text(&text, width == 1 || width == 2 || width == 4 ? "…" : "?");
	}
	/* What was copied ends in the middle of a character. */
	text = text_of("abcdef", 2, 3);
	text.len = 5;
	memcpy(text.bytes, "a\0b\0c", 5);
	check_text(&text, "ab…");
	/* Lengths that lie. */
	text = text_of("abc", 1, 3);
	text.len = UINT16_MAX;
	check_text(&text, "abc");
	text.chars = 2;
	check_text(&text, "ab");
	text.chars = UINT32_MAX;
	memset(text.bytes, 'x', sizeof(text.bytes));
	decoded = python_text__decode(&text);
	assert_int_equal(strlen(decoded), PYTHON_TEXT_BYTES + strlen("…"));
	free(decoded);
	for (size_t i = 0; i < PYTHON_TEXT_BYTES / 2; i++)
		wide[i] = 0xffff;
	text = text_of(wide, 2, PYTHON_TEXT_BYTES / 2);
	text.chars++;
	decoded = python_text__decode(&text);
	assert_int_equal(strlen(decoded), 3 * PYTHON_TEXT_BYTES / 2 + strlen("…"));
	free(decoded);
}

/* Every character there is against the C library. */
static void test_all_characters(void **state)
{
	char expected[MB_LEN_MAX + 1];
	mbstate_t conversion = {0};
	struct python_text text;
	size_t len;

	(void)state;
	if (!setlocale(LC_ALL, "C.UTF-8"))
		skip();
	for (uint32_t code = 1; code < 0x110000; code++) {
		text = (struct python_text){.chars = 1, .width = 4, .len = 4};
		memcpy(text.bytes, &code, sizeof(code));
		len = c32rtomb(expected, code, &conversion);
		if (len == (size_t)-1) {
			assert_true(code >= 0xd800 && code < 0xe000);
			conversion = (mbstate_t){0};
			check_text(&text, "\xef\xbf\xbd");
			continue;
		}
		expected[len] = '\0';
		check_text(&text, expected);
		if (code >= 0x10000)
			continue;
		text = (struct python_text){.chars = 1, .width = 2, .len = 2};
		memcpy(text.bytes, &(uint16_t){code}, 2);
		check_text(&text, expected);
	}
	setlocale(LC_ALL, "C");
}

/* ---- records ---- */

static void test_record(void **state)
{
	struct python_code record = {.first_line = -5};
	struct code_object code = {0};

	(void)state;
	/* Nothing could be read. */
	assert_int_equal(code_object__decode(&record, 0x030b, NULL, 7, &code), 0);
	assert_string_equal(code.file, "?");
	assert_string_equal(code.name, "?");
	assert_int_equal(code_object__line(&code, 0), 0);
	assert_int_equal(code_object__line(&code, PYTHON_NO_UNIT), 0);
	code_object__free(&code);
	code_object__free(&code);
	/* Lengths that lie: nothing behind the record is read, nothing of that size is allocated.
	 */
	record.lines_len = record.lines_copied = UINT32_MAX;
	memset(record.lines, 0x80, sizeof(record.lines));
	assert_int_equal(code_object__decode(&record, 0x030b, NULL, 0, &code), 0);
	assert_int_equal(code.lines_len, PYTHON_LINES_BYTES);
	code_object__free(&code);
	record.lines_len = 3;
	assert_int_equal(code_object__decode(&record, 0x030b, (const uint8_t *)"abcdef", 6, &code),
			 0);
	assert_int_equal(code.lines_len, 3);
	code_object__free(&code);
	record.lines_len = 10;
	record.lines_copied = 8;
	assert_int_equal(code_object__decode(&record, 0x030b, (const uint8_t *)"abcdef", 6, &code),
			 0);
	assert_int_equal(code.lines_len, 10);
	assert_memory_equal(code.lines + 8, "ab", 2);
	code_object__free(&code);
}

/* The examples of the formats' descriptions. */
static const uint8_t form_lnotab[] = {6, 1, 44, 5, 255, 0, 45, 127, 0, 73, 6, 1, 2, 0xff};
static const uint8_t form_pairs[] = {6, 1, 4, 0x80, 6, 1, 0, 50, 2, 0xfe};
/* one line, no columns (+5), none, long (-3), short, one line +2 */
static const uint8_t form_entries[] = {0x80 | 10 << 3 | 2,
				       1,
				       2,
				       0x80 | 13 << 3 | 0,
				       10,
				       0x80 | 15 << 3 | 1,
				       0x80 | 14 << 3 | 7,
				       7,
				       0,
				       3,
				       4,
				       0x80 | 3 << 3 | 1,
				       0x12,
				       0x80 | 12 << 3 | 0,
				       0,
				       1};
static const struct form {
	uint16_t version;
	const uint8_t *table;
	uint32_t len;
	struct {
		uint32_t unit, line;
	} truth[14];
} forms[] = {
	{0x0308,
	 form_lnotab,
	 sizeof(form_lnotab),
	 {{0, 1},
	  {2, 1},
	  {3, 2},
	  {24, 2},
	  {25, 7},
	  {174, 7},
	  {175, 207},
	  {177, 207},
	  {178, 208},
	  {179, 207},
	  {9999, 207},
	  {PYTHON_NO_UNIT, 1}}},
	{0x030a,
	 form_pairs,
	 sizeof(form_pairs),
	 {{0, 2},
	  {2, 2},
	  {3, 0},
	  {4, 0},
	  {5, 3},
	  {7, 3},
	  {8, 51},
	  {9, 0},
	  {9999, 0},
	  {PYTHON_NO_UNIT, 1}}},
	{0x030b,
	 form_entries,
	 sizeof(form_entries),
	 {{0, 1},
	  {2, 1},
	  {3, 6},
	  {4, 0},
	  {5, 0},
	  {6, 3},
	  {13, 3},
	  {14, 3},
	  {15, 3},
	  {16, 5},
	  {17, 0},
	  {PYTHON_NO_UNIT, 1}}},
};

static void check_form(const struct form *form)
{
	struct code_object code =
		decode(form->version, 1, form->table, form->len, form->len, false);

	assert_string_equal(code.file, "app.py");
	assert_string_equal(code.name, "A.run");
	for (size_t i = 0; i < 14 && (!i || form->truth[i].unit); i++) {
		uint32_t line = code_object__line(&code, form->truth[i].unit);

		if (line != form->truth[i].line)
			fail_msg("form %td, unit %u: line %u, not %u", form - forms,
				 form->truth[i].unit, line, form->truth[i].line);
	}
	code_object__free(&code);
}

static void test_forms(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		check_form(&forms[i]);
}

/* To 3.9, a function of one line has an empty table, and the last pair holds for all behind it. */
static void test_empty_and_cut(void **state)
{
	static const uint8_t lnotab[] = {6, 1, 4, 5, 8, 2};
	struct code_object code = decode(0x0309, 17, lnotab, 0, 0, false);

	(void)state;
	assert_int_equal(code_object__line(&code, 12), 17);
	code_object__free(&code);
	for (uint32_t copied = 0; copied < sizeof(lnotab); copied++) {
		code = decode(0x0309, 17, lnotab, sizeof(lnotab), copied, false);
		assert_int_equal(code_object__line(&code, 2), copied ? 17 : 0);
		assert_int_equal(code_object__line(&code, 3), copied > 2 ? 18 : 0);
		assert_int_equal(code_object__line(&code, 8), copied > 4 ? 23 : 0);
		assert_int_equal(code_object__line(&code, 9), 0);
		code_object__free(&code);
	}
}

/* ---- hostile tables ---- */

static void test_hostile(void **state)
{
	static const uint16_t versions[] = {0, 0x0306, 0x0308, 0x030a, 0x030b, 0x030e, 0xffff};
	static const int32_t lines[] = {INT32_MIN, -1, 0, 1, INT32_MAX};
	static const uint32_t units[] = {0, 1, 1000, 0x7fffff, PYTHON_NO_UNIT, UINT32_MAX};
	uint8_t *table;
	uint32_t line;

	(void)state;
	srand(1);
	for (int round = 0; round < 20000; round++) {
		uint32_t len = rand() % 64;
		struct code_object code;

		/* Its own allocation: a sanitizer sees each byte that is read too far. */
		table = malloc(len + 1);
		for (uint32_t i = 0; i < len; i++)
			table[i] = round % 3 ? rand() : round % 2 ? 0xff : 0x80 | 14 << 3;
		code = decode(versions[rand() % 7], lines[rand() % 5], table, len,
			      len ? rand() % (len + 1) : 0, rand() % 2);
		for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
			line = code_object__line(&code, units[i]);
			assert_true(line <= INT32_MAX);
		}
		code_object__free(&code);
		free(table);
	}
}

/* A megabyte of the worst bytes takes no time: the walk looks at no byte twice. */
static void test_long_tables(void **state)
{
	static const uint8_t worst[] = {0xff, 0x7f, 0x80 | 14 << 3, 0x00, 0x80 | 13 << 3};
	static const uint16_t versions[] = {0x0308, 0x030a, 0x030b};
	uint32_t len = 1 << 20;
	uint8_t *table = malloc(len);

	(void)state;
	for (size_t i = 0; i < sizeof(worst); i++) {
		memset(table, worst[i], len);
		for (size_t j = 0; j < 3; j++) {
			struct code_object code = decode(versions[j], 1, table, len, 2048, true);

			code_object__line(&code, PYTHON_NO_UNIT - 1);
			code_object__line(&code, 5);
			code_object__free(&code);
		}
	}
	free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),	       cmocka_unit_test(test_broken_text),
		cmocka_unit_test(test_all_characters), cmocka_unit_test(test_record),
		cmocka_unit_test(test_forms),	       cmocka_unit_test(test_empty_and_cut),
		cmocka_unit_test(test_hostile),	       cmocka_unit_test(test_long_tables),
	};

	return cmocka_run_group_tests_name("python code objects", tests, NULL, NULL);
}
