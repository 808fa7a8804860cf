/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Places of control groups that have gone are used again; what they have in the tables stays counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "collect/shares.h"

#define UNIT 16
#define MANY (MAX_GROUPS / 4 * 3)

struct stage {
	struct tables *tables;
	struct shares_seen seen;
};

/* As many groups as there are places for but a few, each with `used` blocks. */
static struct stage *begin_stage(uint32_t cnt, uint64_t used)
{
	struct stage *stage = calloc(1, sizeof(*stage));

	assert_non_null(stage);
	stage->tables = calloc(1, sizeof(*stage->tables));
	assert_non_null(stage->tables);
	stage->tables->unit = UNIT;
	for (uint32_t i = 1; i <= cnt; i++) {
		struct group *group = &stage->tables->groups[i];

		group->cgroup = 1000 + i;
		group->used[TABLE_BLOCKS] = used;
		group->refused[TABLE_STACKS] = i;
		group->refused_bytes = i;
		stage->tables->used[TABLE_BLOCKS] += used / UNIT * UNIT;
	}
	return stage;
}

static void end_stage(struct stage *stage)
{
	free(stage->tables);
	free(stage);
}

static void see(struct stage *stage, uint32_t group)
{
	struct space space = {.group = group + 1};

	shares__see(&stage->seen, &space);
}

static void few_groups_keep_their_places(void **state)
{
	struct stage *stage = begin_stage(MANY - 1, 5);

	(void)state;
	assert_int_equal(shares__recycle(stage->tables, &stage->seen), 0);
	assert_int_equal(stage->tables->groups[1].cgroup, 1001);
	assert_int_equal(stage->tables->groups[1].used[TABLE_BLOCKS], 5);
	end_stage(stage);
}

static void those_with_processes_stay(void **state)
{
	struct stage *stage = begin_stage(MANY, 5);
	struct space unknown = {0};

	(void)state;
	see(stage, 7);
	see(stage, MANY);
	shares__see(&stage->seen, &unknown);
	assert_int_equal(shares__recycle(stage->tables, &stage->seen), MANY - 2);
	assert_int_equal(stage->tables->groups[7].cgroup, 1007);
	assert_int_equal(stage->tables->groups[7].refused[TABLE_STACKS], 7);
	assert_int_equal(stage->tables->groups[MANY].used[TABLE_BLOCKS], 5);
	for (uint32_t i = 1; i < MANY; i++) {
		const struct group *group = &stage->tables->groups[i];

		if (i == 7)
			continue;
		assert_int_equal(group->cgroup, 0);
		assert_int_equal(group->used[TABLE_BLOCKS], 0);
		assert_int_equal(group->refused[TABLE_STACKS], 0);
		assert_int_equal(group->refused_bytes, 0);
	}
	end_stage(stage);
}

/* Exactly as many entries are counted as before, to the last unit. */
static void nothing_is_forgotten(void **state)
{
	struct stage *stage = begin_stage(MANY, 3 * UNIT + 5);
	struct tables *tables = stage->tables;
	uint64_t all = (uint64_t)MANY * (3 * UNIT + 5), got;

	(void)state;
	assert_int_equal(shares__recycle(tables, &stage->seen), MANY);
	got = tables->groups[0].used[TABLE_BLOCKS] & (UNIT - 1);
	assert_int_equal(tables->used[TABLE_BLOCKS] + got, all);
	assert_int_equal(tables->groups[0].used[TABLE_BLOCKS], (uint64_t)MANY * 5);
	assert_int_equal(tables->used[TABLE_STACKS], 0);
	/* Given back by number 0, as those do whose place has gone. */
	for (uint64_t i = 0; i < (uint64_t)MANY * 5; i++)
		tables__give(tables, 0, TABLE_BLOCKS);
	assert_int_equal(tables->used[TABLE_BLOCKS], (uint64_t)MANY * 3 * UNIT);
	end_stage(stage);
}

/* What was given back twice is below nothing. */
static void less_than_nothing(void **state)
{
	struct stage *stage = begin_stage(MANY, 0);
	struct tables *tables = stage->tables;

	(void)state;
	tables__give(tables, 3, TABLE_BLOCKS);
	assert_int_equal((int64_t)tables->used[TABLE_BLOCKS], -UNIT);
	assert_int_equal(shares__recycle(tables, &stage->seen), MANY);
	assert_int_equal((int64_t)tables->used[TABLE_BLOCKS], -UNIT);
	assert_int_equal(tables->groups[0].used[TABLE_BLOCKS], UNIT - 1);
	end_stage(stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_groups_keep_their_places),
		cmocka_unit_test(those_with_processes_stay),
		cmocka_unit_test(nothing_is_forgotten),
		cmocka_unit_test(less_than_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
