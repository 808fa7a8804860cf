/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cli/options.h"

struct target {
	bool flag, other_flag;
	uint64_t size, duration, count;
	const char *string;
	unsigned int calls;
	char last_call[32];
	const char *guard;
};

static int note_call(void *target, const char *value, char **ret_message)
{
	struct target *t = target;

	if (!strcmp(value, "bad")) {
		*ret_message = strdup("--item: 'bad' is bad");
		return -EINVAL;
	}
	if (!strcmp(value, "no-memory"))
		return -ENOMEM;
	t->calls++;
	snprintf(t->last_call, sizeof(t->last_call), "%s", value);
	return 0;
}

#define AT(member) offsetof(struct target, member)

static const struct option_spec specs[] = {
	{'x', "flag", OPT_FLAG, NULL, AT(flag), "a flag", NULL},
	{0, "other-flag", OPT_FLAG, NULL, AT(other_flag), "another", NULL},
	{'s', "size", OPT_SIZE, "BYTES", AT(size), "a size", NULL},
	{'d', "duration", OPT_DURATION, "TIME", AT(duration), "a duration", NULL},
	{'n', "count", OPT_COUNT, "N", AT(count), "a count", NULL},
	{'o', "string", OPT_STRING, "TEXT", AT(string), "a string", NULL},
	{'p', "item", OPT_CALL, "ITEM[,ITEM]", 0, "one or more", note_call},
	{0, "an-option-of-quite-some-length", OPT_STRING, "WHATEVER", AT(string), "long", NULL},
};

#define SPEC_CNT (sizeof(specs) / sizeof(specs[0]))

struct result {
	struct target target;
	int err, rest;
	char *message;
};

/* Parses "trace" and the words of a list that NULL ends. */
static struct result parse_list(const char *const *words)
{
	struct result result = {.rest = -1, .target.guard = "untouched"};
	char *argv[32] = {(char *)"trace"};
	int argc = 1;

	while (words[argc - 1]) {
		argv[argc] = (char *)words[argc - 1];
		argc++;
	}
	result.err = options__parse(specs, SPEC_CNT, &result.target, argc, argv, &result.rest, &result.message);
	assert_string_equal(result.target.guard, "untouched");
	return result;
}

#define PARSE(...) parse_list((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

#define ASSERT_FAILS(sentence, ...)                                \
	do {                                                       \
		struct result failed = PARSE(__VA_ARGS__);         \
		assert_int_equal(failed.err, -EINVAL);             \
		assert_int_equal(failed.rest, -1);                 \
		assert_non_null(failed.message);                   \
		assert_string_equal(failed.message, sentence);     \
		free(failed.message);                              \
	} while (0)

static void test_nothing(void **state)
{
	struct result got = PARSE();

	(void)state;
	assert_int_equal(got.err, 0);
	assert_int_equal(got.rest, 1);
	assert_null(got.message);
}

static void test_every_type(void **state)
{
	struct result got = PARSE("--flag", "--size", "64K", "--duration", "1.5s", "--count", "12", "--string", "a b",
				  "--item", "1,2");

	(void)state;
	assert_int_equal(got.err, 0);
	assert_int_equal(got.rest, 12);
	assert_true(got.target.flag);
	assert_false(got.target.other_flag);
	assert_int_equal(got.target.size, 65536);
	assert_int_equal(got.target.duration, 1500000000);
	assert_int_equal(got.target.count, 12);
	assert_string_equal(got.target.string, "a b");
	assert_int_equal(got.target.calls, 1);
	assert_string_equal(got.target.last_call, "1,2");
	assert_null(got.message);
}

