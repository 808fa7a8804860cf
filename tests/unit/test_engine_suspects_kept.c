/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Of whose code what was known is told: of a service's process before, as long as there is nothing
 * to tell of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/suspects_state.h"

#define FIRST 100 /* process of the service */
#define START 7	  /* of all processes */

static const struct suspects_opts no_opts;

static struct sweep_code *new_code(enum cohort_state state)
{
	const struct sweep_site site = {.verdict.state = state};
	struct sweep_code *code = calloc(1, sizeof(*code));

	assert_non_null(code);
	code->obstacle = strdup("");
	assert_int_equal(array_push(&code->sites, site), 0);
	return code;
}

static struct sweep *new_sweep(pid_t pid, pid_t first)
{
	const struct sweep_row row = {
		.pid = pid, .start_ns = START, .first_pid = first, .first_start_ns = START};
	struct sweep *sweep = sweep__new();

	assert_non_null(sweep);
	assert_int_equal(sweep__add(sweep, &row), 0);
	return sweep;
}

/* Something was known of a process that is not there any more. */
static void remember(struct suspects *suspects, pid_t pid, pid_t first, uint64_t told_ns,
		     enum cohort_state state)
{
	struct sweep *sweep = new_sweep(pid, first);
	struct suspect_memo memo = {
		.suspicion = {.pid = pid,
			      .start_ns = START,
			      .first_pid = first,
			      .first_start_ns = START},
		.told_ns = told_ns,
	};

	assert_true(sweep__set_code(sweep, pid, START, new_code(state)));
	memo.code = kept_code__new(sweep, &sweep->rows.items[0]);
	assert_non_null(memo.code);
	assert_int_equal(array_push(&suspects->memos, memo), 0);
	sweep__free(sweep);
}

static struct suspects *new_suspects(void)
{
	struct suspects *suspects = suspects__new(&no_opts);

	assert_non_null(suspects);
	remember(suspects, FIRST, FIRST, 1000, COHORT_GROWING);
	remember(suspects, 200, FIRST, 2000, COHORT_GROWING);
	remember(suspects, 300, FIRST, 3000, COHORT_CHURN);
	remember(suspects, 999, 999, 4000, COHORT_GROWING); /* another service */
	return suspects;
}

/* Returns whose code a report tells beside that of a process, 0 = nobody's. */
static pid_t told_of(pid_t pid, pid_t first, struct sweep_code *own, uint64_t now_ns,
		     uint64_t *ret_ago_ns)
{
	struct suspects *suspects = new_suspects();
	struct sweep *sweep = new_sweep(pid, first);
	const struct sweep_row *row = &sweep->rows.items[0];
	pid_t whose = 0;

	if (own)
		assert_true(sweep__set_code(sweep, pid, START, own));
	assert_int_equal(suspects__keep_told(suspects, sweep, now_ns), 0);
	if (row->kept)
		whose = row->kept->pid;
	*ret_ago_ns = row->kept_ns;
	/* It outlives those who knew it. */
	suspects__free(suspects);
	sweep__free(sweep);
	return whose;
}

static void test_report(void **state)
{
	uint64_t ago_ns;

	(void)state;
	assert_int_equal(told_of(400, FIRST, NULL, 5000, &ago_ns), 200);
	assert_int_equal(ago_ns, 3000);
	assert_int_equal(told_of(400, FIRST, new_code(COHORT_UNKNOWN), 5000, &ago_ns), 200);
	assert_int_equal(told_of(400, FIRST, new_code(COHORT_GROWING), 5000, &ago_ns), 0);
	/* Its own is not that of one before it. */
	assert_int_equal(told_of(200, FIRST, NULL, 5000, &ago_ns), FIRST);
	assert_int_equal(ago_ns, 4000);
	assert_int_equal(told_of(400, 400, NULL, 5000, &ago_ns), 0);
	assert_int_equal(told_of(999, 999, NULL, 5000, &ago_ns), 0);
	assert_int_equal(told_of(400, FIRST, NULL, 1500, &ago_ns), 200);
	assert_int_equal(ago_ns, 0);
}

/* Of one that was killed its own is told, whatever is before it, unless that says more. */
static pid_t told_of_killed(pid_t pid, pid_t first)
{
	struct suspects *suspects = new_suspects();
	struct sweep_row row = {
		.pid = pid, .start_ns = START, .first_pid = first, .first_start_ns = START};
	pid_t whose = 0;

	assert_int_equal(suspects__tell_row(suspects, &row, 5000), 0);
	if (row.kept)
		whose = row.kept->pid;
	sweep_row__free(&row);
	suspects__free(suspects);
	return whose;
}

