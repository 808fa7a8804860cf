// SPDX-License-Identifier: GPL-2.0-or-later
/* Names: C++, Rust and D, and names that are made to hurt. */
#include "unit/symbolize_fixture.h"

#include "symbolize/demangle.h"

static char *demangled(const char *name)
{
	char *text;

	assert_int_equal(demangle_names(&name, 1, &text), 0);
	return text;
}

static void assert_demangled(const char *name, const char *expected)
{
	char *text = demangled(name);

	assert_true(is_mangled(name));
	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
}

static void every_language(void **state)
{
	(void)state;
	assert_demangled("_Z3fooi", "foo(int)");
	assert_demangled("_ZN3abc3defERKSsPKc", "abc::def(std::string const&, char const*)");
	assert_demangled("_ZN1A3fooEv.cold", "A::foo() [clone .cold]");
	assert_demangled("_ZNSt6vectorIiSaIiEE9push_backERKi",
			 "std::vector<int, std::allocator<int> >::push_back(int const&)");
	assert_demangled("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE",
			 "core::fmt::Write::write_fmt");
	assert_demangled("_RNvCs1234_7mycrate4main", "mycrate::main");
	assert_demangled("_RINvNtC3std3mem8align_ofdE", "std::mem::align_of::<f64>");
	assert_demangled("_D8demangle4testFZv", "demangle.test()");
	assert_demangled("_Dmain", "D main");
}

static void what_is_not_mangled_stays(void **state)
{
	static const char *const names[] = {"malloc", "_start", "_Z", "_ZZZZ", "_Zebra", "_Rust",
					    "_Dog",   "",	"_",  "_R",    "_D",	 "Z3fooi"};
	char *texts[12];

	(void)state;
	assert_int_equal(demangle_names(names, 12, texts), 0);
	for (size_t i = 0; i < 12; i++)
		assert_null(texts[i]);
	assert_false(is_mangled("malloc"));
	assert_false(is_mangled("_start"));
}

static void append_reference(char *name, int index)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	char *end = name + strlen(name);

	*end++ = 'S';
	if (index > 36)
		*end++ = digits[(index - 1) / 36];
	if (index > 0)
		*end++ = digits[(index - 1) % 36];
	*end++ = '_';
	*end = '\0';
}

/*
 * f(B<B<B<int, int>, B<int, int>>, ...>): 2^depth types, in a pack expansion without any output at
 * first.
 */
static char *doubling_name(const char *prefix, int depth)
{
	char *name = calloc(1, 8192);

	assert_non_null(name);
	strcpy(name, prefix);
	strcat(name, "1BI");
	for (int i = 1; i < depth; i++)
		strcat(name, "S_I");
	strcat(name, "iiE");
	for (int i = 1; i < depth; i++) {
		append_reference(name, i);
		strcat(name, "E");
	}
	return name;
}

static void exponential_names_are_given_up(void **state)
{
	char *silent = doubling_name("_Z1fDp", 60), *loud = doubling_name("_Z1f", 60);
	char *small = doubling_name("_Z1f", 2);
	const char *names[] = {"_Z1av", silent, "_Z1bv", loud, "_Z1cv", small};
	char *texts[6];
	double began = now_seconds();

	(void)state;
	assert_int_equal(demangle_names(names, 6, texts), 0);
	assert_true(now_seconds() - began < 20);
	print_message("two exponential names: %.3f s\n", now_seconds() - began);
	assert_string_equal(texts[0], "a()");
	assert_null(texts[1]);
	assert_string_equal(texts[2], "b()");
	assert_null(texts[3]);
	assert_string_equal(texts[4], "c()");
	assert_string_equal(texts[5], "f(B<B<int, int>, B<int, int> >)");
	for (size_t i = 0; i < 6; i++)
		free(texts[i]);
	free(silent);
	free(loud);
	free(small);
}

/* Many of them cost a bounded time, and then the rest stays mangled. */
static void many_exponential_names(void **state)
{
	char *silent = doubling_name("_Z1fDp", 60), **texts;
	const char **names = calloc(1000, sizeof(*names));
	double began = now_seconds();

	(void)state;
	texts = calloc(1000, sizeof(*texts));
	assert_non_null(names);
	assert_non_null(texts);
	for (size_t i = 0; i < 1000; i++)
		names[i] = silent;
	assert_int_equal(demangle_names(names, 1000, texts), 0);
	assert_true(now_seconds() - began < 30);
	for (size_t i = 0; i < 1000; i++)
		assert_null(texts[i]);
	free(names);
	free(texts);
	free(silent);
}

/* Prefix, `unit` as often as fits in `len` bytes, suffix. */
static char *repeated(const char *prefix, const char *unit, size_t len, const char *suffix)
{
	char *name = calloc(1, len + 64), *end = stpcpy(name, prefix);

	while ((size_t)(end - name) + strlen(unit) + strlen(suffix) <= len)
		end = stpcpy(end, unit);
	strcpy(end, suffix);
	return name;
}

