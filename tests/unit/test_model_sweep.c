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

static void add_row(struct sweep *sweep, pid_t pid, const char *cgroup, const char *limit,
		    uint64_t room_mib, double mib_per_hour)
{
	const struct sweep_row row = {
		.pid = pid,
		.cgroup = (char *)cgroup,
		.limit_cgroup = (char *)limit,
		.room_bytes = room_mib << 20,
		.growth.bytes_per_hour = mib_per_hour * (1 << 20),
	};

	assert_int_equal(sweep__add(sweep, &row), 0);
}

static void assert_hours(const struct sweep *sweep, size_t row, uint64_t hours)
{
	assert_int_equal(sweep->rows.items[row].seconds_to_limit, hours * 3600);
}

/* Ten workers use up their group's room ten times as fast as one of them, wherever below it they
 * are. Who has only a name that begins alike does not. */
static void test_shared_limit(void **state)
{
	struct sweep *sweep = sweep__new();
	const char *groups[] = {"/web", "/web/a", "/web/a/b"};

	(void)state;
	assert_non_null(sweep);
	add_row(sweep, 90, "/web-2", "/web-2", 100, 10);
	add_row(sweep, 91, "/we", "", 1000, 10);
	add_row(sweep, 92, "", "", 1000, 20);
	for (pid_t i = 0; i < 10; i++)
		add_row(sweep, 100 + i, groups[i % 3], "/web", 100, 10);
	add_row(sweep, 110, "/web/own", "/web/own", 50, 60);
	assert_int_equal(sweep__find_times(sweep), 0);
	assert_hours(sweep, 0, 10);
	assert_hours(sweep, 1, 5); /* all: 10 + 10 + 20 + 100 + 60 = 200 */
	assert_hours(sweep, 2, 5);
	for (size_t i = 3; i < 13; i++) /* 100 MiB of room for 100 + 60 per hour */
		assert_int_equal(sweep->rows.items[i].seconds_to_limit, 2250);
	assert_int_equal(sweep->rows.items[13].seconds_to_limit, 3000);
	sweep__free(sweep);
}

/* What a group's row tells is the growth of all below it. */
static void test_group_at_limit(void **state)
{
	struct sweep *sweep = sweep__new();

	(void)state;
	assert_non_null(sweep);
	add_row(sweep, 7, "/a/b/c", "/a", 1000, 10);
	add_row(sweep, 0, "/a/b", "/a", 1000, 100);
	add_row(sweep, 8, "/a/b", "/a/b", 10, 10);
	add_row(sweep, 9, "/a/b-2", "/a", 1000, 25);
	add_row(sweep, 10, "/a/b/c/d", "/a/b/c", 30, 5);
	add_row(sweep, 0, "/x", "/", 500, 50);
	assert_int_equal(sweep__find_times(sweep), 0);
	assert_hours(sweep, 0, 8); /* 100 + 25 */
	assert_hours(sweep, 1, 8);
	assert_int_equal(sweep->rows.items[2].seconds_to_limit, 360);
	assert_hours(sweep, 3, 8);
	assert_hours(sweep, 4, 2); /* 10 + 5: the group's row is above that limit */
	assert_int_equal(sweep->rows.items[5].seconds_to_limit, 10285); /* 175 */
	sweep__free(sweep);
	sweep = sweep__new();
	assert_int_equal(sweep__find_times(sweep), 0);
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
		cmocka_unit_test(test_shared_limit),
		cmocka_unit_test(test_group_at_limit),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