static void test_kill(void **state)
{
	(void)state;
	assert_int_equal(told_of_killed(200, FIRST), 200);
	assert_int_equal(told_of_killed(FIRST, FIRST), FIRST);
	assert_int_equal(told_of_killed(300, FIRST), 200);
	assert_int_equal(told_of_killed(400, FIRST), 200);
	assert_int_equal(told_of_killed(999, 999), 999);
	assert_int_equal(told_of_killed(500, 500), 0);
}

/* A ledger that could not be read again is as old as it is. */
static void test_old_ledger(void **state)
{
	struct suspects *suspects = new_suspects();
	struct suspect suspect = {.suspicion = suspects->memos.items[1].suspicion};
	struct suspect *list[] = {&suspect};
	struct sweep_code *old = suspects->memos.items[1].code->code, *code;

	(void)state;
	old->ledger = (struct ledger){.is_known = true, .anon_bytes = 77};
	old->cause = (struct ledger_verdict){LEDGER_CAUSE_LIVE, 7};
	old->cause_ns = 600;
	suspects->list.items = list;
	suspects->list.cnt = 1;
	for (uint64_t now_ns = 5000; now_ns <= 7000; now_ns += 1000) {
		struct sweep *sweep = new_sweep(200, FIRST);

		code = new_code(COHORT_GROWING);
		code->cause_ns = code->watched_ns = now_ns;
		assert_true(sweep__set_code(sweep, 200, START, code));
		assert_int_equal(suspects__keep_told(suspects, sweep, now_ns), 0);
		assert_int_equal(code->ledger.anon_bytes, 77);
		assert_int_equal(code->ledger_ago_ns, now_ns - 2000);
		assert_int_equal(code->cause.bytes, 7);
		assert_int_equal(code->cause_ns, 600);
		sweep__free(sweep);
	}
	suspects->list.items = NULL;
	suspects->list.cnt = 0;
	suspects__free(suspects);
}

static void test_who_was_killed(void **state)
{
	struct suspects *suspects = new_suspects();

	(void)state;
	suspects->memos.items[1].was_killed = true;
	assert_true(suspects__was_killed(suspects, 200, START));
	assert_false(suspects__was_killed(suspects, 200, START + 1));
	assert_false(suspects__was_killed(suspects, FIRST, START));
	assert_false(suspects__was_killed(suspects, 12345, START));
	assert_false(suspects__saw_kill(suspects, 5000));
	suspects__free(suspects);
}

/* One that became a suspect after the time that is told of was watched for none. */
static void test_watched(void **state)
{
	static const uint8_t key[SIPHASH_BYTES] = "sixteen letters";
	static const struct pythons_opts python_opts;
	struct suspects *suspects = suspects__new(&no_opts);
	struct session session = {.pythons = pythons__new(&python_opts, 0, NULL, NULL, NULL)};
	struct suspect suspect = {
		.suspicion = {.pid = getpid(), .start_ns = START},
		.first.time_ns = 5000,
		.cost_ns = 10,
		.cohort = cohort__new(key, 16, 16),
	};

	(void)state;
	suspects->session = &session;
	for (uint64_t now_ns = 4999; now_ns <= 5001; now_ns++) {
		struct sweep *sweep = new_sweep(getpid(), FIRST);
		const struct sweep_row *row = &sweep->rows.items[0];

		assert_int_equal(suspects__tell_code(suspects, &suspect, sweep, now_ns), 0);
		assert_non_null(row->code);
		assert_int_equal(row->code->watched_ns, now_ns > 5000);
		assert_int_equal(row->code->cause_ns, now_ns > 5000);
		assert_true(row->code->ledger.is_known);
		assert_true(row->code->lost_percent == (now_ns > 5000 ? 1000 : 0));
		sweep__free(sweep);
	}
	cohort__free(suspect.cohort);
	pythons__free(session.pythons);
	suspects->session = NULL;
	suspects__free(suspects);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_report),	   cmocka_unit_test(test_kill),
		cmocka_unit_test(test_old_ledger), cmocka_unit_test(test_who_was_killed),
		cmocka_unit_test(test_watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