static void deep_and_long_names(void **state)
{
	static const struct {
		const char *prefix, *unit, *suffix;
	} shapes[] = {
		{"_Z1f", "P", "i"},
		{"_Z1f", "FvP", "v"},
		{"_ZN", "1aI", ""},
		{"_Z1f", "DpT", ""},
		{"_Z", "Z", ""},
		{"_RNvC1a", "S", ""},
		{"_RNvMC1a", "R", "u1b"},
		{"_RNvM", "INtC1a1b", ""},
		{"_D1aFA", "A", "iZv"},
		{"_D1aF", "PF", "Zv"},
		{"_D1a", "__T1b", ""},
		{"_D", "Qa", ""},
		{"_Z1fIXcvT_", "cvT_", ""},
		{"_Z1fI", "Xcv1AIT_IXcvT_I", ""},
		{"_Z1fIXsZ", "sZ", "E"},
		{"_Z1f", "U1a", "i"},
		{"_RNvC", "9999999999", ""},
		{"_Z", "99999", "a"},
	};
	static const size_t lens[] = {100, 1000, 1030, 2000, 4095, 4096, 100000, 4000000};
	size_t cnt = sizeof(shapes) / sizeof(shapes[0]);
	const char *names[sizeof(shapes) / sizeof(shapes[0])];
	char *texts[sizeof(shapes) / sizeof(shapes[0])];

	(void)state;
	for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
		for (size_t i = 0; i < cnt; i++)
			names[i] = repeated(shapes[i].prefix, shapes[i].unit, lens[l],
					    shapes[i].suffix);
		assert_int_equal(demangle_names(names, cnt, texts), 0);
		for (size_t i = 0; i < cnt; i++) {
			if (lens[l] >= 4096)
				assert_null(texts[i]);
			free(texts[i]);
			free((void *)names[i]);
		}
	}
}

static void random_names(void **state)
{
	static const char letters[] = "_ZNSRDIEKPTFvicxaQBCMXLJ0123456789spfl.";
	enum { CNT = 2000 };
	char **names = calloc(CNT, sizeof(*names)), **texts = calloc(CNT, sizeof(*texts));
	uint64_t seed = 1;

	(void)state;
	for (size_t i = 0; i < CNT; i++) {
		names[i] = calloc(1, 128);
		strcpy(names[i], i % 3 ? i % 3 == 1 ? "_R" : "_D" : "_Z");
		for (size_t k = 2; k < 4 + i % 100; k++) {
			seed = seed * 6364136223846793005U + 1442695040888963407U;
			names[i][k] = letters[(seed >> 33) % (sizeof(letters) - 1)];
		}
	}
	assert_int_equal(demangle_names((const char *const *)names, CNT, texts), 0);
	for (size_t i = 0; i < CNT; i++) {
		free(names[i]);
		free(texts[i]);
	}
	free(names);
	free(texts);
}

static void copies_lose_the_version(void **state)
{
	static const char *const pairs[][2] = {{"malloc@@GLIBC_2.2.5", "malloc"},
					       {"memcpy@GLIBC_2.14", "memcpy"},
					       {"plain", "plain"},
					       {"@odd", "@odd"}};
	char *huge = repeated("", "x", 1000000, ""), *copy;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		copy = symbol_name__copy(pairs[i][0]);
		assert_string_equal(copy, pairs[i][1]);
		free(copy);
	}
	copy = symbol_name__copy(huge);
	assert_true(strlen(copy) <= 16384);
	free(copy);
	free(huge);
}

static void assert_cleaned(const char *text, const char *expected)
{
	char *copy = strdup(text);

	clean_text(copy);
	assert_string_equal(copy, expected);
	free(copy);
}

static void text_is_safe_to_print(void **state)
{
	(void)state;
	assert_cleaned("plain", "plain");
	assert_cleaned("a\033[31mb\nc\177", "a?[31mb?c?");
	assert_cleaned("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
	assert_cleaned("\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80");
	assert_cleaned("\xc2\x9b"
		       "1m",
		       "??1m");
	assert_cleaned("\xc0\xaf \xed\xa0\x80 \xf5\x80\x80\x80 \xff", "?? ??? ???? ?");
	assert_cleaned("cut \xe2\x82", "cut ??");
	assert_cleaned("\xe0\x80\x80 \xf4\x90\x80\x80", "??? ????");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_language),
		cmocka_unit_test(what_is_not_mangled_stays),
		cmocka_unit_test(exponential_names_are_given_up),
		cmocka_unit_test(many_exponential_names),
		cmocka_unit_test(deep_and_long_names),
		cmocka_unit_test(random_names),
		cmocka_unit_test(copies_lose_the_version),
		cmocka_unit_test(text_is_safe_to_print),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
