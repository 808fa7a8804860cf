// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stacks are written leaf first: n = native, L = the interpreter loop; f = Python, F = the last of
 * its chunk. A merged stack is written as what stands in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "python/merge.h"

#define MAX_CNT 16

struct merged {
	enum merge_result result;
	size_t cnt;
	char text[2 * MAX_CNT + 1];
	struct merged_frame frames[2 * MAX_CNT];
};

/* A '+' behind a stack: it is not complete. */
static void merge(const char *native, const char *python, struct merged *ret)
{
	size_t native_cnt = strcspn(native, "+"), python_cnt = strcspn(python, "+");
	bool is_loop[MAX_CNT], is_last[MAX_CNT];

	assert_true(native_cnt <= MAX_CNT && python_cnt <= MAX_CNT);
	for (size_t i = 0; i < native_cnt; i++)
		is_loop[i] = native[i] == 'L';
	for (size_t i = 0; i < python_cnt; i++)
		is_last[i] = python[i] == 'F';
	memset(ret, 0xa5, sizeof(*ret));
	ret->result = python_merge(is_loop, native_cnt, !native[native_cnt], is_last, python_cnt,
				   !python[python_cnt], ret->frames, &ret->cnt);
	assert_true(ret->cnt <= native_cnt + python_cnt);
	for (size_t i = 0; i < ret->cnt; i++) {
		const struct merged_frame *frame = &ret->frames[i];

		assert_true(frame->idx < (frame->is_python ? python_cnt : native_cnt));
		ret->text[i] = (frame->is_python ? python : native)[frame->idx];
	}
	ret->text[ret->cnt] = '\0';
}

/* ---- cases written by hand ---- */

static void test_cases(void **state)
{
	static const struct {
		const char *native, *python;
		enum merge_result result;
		const char *merged;
	} cases[] = {
		/* no Python at all */
		{"", "", MERGE_MATCHED, ""},
		{"nnn", "", MERGE_MATCHED, "nnn"},
		{"nnn+", "+", MERGE_MATCHED, "nnn"},
		/* a frame each (3.8 to 3.10) */
		{"nLnnLnnLnn", "FFF", MERGE_MATCHED, "nFnnFnnFnn"},
		{"LL", "FF", MERGE_MATCHED, "FF"},
		/* chunks; a call-back from C between them */
		{"nnLnnLnn", "ffFF", MERGE_MATCHED, "nnffFnnFnn"},
		{"L", "fffF", MERGE_MATCHED, "fffF"},
		/* Numbers agree though a stack says that it is cut. */
		{"nLnL+", "FF+", MERGE_MATCHED, "nFnF"},
		{"nLnLnn", "Fff+", MERGE_MATCHED, "nFnffnn"},
		{"nLnL+", "FfF", MERGE_MATCHED, "nFnfF"},
		/* the native stack was cut */
		{"nnLnn+", "ffFfF", MERGE_SHORT, "nnffFnnfF"},
		{"nnn+", "fF", MERGE_SHORT, "nnnfF"},
		{"+", "FF", MERGE_SHORT, "FF"},
		{"L+", "FFf+", MERGE_SHORT, "FFf"},
		/* the Python stack was cut */
		{"nLnLnLn", "fFf+", MERGE_SHORT, "nfFnfnLn"},
		{"nLn", "+", MERGE_SHORT, "nLn"},
		/* nothing explains it */
		{"nLn", "", MERGE_VIOLATED, "nLn"},
		{"nLn", "FF", MERGE_VIOLATED, "nFFLn"},
		{"nnLnLn", "fF", MERGE_VIOLATED, "nnfFLnLn"},
		{"nnn", "fF", MERGE_VIOLATED, "nnnfF"},
		{"", "F", MERGE_VIOLATED, "F"},
		{"LL+", "F", MERGE_VIOLATED, "FLL"},
		{"L", "FF+", MERGE_VIOLATED, "FFL"},
	};
	struct merged merged;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		merge(cases[i].native, cases[i].python, &merged);
		if (merged.result != cases[i].result || strcmp(merged.text, cases[i].merged))
			fail_msg("%s and %s: %d %s, not %d %s", cases[i].native, cases[i].python,
				 merged.result, merged.text, cases[i].result, cases[i].merged);
	}
}

