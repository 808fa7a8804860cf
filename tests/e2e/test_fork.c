/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Process trees: who owns which copy of a block. */
#include "lib/harness.h"

static void test_child_frees_what_it_inherited(void **state)
{
	(void)state;
	check_exact(ARGS("tree", "inherit"), NO_ARGS, NULL);
}

/* A filter leaves blocks out, not the frees of those that fork has handed down. */
static void test_child_frees_what_it_inherited_under_a_filter(void **state)
{
	(void)state;
	check_exact(ARGS("tree", "inherit"), ARGS("--min-size", "1"), NULL);
}

static void test_three_generations(void **state)
{
	(void)state;
	check_exact(ARGS("tree", "grandchild"), NO_ARGS, NULL);
}

static void test_parent_reuses_an_address_the_child_still_has(void **state)
{
	(void)state;
	check_exact(ARGS("tree", "reuse"), NO_ARGS, NULL);
}

static void test_many_children_that_free_and_exit(void **state)
{
	(void)state;
	check_exact(ARGS("tree", "swarm"), NO_ARGS, NULL);
}

/* Checks the process that was traced; its short-lived child has ended and holds nothing any more.
 */
static void check_parent(const char *mode)
{
	struct run run = run__trace(ARGS("tree", mode), NO_ARGS, NULL);
	int found = 0;

	for (size_t i = 0; i < run.expects.cnt; i++) {
		struct json_object *expect = expects__of(&run.expects, (int)i);

		if (expect__pid(expect) != run.leaker->pid)
			continue;
		assert_expect(&run.report, expect);
		found++;
	}
	assert_int_equal(found, 1);
	assert_int_equal(report__loss(&run.report, "unknown_frees"), 0);
}

static void test_vfork_and_exec(void **state)
{
	(void)state;
	check_parent("vfork");
}

static void test_posix_spawn(void **state)
{
	(void)state;
	check_parent("spawn");
}

static void test_vfork_child_works_in_the_parents_heap(void **state)
{
	(void)state;
	check_parent("vfork-free");
}

static void test_exec_ends_the_old_images_blocks(void **state)
{
	struct run run = run__trace(ARGS("tree", "exec"), NO_ARGS, NULL);
	struct json_object *expect = expects__of(&run.expects, 0);
	struct tally old = report__sum(&run.report, 0, "malloc", "parent_leak");

	(void)state;
	assert_int_equal(run.expects.cnt, 1);
	assert_live(&run.report, "the new image", report__sum(&run.report, 0, "malloc", NULL),
		    expect__totals(expect));
	assert_tally(&run.report, "leak_after_exec",
		     report__sum(&run.report, expect__pid(expect), "malloc", "leak_after_exec"),
		     expect__function(expect, "functions", "leak_after_exec"));
	assert_int_equal(old.live_bytes, 0);
	assert_int_equal(old.live_count, 0);
}

/* The same when the tool starts the root of the tree. */
static void test_tree_started_by_the_tool(void **state)
{
	struct run run = run__command(ARGS("tree", "exec"), NO_ARGS, NULL);

	(void)state;
	assert_expect_functions(&run.report, expects__of(&run.expects, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_child_frees_what_it_inherited),
		E2E_TEST(test_child_frees_what_it_inherited_under_a_filter),
		E2E_TEST(test_three_generations),
		E2E_TEST(test_parent_reuses_an_address_the_child_still_has),
		E2E_TEST(test_many_children_that_free_and_exit),
		E2E_TEST(test_vfork_and_exec),
		E2E_TEST(test_posix_spawn),
		E2E_TEST(test_vfork_child_works_in_the_parents_heap),
		E2E_TEST(test_exec_ends_the_old_images_blocks),
		E2E_TEST(test_tree_started_by_the_tool),
	};

	return harness__main("e2e fork", tests, sizeof(tests) / sizeof(tests[0]));
}