static void test_value_in_the_same_word(void **state)
{
	struct result got = PARSE("--size=1.5MiB", "--duration=250us", "--count=0", "--string=a=b", "--item=7");

	(void)state;
	assert_int_equal(got.err, 0);
	assert_int_equal(got.target.size, 3 << 19);
	assert_int_equal(got.target.duration, 250000);
	assert_int_equal(got.target.count, 0);
	assert_string_equal(got.target.string, "a=b");
	assert_string_equal(got.target.last_call, "7");

	got = PARSE("-x", "-s4k", "-d2m", "-n18446744073709551615", "-o-", "-p1234");
	assert_int_equal(got.err, 0);
	assert_int_equal(got.rest, 7);
	assert_true(got.target.flag);
	assert_int_equal(got.target.size, 4096);
	assert_int_equal(got.target.duration, 120000000000);
	assert_true(got.target.count == UINT64_MAX);
	assert_string_equal(got.target.string, "-");
	assert_string_equal(got.target.last_call, "1234");
	got = PARSE("--string=");
	assert_int_equal(got.err, 0);
	assert_string_equal(got.target.string, "");
	got = PARSE("--string=--");
	assert_string_equal(got.target.string, "--");
}

static void test_short_with_a_value_apart(void **state)
{
	struct result got = PARSE("-s", "1", "-p", "2", "-o", "-");

	(void)state;
	assert_int_equal(got.err, 0);
	assert_int_equal(got.rest, 7);
	assert_int_equal(got.target.size, 1);
	assert_string_equal(got.target.last_call, "2");
	assert_string_equal(got.target.string, "-");
}

static void test_repetition(void **state)
{
	struct result got = PARSE("-p1", "-p2", "-p3", "--size=1", "--size=2", "-x", "-x");

	(void)state;
	assert_int_equal(got.err, 0);
	assert_int_equal(got.target.calls, 3);
	assert_string_equal(got.target.last_call, "3");
	assert_int_equal(got.target.size, 2);
	assert_true(got.target.flag);
}

static void test_where_options_end(void **state)
{
	struct result got = PARSE("-x", "--", "gcc", "--size", "bad");

	(void)state;
	assert_int_equal(got.err, 0);
	assert_int_equal(got.rest, 3);
	assert_true(got.target.flag);
	got = PARSE("--");
	assert_int_equal(got.err, 0);
	assert_int_equal(got.rest, 2);
	got = PARSE("--", "--");
	assert_int_equal(got.rest, 2);
	got = PARSE("-x", "word", "--size", "bad");
	assert_int_equal(got.err, 0);
	assert_int_equal(got.rest, 2);
	got = PARSE("-", "--flag");
	assert_int_equal(got.rest, 1);
	assert_false(got.target.flag);
	got = PARSE("", "--flag");
	assert_int_equal(got.rest, 1);
	assert_false(got.target.flag);
	got = PARSE("--", "--help");
	assert_int_equal(got.err, 0);
}

static void test_missing_value(void **state)
{
	(void)state;
	ASSERT_FAILS("--size needs a value: BYTES", "--size");
	ASSERT_FAILS("--size needs a value: BYTES", "-x", "-s");
	ASSERT_FAILS("--item needs a value: ITEM[,ITEM]", "--item");
	/* the command's "--" is no value */
	ASSERT_FAILS("--string needs a value: TEXT", "-o", "--", "gcc");
	ASSERT_FAILS("--duration needs a value: TIME", "--duration", "--", "gcc");
}

