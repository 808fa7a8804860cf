/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cli/alloc_fn_option.h"
#include "include/alloc_fn.h"

static const struct user_alloc_fn *last(const struct user_alloc_fns *fns)
{
	assert_true(fns->fns.cnt > 0);
	return &fns->fns.items[fns->fns.cnt - 1];
}

static void add_alloc(struct user_alloc_fns *fns, const char *text, const char *name, uint64_t cookie)
{
	char *message = NULL;

	assert_int_equal(user_alloc_fns__add_alloc(fns, text, &message), 0);
	assert_null(message);
	assert_string_equal(last(fns)->name, name);
	assert_int_equal(last(fns)->cookie, cookie);
}

static void add_free(struct user_alloc_fns *fns, const char *text, const char *name, unsigned int old_arg)
{
	char *message = NULL;

	assert_int_equal(user_alloc_fns__add_free(fns, text, &message), 0);
	assert_null(message);
	assert_string_equal(last(fns)->name, name);
	assert_int_equal(last(fns)->cookie, ALLOC_FN(ALLOC_OP_FREE, 0, 0, old_arg, 0));
}

static void test_alloc_fn(void **state)
{
	struct user_alloc_fns fns = {0};

	(void)state;
	add_alloc(&fns, "xmalloc:size=1", "xmalloc", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
	add_alloc(&fns, "xcalloc:count=1,size=2", "xcalloc", ALLOC_FN(ALLOC_OP_ALLOC, 2, 1, 0, 0));
	add_alloc(&fns, "pool_get:size=5,out=3", "pool_get", ALLOC_FN(ALLOC_OP_ALLOC, 5, 0, 0, 3));
	add_alloc(&fns, "xrealloc:old=1,size=2", "xrealloc", ALLOC_FN(ALLOC_OP_REALLOC, 2, 0, 1, 0));
	add_alloc(&fns, "f:old=1,count=2,size=3,out=4", "f", ALLOC_FN(ALLOC_OP_REALLOC, 3, 2, 1, 4));
	add_alloc(&fns, "_ZN4Pool3getEm:size=2", "_ZN4Pool3getEm", ALLOC_FN(ALLOC_OP_ALLOC, 2, 0, 0, 0));
	assert_int_equal(fns.fns.cnt, 6);
	assert_string_equal(fns.fns.items[0].name, "xmalloc");
	user_alloc_fns__free(&fns);
	assert_int_equal(fns.fns.cnt, 0);
	user_alloc_fns__free(&fns);
}

/* The probe must understand what the option has packed. */
static void test_cookie(void **state)
{
	struct user_alloc_fns fns = {0};
	uint64_t cookie;
	char *message = NULL;

	(void)state;
	assert_int_equal(user_alloc_fns__add_alloc(&fns, "f:old=1,count=2,size=3,out=4", &message), 0);
	cookie = last(&fns)->cookie;
	assert_int_equal(ALLOC_FN_OP(cookie), ALLOC_OP_REALLOC);
	assert_int_equal(ALLOC_FN_OLD_ARG(cookie), 1);
	assert_int_equal(ALLOC_FN_COUNT_ARG(cookie), 2);
	assert_int_equal(ALLOC_FN_SIZE_ARG(cookie), 3);
	assert_int_equal(ALLOC_FN_OUT_ARG(cookie), 4);
	assert_int_equal(ALLOC_FN_LAYER(cookie), LAYER_MALLOC);
	assert_int_equal(ALLOC_FN_SITE(cookie), 0);
	assert_int_equal(ALLOC_FN_SITE(ALLOC_FN_WITH_SITE(cookie, 0xfffffffeU)), 0xfffffffeU);
	assert_int_equal(ALLOC_FN_OLD_ARG(ALLOC_FN_WITH_SITE(cookie, 0xfffffffeU)), 1);
	user_alloc_fns__free(&fns);
}

static void test_free_fn(void **state)
{
	struct user_alloc_fns fns = {0};

	(void)state;
	add_free(&fns, "xfree", "xfree", 1);
	add_free(&fns, "pool_put:old=2", "pool_put", 2);
	add_free(&fns, "pool_put5:old=5", "pool_put5", 5);
	user_alloc_fns__free(&fns);
}

static void test_bad_alloc(void **state)
{
	static const char *const texts[] = {
		"",	      ":",	      "xmalloc",	"xmalloc:",	   ":size=1",
		"x:size",     "x:size=",      "x:size=0",	"x:size=6",	   "x:size=12",
		"x:size=-1",  "x:size=a",     "x:size=1,",	"x:,size=1",	   "x:size=1,,old=2",
		"x:old=1",    "x:count=1",    "x:size=1 ",	"x: size=1",	   "x:Size=1",
		"x:sizes=1",  "x:siz=1",      "x:=1",		"x:size=1;old=2",  "x:size=1,size=2",
		"x:size=1:1", "x:size=1,out", "x:size=1,foo=2", "ns::get:size=1",
	};
	struct user_alloc_fns fns = {0};
	char want[200];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *message = NULL;

		assert_int_equal(user_alloc_fns__add_alloc(&fns, texts[i], &message), -EINVAL);
		snprintf(want, sizeof(want),
			 "--alloc-fn: '%s' is not NAME:size=N with N the number of the size argument, 1 to 5 (also "
			 "count=N, old=N, out=N)",
			 texts[i]);
		assert_string_equal(message, want);
		free(message);
	}
	assert_int_equal(fns.fns.cnt, 0);
}

static void test_bad_free(void **state)
{
	static const char *const texts[] = {
		"", ":", ":old=1", "x:", "x:old", "x:old=", "x:old=0", "x:old=6", "x:old=1,", "x:size=1",
		"x:old=1,size=2", "x:count=1", "x:out=1", "x:old=1,old=1",
	};
	struct user_alloc_fns fns = {0};
	char want[200];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *message = NULL;

		assert_int_equal(user_alloc_fns__add_free(&fns, texts[i], &message), -EINVAL);
		snprintf(want, sizeof(want),
			 "--free-fn: '%s' is not NAME or NAME:old=N with N the number of the pointer argument, 1 to 5",
			 texts[i]);
		assert_string_equal(message, want);
		free(message);
	}
	assert_int_equal(fns.fns.cnt, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc_fn),	  cmocka_unit_test(test_cookie),   cmocka_unit_test(test_free_fn),
		cmocka_unit_test(test_bad_alloc), cmocka_unit_test(test_bad_free),
	};

	return cmocka_run_group_tests_name("cli alloc fn", tests, NULL, NULL);
}
