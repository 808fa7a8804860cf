/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Large numbers, with the tool's default table sizes. */
#include "lib/harness.h"

static void test_1300000_live_blocks(void **state)
{
	struct run run = run__trace(ARGS("many", "blocks", "1300000"), NO_ARGS, NULL);

	(void)state;
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_int_equal(report__loss(&run.report, "map_full"), 0);
}

static void test_30000_distinct_stacks(void **state)
{
	struct run run = run__trace(ARGS("many", "stacks", "30000"), NO_ARGS, NULL);

	(void)state;
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_int_equal(report__loss(&run.report, "stacks_lost"), 0);
	assert_int_equal(report__loss(&run.report, "stack_collisions"), 0);
	assert_int_equal(report__stack_cnt(&run.report), 30000);
}

/* A stack table that is too small loses the stack of a block, never the block. */
static void test_stack_table_full(void **state)
{
	struct run run =
		run__trace(ARGS("many", "stacks", "3000"), ARGS("--max-stacks", "1000"), NULL);
	struct json_object *expect = expects__of(&run.expects, 0);
	int64_t lost =
		report__loss(&run.report, "stacks_lost") + report__loss(&run.report, "costs_full");
	struct tally got = report__sum(&run.report, expect__pid(expect), "malloc", NULL);

	(void)state;
	assert_true(lost > 0);
	if (!report__loss(&run.report, "costs_full"))
		assert_tally(&run.report, "with lost stacks", got, expect__totals(expect));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_1300000_live_blocks),
		E2E_TEST(test_30000_distinct_stacks),
		E2E_TEST(test_stack_table_full),
	};

	return harness__main("e2e scale", tests, sizeof(tests) / sizeof(tests[0]));
}