static void test_bad_values(void **state)
{
	(void)state;
	ASSERT_FAILS("--size: '64Q' is not a size: write 4096, 64K or 1.5MiB", "--size", "64Q");
	ASSERT_FAILS("--size: '-1' is not a size: write 4096, 64K or 1.5MiB", "-s", "-1");
	ASSERT_FAILS("--size: '' is not a size: write 4096, 64K or 1.5MiB", "--size=");
	ASSERT_FAILS("--size: 17E is too big", "--size=17E");
	ASSERT_FAILS("--duration: '5 parsecs' is not a duration: write 500ms, 10s or 2m", "-d5 parsecs");
	ASSERT_FAILS("--duration: 999999999999d is too big", "-d999999999999d");
	ASSERT_FAILS("--count: 'ten' is not a number", "--count=ten");
	ASSERT_FAILS("--count: '10x' is not a number", "--count=10x");
	ASSERT_FAILS("--count: ' 10' is not a number", "--count= 10");
	ASSERT_FAILS("--count: '+10' is not a number", "--count=+10");
	ASSERT_FAILS("--count: '-1' is not a number", "--count=-1");
	ASSERT_FAILS("--count: '' is not a number", "--count=");
	ASSERT_FAILS("--count: 18446744073709551616 is too big", "--count=18446744073709551616");
	ASSERT_FAILS("--count: '18446744073709551616x' is not a number", "--count=18446744073709551616x");
	ASSERT_FAILS("--item: 'bad' is bad", "--item", "bad");
	ASSERT_FAILS("--flag takes no value", "--flag=yes");
	ASSERT_FAILS("--flag takes no value", "-xyes");
}

static void test_unknown_options(void **state)
{
	(void)state;
	ASSERT_FAILS("unknown option --nonsense: see `leaksweep trace --help`", "--nonsense");
	ASSERT_FAILS("unknown option --siz: see `leaksweep trace --help`", "--siz", "4");
	ASSERT_FAILS("unknown option --sizes=4: see `leaksweep trace --help`", "--sizes=4");
	ASSERT_FAILS("unknown option --=4: see `leaksweep trace --help`", "--=4");
	ASSERT_FAILS("unknown option -z: see `leaksweep trace --help`", "-z");
	ASSERT_FAILS("unknown option --help=me: see `leaksweep trace --help`", "--help=me");
}

static void test_failed_call(void **state)
{
	struct result got = PARSE("--item", "no-memory");

	(void)state;
	assert_int_equal(got.err, -ENOMEM);
	assert_null(got.message);
}

static void test_values_stay_on_failure(void **state)
{
	struct result got = PARSE("--size=7", "--count=8", "--duration=9ns", "--count=99999999999999999999");

	(void)state;
	assert_int_equal(got.err, -EINVAL);
	assert_int_equal(got.target.size, 7);
	assert_int_equal(got.target.count, 8);
	assert_int_equal(got.target.duration, 9);
	free(got.message);
}

static void test_help(void **state)
{
	struct result got = PARSE("--size=1", "--help", "--nonsense");

	(void)state;
	assert_int_equal(got.err, 1);
	assert_int_equal(got.rest, -1);
	assert_null(got.message);
	got = PARSE("-h");
	assert_int_equal(got.err, 1);
	got = PARSE("-o", "-h"); /* a value, however it looks */
	assert_int_equal(got.err, 0);
	assert_string_equal(got.target.string, "-h");
}

static void test_help_text(void **state)
{
	FILE *saved = stdout;
	char *text = NULL;
	size_t len = 0;

	(void)state;
	stdout = open_memstream(&text, &len);
	assert_non_null(stdout);
	options__print(specs, SPEC_CNT);
	fclose(stdout);
	stdout = saved;
	assert_string_equal(text, "  -x, --flag                    a flag\n"
				  "      --other-flag              another\n"
				  "  -s, --size BYTES              a size\n"
				  "  -d, --duration TIME           a duration\n"
				  "  -n, --count N                 a count\n"
				  "  -o, --string TEXT             a string\n"
				  "  -p, --item ITEM[,ITEM]        one or more\n"
				  "      --an-option-of-quite-some-length WHATEVER\n"
				  "                                long\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_every_type),
		cmocka_unit_test(test_value_in_the_same_word),
		cmocka_unit_test(test_short_with_a_value_apart),
		cmocka_unit_test(test_repetition),
		cmocka_unit_test(test_where_options_end),
		cmocka_unit_test(test_missing_value),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_unknown_options),
		cmocka_unit_test(test_failed_call),
		cmocka_unit_test(test_values_stay_on_failure),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_help_text),
	};

	return cmocka_run_group_tests_name("cli options", tests, NULL, NULL);
}
