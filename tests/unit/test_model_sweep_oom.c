/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of those that shared a limit: the first ones, in order, whatever comes in what order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/sweep_oom.h"

#define MANY 500

static void add(struct sweep_oom *oom, pid_t pid, uint64_t bytes, enum oom_fate fate)
{
	const struct sweep_row row = {.pid = pid, .comm = "x", .anon_bytes = bytes};

	assert_int_equal(sweep_oom__add(oom, &row, fate), 0);
}

static void test_order(void **state)
{
	struct sweep_oom *oom = sweep_oom__new("/a", NULL, NULL);
	static const pid_t order[] = {4, 1, 2, 3, 5}; /* of equal ones the lower number */

	(void)state;
	assert_non_null(oom);
	assert_string_equal(oom->cgroup, "/a");
	assert_string_equal(oom->title, "");
	add(oom, 5, 10, OOM_THERE);
	add(oom, 3, 70, OOM_GONE);
	add(oom, 1, 90, OOM_THERE);
	add(oom, 4, 20, OOM_KILLED);
	add(oom, 2, 70, OOM_THERE);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(oom->list.items[i].row.pid, order[i]);
	assert_int_equal(oom->process_cnt, 5);
	assert_int_equal(oom->anon_bytes, 260);
	sweep_oom__free(oom);
	sweep_oom__free(NULL);
}

static void test_many(void **state)
{
	struct sweep_oom *oom = sweep_oom__new(NULL, NULL, NULL);

	(void)state;
	for (int i = 0; i < MANY; i++) /* 7 and 500 have no common factor: all once, in disorder */
		add(oom, 1 + i, (uint64_t)(i * 7 % MANY), i == 0 ? OOM_KILLED : OOM_THERE);
	assert_int_equal(oom->process_cnt, MANY);
	assert_int_equal(oom->anon_bytes, MANY * (MANY - 1) / 2);
	assert_int_equal(oom->list.cnt, MAX_OOM_PROCESSES);
	assert_int_equal(oom->list.items[0].row.pid, 1);
	for (size_t i = 1; i < MAX_OOM_PROCESSES; i++)
		assert_int_equal(oom->list.items[i].row.anon_bytes, MANY - i);
	add(oom, 9999, UINT64_MAX, OOM_THERE); /* as nothing has it */
	assert_true(oom->anon_bytes == UINT64_MAX);
	sweep_oom__free(oom);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(oom_fate__name(OOM_THERE), "there");
	assert_string_equal(oom_fate__name(OOM_GONE), "gone");
	assert_string_equal(oom_fate__name(OOM_KILLED), "killed");
	assert_string_equal(oom_fate__name((enum oom_fate)0), "unknown");
	assert_string_equal(oom_fate__name(OOM_FATE_CNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
