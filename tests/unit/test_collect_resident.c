/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is live in the heaps of which it is known what is resident. */
#include "collect_maps_fixture.h"

#define HEAP 0x5500000000
#define OTHER_HEAP 0x7f0004000000
#define HEAP_LEN 0x21000

static const struct heap_range heaps[] = {
	{HEAP, HEAP + HEAP_LEN},
	{OTHER_HEAP, OTHER_HEAP + HEAP_LEN},
};

static void add_malloc(struct world *world, uint32_t space, uint64_t addr, uint64_t size,
		       uint32_t flags)
{
	const struct block block = {
		.size = size, .stack_id = STACK_LOST, .layer = LAYER_MALLOC, .flags = flags};

	add_block(world, space, addr, block);
}

static void test_heaps(void **state)
{
	struct world *world = enter(state);
	const struct resident_view views[] = {
		{.space = 2, .resident = {.is_known = true, .total_bytes = 7}},
		{.space = 1,
		 .resident = {.is_known = true, .total_bytes = 1 << 20, .heaps_bytes = 4096},
		 .heaps = heaps,
		 .heap_cnt = 2},
	};
	const struct snap_resident *resident;
	struct snapshot *snap;

	add_space(world, 1, 100);
	add_space(world, 2, 200);
	add_space(world, 3, 300);
	world->opts.residents = views;
	world->opts.resident_cnt = 2;
	world->opts.is_final = false; /* the sums of nested blocks are not as the kernel side's */
	add_malloc(world, 1, HEAP, 1, 0);		      /* 32 */
	add_malloc(world, 1, HEAP + HEAP_LEN - 16, 24, 0);    /* 32 */
	add_malloc(world, 1, OTHER_HEAP + 64, 25, 0);	      /* 48 */
	add_malloc(world, 1, HEAP + 256, 1000, BLOCK_NESTED); /* 1008 in use, another's */
	add_malloc(world, 1, HEAP - 16, 100000, 0);
	add_malloc(world, 1, HEAP + HEAP_LEN, 100000, 0);
	add_malloc(world, 2, HEAP, 100000, 0);
	add_malloc(world, 3, HEAP, 100000, 0);
	snap = report(world);
	resident = &snap->procs.items[0].resident;
	assert_true(resident->is_known);
	assert_int_equal(resident->total_bytes, 1 << 20);
	assert_int_equal(resident->heaps_bytes, 4096);
	assert_int_equal(resident->heaps_live_bytes, 1 + 24 + 25);
	assert_int_equal(resident->heaps_used_bytes, 32 + 32 + 48 + 1008);
	resident = &snap->procs.items[1].resident;
	assert_int_equal(resident->total_bytes, 7);
	assert_int_equal(resident->heaps_used_bytes, 0);
	assert_false(snap->procs.items[2].resident.is_known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {WORLD_TEST(test_heaps)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
