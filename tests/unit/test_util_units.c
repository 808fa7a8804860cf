/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "util/units.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define US 1000ULL
#define MS (1000 * US)
#define SEC (1000 * MS)

struct number {
	const char *text;
	uint64_t value;
};

static void test_parse_size(void **state)
{
	static const struct number cases[] = {
		{"0", 0},
		{"4096", 4096},
		{"17B", 17},
		{"64K", 65536},
		{"64k", 65536},
		{"64Ki", 65536},
		{"64KB", 65536},
		{"64KiB", 65536},
		{"10kB", 10240},
		{"1.5MiB", 1572864},
		{"1.5 MiB", 1572864},
		{".5K", 512},
		{"2G", 2147483648},
		{"3T", 3298534883328},
		{"1P", 1125899906842624},
		{"15E", 17293822569102704640ULL},
		{"18446744073709551615", UINT64_MAX},
		{"18014398509481983.9990234375K", UINT64_MAX},
		{"0.1K", 102},
		{"0.00000000000000000000000000001K", 0},
		{"0.3333333333333333333333333333M", 349525},
	};
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(parse_size(cases[i].text, &bytes), 0);
		if (bytes != cases[i].value)
			fail_msg("%s is %llu", cases[i].text, (unsigned long long)bytes);
	}
}

static void test_parse_size_errors(void **state)
{
	static const char *const invalid[] = {
		"",
		"K",
		"-1",
		"-1K",
		"+1",
		"abc",
		"1X",
		"1KK",
		"1KiBs",
		"1.",
		".",
		"1.K",
		"1..5",
		"0x10",
		"1e3",
		"inf",
		"nan",
		" 1",
		"1 ",
		"1  K",
		"1K ",
		"1i",
		"1,5K",
		"1iB",
		"1 2",
		"1K2",
		"\xff",
		"1\n",
		"99999999999999999999X",
	};
	static const char *const out_of_range[] = {
		"18446744073709551616",	 "16E", "99999999999999999999", "17179869184G",
		"18446744073709551615K",
	};
	uint64_t bytes = 42;

	(void)state;
	for (size_t i = 0; i < COUNT(invalid); i++)
		if (parse_size(invalid[i], &bytes) != -EINVAL)
			fail_msg("'%s' is not refused", invalid[i]);
	for (size_t i = 0; i < COUNT(out_of_range); i++)
		if (parse_size(out_of_range[i], &bytes) != -ERANGE)
			fail_msg("'%s' is not out of range", out_of_range[i]);
	assert_int_equal(bytes, 42);
}

static void test_parse_duration(void **state)
{
	static const struct number cases[] = {
		{"0", 0},
		{"500ms", 500 * MS},
		{"10s", 10 * SEC},
		{"10", 10 * SEC},
		{"0.5", SEC / 2},
		{"2m", 120 * SEC},
		{"1h", 3600 * SEC},
		{"1.5s", 1500 * MS},
		{"250us", 250 * US},
		{"7ns", 7},
		{"3d", 3 * 86400 * SEC},
		{"350 ms", 350 * MS},
		{"3m05s", 185 * SEC},
		{"2h10m", 7800 * SEC},
		{"4d02h", 98 * 3600 * SEC},
		{"1d1h1m1s1ms1us1ns", 90061001001001ULL},
		{"18446744073709551615ns", UINT64_MAX},
	};
	uint64_t ns;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(parse_duration(cases[i].text, &ns), 0);
		if (ns != cases[i].value)
			fail_msg("%s is %llu", cases[i].text, (unsigned long long)ns);
	}
}

