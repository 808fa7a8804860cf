/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that was refused, from the table of the kernel side into the snapshot. */
#include "collect_maps_fixture.h"

#include "util/clock.h"

static void add_failure(struct world *world, struct failure_key key, struct failure failure)
{
	assert_int_equal(bpf_map_update_elem(world->maps.failures, &key, &failure, BPF_ANY), 0);
}

static bool has_failure(const struct world *world, struct failure_key key)
{
	struct failure failure;

	return !bpf_map_lookup_elem(world->maps.failures, &key, &failure);
}

static struct snapshot *report_failures(struct world *world)
{
	struct snapshot *snap = report(world);

	assert_int_equal(collector__read_failures(world->collector, snap), 0);
	return snap;
}

static void add_stack(struct world *world, uint64_t id, uint64_t frame)
{
	add_native_stack(world, id, 0, &frame, 1, UNWIND_COMPLETE);
}

static void test_told_in_order(void **state)
{
	struct world *world = enter(state);
	const struct failure_limit limits[] = {
		{.stack_id = 8, .space = 1, .cause = FAILURE_CAUSE_MAPPING, .limit = "another"},
		{.stack_id = 7, .space = 2, .cause = FAILURE_CAUSE_MAPPING, .limit = "another"},
		{.stack_id = 7, .space = 1, .cause = FAILURE_CAUSE_ALLOC, .limit = "another"},
		{.stack_id = 7,
		 .space = 1,
		 .cause = FAILURE_CAUSE_MAPPING,
		 .limit = "the ulimit",
		 .bytes = 5},
		{.stack_id = STACK_LOST,
		 .space = 1,
		 .cause = FAILURE_CAUSE_MEMORY_ERROR,
		 .bytes = 77},
	};
	uint64_t to_real = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	const struct snap_failure *failures;
	struct snapshot *snap;

	add_space(world, 1, 100);
	add_space(world, 2, 101);
	add_stack(world, 7, 0x1234);
	add_stack(world, 8, 0x5678);
	add_failure(world, (struct failure_key){8, 2, FAILURE_CAUSE_MEMORY_ERROR},
		    (struct failure){.first_ns = 300, .cnt = 1});
	add_failure(world, (struct failure_key){7, 1, FAILURE_CAUSE_MAPPING},
		    (struct failure){.first_ns = 100, .last_ns = 900, .bytes = 1 << 30, .cnt = 5});
	add_failure(world, (struct failure_key){STACK_LOST, 1, FAILURE_CAUSE_ALLOC},
		    (struct failure){.first_ns = 200, .bytes = 10, .cnt = 2});
	add_failure(world, (struct failure_key){STACK_LOST, 1, FAILURE_CAUSE_MEMORY_ERROR},
		    (struct failure){.first_ns = 400, .cnt = 1});
	add_failure(world, (struct failure_key){7, 3, FAILURE_CAUSE_ALLOC}, /* nobody knows it */
		    (struct failure){.first_ns = 250, .cnt = 1});
	world->opts.failure_limits = limits;
	world->opts.failure_limit_cnt = sizeof(limits) / sizeof(limits[0]);
	snap = report_failures(world);
	assert_int_equal(snap->failures.cnt, 4);
	failures = snap->failures.items;
	assert_int_equal(failures[0].kind, FAILURE_MAPPING);
	assert_int_equal(failures[0].proc, 0);
	assert_int_equal(failures[0].bytes, 1 << 30);
	assert_int_equal(failures[0].cnt, 5);
	assert_string_equal(failures[0].limit, "the ulimit");
	assert_int_equal(snap->frames.items[snap->nodes.items[failures[0].stack].frame].offset,
			 0x1234);
	assert_true(llabs((long long)(failures[0].time_ns - to_real - 100)) <
		    (long long)NS_PER_SEC);
	assert_int_equal(failures[1].time_ns - failures[0].time_ns, 100);
	assert_int_equal(failures[1].kind, FAILURE_ALLOC);
	assert_int_equal(failures[1].stack, 0);
	assert_string_equal(failures[1].limit, "");
	assert_int_equal(failures[2].kind, FAILURE_MEMORY_ERROR);
	assert_int_equal(failures[2].proc, 1);
	assert_int_equal(failures[2].time_ns - failures[0].time_ns, 200);
	assert_int_equal(failures[2].bytes, 0);
	assert_int_equal(failures[3].bytes, 77);
	assert_string_equal(failures[3].limit, "");
}

/* It happened after the stacks were read for the report. */
static void test_stack_that_is_new(void **state)
{
	struct world *world = enter(state);
	struct snapshot *snap;

	add_space(world, 1, 100);
	snap = report(world);
	add_stack(world, 7, 0x1234);
	add_failure(world, (struct failure_key){7, 1, FAILURE_CAUSE_ALLOC},
		    (struct failure){.first_ns = 100, .cnt = 1});
	assert_int_equal(collector__read_failures(world->collector, snap), 0);
	assert_int_equal(snap->failures.cnt, 1);
	assert_int_not_equal(snap->failures.items[0].stack, 0);
}

static void test_purged_with_its_space(void **state)
{
	const struct failure_key gone = {7, 1, FAILURE_CAUSE_ALLOC},
				 kept = {7, 2, FAILURE_CAUSE_ALLOC};
	struct world *world = enter(state);

	add_space(world, 1, 100);
	add_space(world, 2, 101);
	add_failure(world, gone, (struct failure){.cnt = 1});
	add_failure(world, kept, (struct failure){.cnt = 1});
	assert_int_equal(report_failures(world)->failures.cnt, 2);
	end_space(world, space_table__find(&world->table, 1));
	assert_int_equal(report_failures(world)->failures.cnt, 1);
	assert_false(has_failure(world, gone));
	assert_true(has_failure(world, kept));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_told_in_order),
		WORLD_TEST(test_stack_that_is_new),
		WORLD_TEST(test_purged_with_its_space),
	};

	return cmocka_run_group_tests_name("collect/failures", tests, NULL, NULL);
}