/* ---- all small ones ---- */

/* Writes the stack that the bits of `pattern` tell. */
static void make(char *text, unsigned int pattern, size_t cnt, const char kinds[2], bool complete)
{
	for (size_t i = 0; i < cnt; i++)
		text[i] = kinds[pattern >> i & 1];
	strcpy(text + cnt, complete ? "" : "+");
}

static size_t count(const char *text, char kind)
{
	size_t cnt = 0;

	for (; *text; text++)
		cnt += *text == kind;
	return cnt;
}

/* Whether the frames of one side stand in their order, each once. */
static void check_order(const struct merged *merged, bool is_python, size_t expected)
{
	size_t cnt = 0;
	int last = -1;

	for (size_t i = 0; i < merged->cnt; i++) {
		if (merged->frames[i].is_python != is_python)
			continue;
		assert_true(merged->frames[i].idx > last);
		last = merged->frames[i].idx;
		cnt++;
	}
	assert_int_equal(cnt, expected);
}

/* What each side would be without the other, put together: chunks in the loops' places. */
static void expect_matched(const char *native, const char *python, char *text)
{
	for (; *native && *native != '+'; native++) {
		if (*native == 'n' || !*python || *python == '+') {
			*text++ = *native;
			continue;
		}
		while (*python == 'f')
			*text++ = *python++;
		if (*python == 'F')
			*text++ = *python++;
	}
	strcpy(text, python);
	text[strcspn(text, "+")] = '\0';
}

static enum merge_result check(const char *native, const char *python)
{
	size_t loops = count(native, 'L'), native_cnt = strcspn(native, "+");
	size_t python_cnt = strcspn(python, "+"), chunks = count(python, 'F'), replaced;
	bool native_complete = !native[native_cnt], python_complete = !python[python_cnt];
	char expected[2 * MAX_CNT + 1];
	enum merge_result result;
	struct merged merged;

	chunks += python_cnt && python[python_cnt - 1] == 'f';
	result = loops == chunks		      ? MERGE_MATCHED
		 : loops < chunks && !native_complete ? MERGE_SHORT
		 : loops > chunks && !python_complete ? MERGE_SHORT
						      : MERGE_VIOLATED;
	merge(native, python, &merged);
	if (result == MERGE_VIOLATED) {
		size_t first = strcspn(native, "L+");

		replaced = 0;
		snprintf(expected, sizeof(expected), "%.*s%.*s%.*s", (int)first, native,
			 (int)python_cnt, python, (int)(native_cnt - first), native + first);
	} else {
		replaced = loops < chunks ? loops : chunks;
		expect_matched(native, python, expected);
	}
	if (merged.result != result || strcmp(merged.text, expected))
		fail_msg("%s and %s: %d %s, not %d %s", native, python, merged.result, merged.text,
			 result, expected);
	check_order(&merged, true, python_cnt);
	check_order(&merged, false, native_cnt - replaced);
	return result;
}

static void test_all_small(void **state)
{
	char native[MAX_CNT + 2], python[MAX_CNT + 2];
	size_t cnts[MERGE_VIOLATED + 1] = {0};

	(void)state;
	for (unsigned int sizes = 0; sizes < 7 * 7 * 4; sizes++) {
		size_t native_cnt = sizes % 7, python_cnt = sizes / 7 % 7;

		for (unsigned int i = 0; i < 1U << native_cnt; i++) {
			make(native, i, native_cnt, "nL", sizes / 49 & 1);
			for (unsigned int j = 0; j < 1U << python_cnt; j++) {
				make(python, j, python_cnt, "fF", sizes / 98);
				cnts[check(native, python)]++;
			}
		}
	}
	print_message("%zu matched, %zu short, %zu violated\n", cnts[MERGE_MATCHED],
		      cnts[MERGE_SHORT], cnts[MERGE_VIOLATED]);
	assert_int_equal(cnts[MERGE_MATCHED] + cnts[MERGE_SHORT] + cnts[MERGE_VIOLATED],
			 127 * 127 * 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_all_small),
	};

	return cmocka_run_group_tests_name("python merge", tests, NULL, NULL);
}
