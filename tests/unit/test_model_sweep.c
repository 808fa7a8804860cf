/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose code it is that a sweep is told of, and what its verdicts are called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "model/sweep.h"

static struct sweep_code *new_code(void)
{
	struct sweep_code *code = calloc(1, sizeof(*code));

	assert_non_null(code);
	return code;
}

/* A PID that was given out again is another process, and nobody's code is told twice. */
static void test_set_code(void **state)
{
	const struct sweep_row rows[] = {
		{.pid = 7, .start_ns = 1}, {.pid = 7, .start_ns = 2}, {.cgroup = "/a"}};
	struct sweep *sweep = sweep__new();
	struct sweep_code *code = new_code();

	(void)state;
	assert_non_null(sweep);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(sweep__add(sweep, &rows[i]), 0);
	assert_false(sweep__set_code(sweep, 7, 3, code));
	assert_false(sweep__set_code(sweep, 8, 2, code));
	assert_true(sweep__set_code(sweep, 7, 2, code));
	assert_null(sweep->rows.items[0].code);
	assert_ptr_equal(sweep->rows.items[1].code, code);
	assert_null(sweep->rows.items[2].code);
	code = new_code();
	assert_false(sweep__set_code(sweep, 7, 2, code));
	sweep_code__free(code);
	sweep_code__free(NULL);
	sweep__free(sweep);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(sweep_look__name(SWEEP_LOOK_WAITS), "waits");
	assert_string_equal(sweep_look__name(SWEEP_LOOK_WINDOWS), "windows");
	assert_string_equal(sweep_look__name(SWEEP_LOOK_EXACT), "exact");
	assert_string_equal(sweep_look__name(SWEEP_LOOK_REFUSED), "refused");
	assert_string_equal(sweep_look__name(0), "unknown");
	assert_string_equal(sweep_look__name(SWEEP_LOOK_CNT), "unknown");
	assert_string_equal(cohort_state__name(COHORT_UNKNOWN), "unknown");
	assert_string_equal(cohort_state__name(COHORT_GROWING), "growing");
	assert_string_equal(cohort_state__name(COHORT_BOUNDED), "bounded");
	assert_string_equal(cohort_state__name(COHORT_STARTUP), "startup");
	assert_string_equal(cohort_state__name(COHORT_CHURN), "churn");
	assert_string_equal(cohort_state__name(COHORT_STATE_CNT), "unknown");
	assert_string_equal(cohort_doubt__name(COHORT_CERTAIN), "certain");
	assert_string_equal(cohort_doubt__name(COHORT_TOO_FEW), "too_few");
	assert_string_equal(cohort_doubt__name(COHORT_TOO_YOUNG), "too_young");
	assert_string_equal(cohort_doubt__name(COHORT_MIXED), "mixed");
	assert_string_equal(cohort_doubt__name(COHORT_RESIZED), "resized");
	assert_string_equal(cohort_doubt__name(COHORT_PROCESS), "process");
	assert_string_equal(cohort_doubt__name(COHORT_DOUBT_CNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_code),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
