/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes when address spaces have ended, and whose room in the tables it was. */
#include "collect_maps_fixture.h"

#define STACK 0x77
#define MINUTE_NS (60ULL * 1000000000)

static bool has_space(const struct world *world, uint32_t id)
{
	struct space kernel;

	return !bpf_map_lookup_elem(world->maps.spaces, &id, &kernel);
}

/* A space of which no event has come: it is in the kernel's table alone. */
static void add_stranger(struct world *world, uint32_t id, uint64_t born_ns, uint32_t flags)
{
	const struct space kernel = {.tgid = 500, .born_ns = born_ns, .flags = flags, .group = 4};

	assert_int_equal(bpf_map_update_elem(world->maps.spaces, &id, &kernel, BPF_ANY), 0);
	add_block(world, id, 0x1000,
		  (struct block){.size = 100, .layer = LAYER_MALLOC, .stack_id = STACK});
	world->tables.groups[3].used[TABLE_BLOCKS]++;
	world->tables.groups[3].used[TABLE_COSTS]++;
}

/* Those whose events were lost go in the end, with all that they had. */
static void test_strangers(void **state)
{
	struct world *world = enter(state);

	world->opts.now_ns = 10 * MINUTE_NS;
	add_stranger(world, 2, 8 * MINUTE_NS, SPACE_ENDED | SPACE_RELEASED);
	report(world);
	assert_false(has_space(world, 2));
	assert_false(has_block(world, 2, 0x1000));
	assert_int_equal(world->tables.groups[3].used[TABLE_BLOCKS], 0);
	assert_int_equal(world->tables.groups[3].used[TABLE_COSTS], 0);
	assert_int_equal(world->snap->ended_bytes, 100);
}

/* Events may be on their way; and a process that runs keeps what it has. */
static void test_strangers_that_stay(void **state)
{
	struct world *world = enter(state);

	world->opts.now_ns = 10 * MINUTE_NS;
	add_stranger(world, 2, 10 * MINUTE_NS - 1000, SPACE_ENDED | SPACE_RELEASED);
	add_stranger(world, 3, MINUTE_NS, 0);
	report(world);
	assert_true(has_space(world, 2) && has_block(world, 2, 0x1000));
	assert_true(has_space(world, 3) && has_block(world, 3, 0x1000));
	assert_int_equal(world->tables.groups[3].used[TABLE_BLOCKS], 2);
}

static void test_known(void **state)
{
	struct world *world = enter(state);
	struct space_info *space = add_space(world, 1, 100);

	add_block(world, 1, 0x2000,
		  (struct block){.size = 50, .layer = LAYER_MALLOC, .stack_id = STACK});
	report(world);
	assert_true(has_block(world, 1, 0x2000));
	end_space(world, space);
	report(world);
	assert_false(has_space(world, 1));
	assert_false(has_block(world, 1, 0x2000));
	assert_null(space_table__find(&world->table, 1));
	assert_int_equal(world->snap->ended_bytes, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_strangers),
		WORLD_TEST(test_strangers_that_stay),
		WORLD_TEST(test_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