static void test_parse_duration_errors(void **state)
{
	static const char *const invalid[] = {
		"",    "s",  "-1s", "1x",  "1S",    "1M",  "1sec", "5s3m", "1s1s",
		"1m5", "1 ", " 1s", "1s ", "1m 5s", "1.s", "1e9",  "m",	   "99999999999999999999x",
	};
	static const char *const out_of_range[] = {
		"18446744073709551616ns",
		"18446744073709551615us",
		"300000d",
		"213503d24h",
		"213503d23h34m33s709ms551us616ns",
		"99999999999999999999",
	};
	uint64_t ns = 42;

	(void)state;
	for (size_t i = 0; i < COUNT(invalid); i++)
		if (parse_duration(invalid[i], &ns) != -EINVAL)
			fail_msg("'%s' is not refused", invalid[i]);
	for (size_t i = 0; i < COUNT(out_of_range); i++)
		if (parse_duration(out_of_range[i], &ns) != -ERANGE)
			fail_msg("'%s' is not out of range", out_of_range[i]);
	assert_int_equal(ns, 42);
}

static void test_format_size(void **state)
{
	static const struct {
		int64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{17, "17 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{-3072, "-3.0 KiB"},
		{1288490188, "1.2 GiB"},
		{1022976, "999.0 KiB"},
		{1023948, "999.9 KiB"},
		{1023949, "1000 KiB"},
		{1048063, "1023 KiB"},
		{1048064, "1.0 MiB"},
		{1048576, "1.0 MiB"},
		{INT64_MAX, "8.0 EiB"},
		{INT64_MIN, "-8.0 EiB"},
	};
	char buf[UNITS_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(format_size(cases[i].bytes, buf), cases[i].text);
}

static void test_format_count(void **state)
{
	static const struct {
		int64_t count;
		const char *text;
	} cases[] = {
		{0, "0"},	    {812, "812"},	   {999, "999"},
		{-5, "-5"},	    {1000, "1.00 k"},	   {1300000, "1.30 M"},
		{31200, "31.2 k"},  {9994, "9.99 k"},	   {9996, "10.0 k"},
		{99949, "99.9 k"},  {99951, "100 k"},	   {999499, "999 k"},
		{999500, "1.00 M"}, {INT64_MAX, "9.22 E"}, {INT64_MIN, "-9.22 E"},
	};
	char buf[UNITS_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(format_count(cases[i].count, buf), cases[i].text);
}

static void test_format_duration(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{0, "0 ns"},
		{812, "812 ns"},
		{1000, "1 us"},
		{999499, "999 us"},
		{999500, "1 ms"},
		{350 * MS, "350 ms"},
		{999 * MS + 500 * US, "1.0 s"},
		{12400 * MS, "12.4 s"},
		{59949 * MS, "59.9 s"},
		{59950 * MS, "1m00s"},
		{185 * SEC, "3m05s"},
		{3599 * SEC + 500 * MS, "1h00m"},
		{7800 * SEC, "2h10m"},
		{86399 * SEC, "1d00h"},
		{98 * 3600 * SEC, "4d02h"},
		{UINT64_MAX, "213504d00h"},
	};
	char buf[UNITS_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(format_duration(cases[i].ns, buf), cases[i].text);
}

/* What is printed can be typed in again, and is off by no more than its last digit. */
static void test_round(void **state)
{
	char buf[UNITS_MAX];
	uint64_t back;

	(void)state;
	for (uint64_t value = 1; value < 1ULL << 62; value += value / 3 + 1) {
		assert_int_equal(parse_size(format_size(value, buf), &back), 0);
		assert_true(back > value ? back - value <= value / 19 : value - back <= value / 19);
		assert_int_equal(parse_duration(format_duration(value, buf), &back), 0);
		assert_true(back > value ? back - value <= value / 2 : value - back <= value / 2);
		assert_true(strlen(format_count(value, buf)) <= 6);
		assert_true(strlen(format_size(value, buf)) <= 9);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_size),
		cmocka_unit_test(test_parse_size_errors),
		cmocka_unit_test(test_parse_duration),
		cmocka_unit_test(test_parse_duration_errors),
		cmocka_unit_test(test_format_size),
		cmocka_unit_test(test_format_count),
		cmocka_unit_test(test_format_duration),
		cmocka_unit_test(test_round),
	};

	return cmocka_run_group_tests_name("util units", tests, NULL, NULL);
}
