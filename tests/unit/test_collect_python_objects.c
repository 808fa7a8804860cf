/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the pools of Python's object allocator add to a report: who lives, who was missed. */
#include "collect_maps_fixture.h"
#include "collect_pools_fixture.h"

#include "bpf/sample.bpf.h"

struct pools_world {
	struct world *world;
	struct fake_pools *pools, *before;
	struct python_view views[2];
};

/* A process with a Python whose frees are not seen, two pools, and nothing recorded. */
static struct pools_world begin(void **state)
{
	struct pools_world scene = {.world = enter(state)};

	add_space(scene.world, 1, 100);
	scene.pools = make_pools();
	scene.before = make_pools();
	add_pool(scene.pools, POOL_AT(0), 48);
	add_pool(scene.pools, POOL_AT(1), 512);
	scene.views[0] = (struct python_view){
		.space = 1,
		.version = "3.11.2",
		.frames = COVERAGE_PARTIAL,
		.objects = COVERAGE_PROBED,
		.frames_reason = "a test",
		.objects_reason = "",
		.alloc_sites = 171,
		.scan = &scene.pools->scan,
	};
	return scene;
}

static void end(struct pools_world *scene)
{
	free(scene->pools);
	free(scene->before);
}

static struct snapshot *look(struct pools_world *scene)
{
	scene->world->opts.pythons = scene->views;
	scene->world->opts.python_cnt = scene->views[1].space ? 2 : 1;
	return report(scene->world);
}

static const struct snap_python *python_of(const struct snapshot *snap, size_t proc)
{
	return &snap->procs.items[proc].python;
}

static void make_object(struct pools_world *scene, uint32_t space, uint64_t addr, uint64_t size,
			uint64_t born_ns)
{
	add_block(scene->world, space, addr,
		  (struct block){
			  .size = size, .stack_id = 7, .layer = LAYER_PYTHON, .born_ns = born_ns});
}

/* ---- life and death ---- */

static void test_unseen_frees(void **state)
{
	struct pools_world scene = begin(state);
	const struct snap_python *python;
	struct snapshot *snap;

	for (uint32_t i = 0; i < 10; i++)
		make_object(&scene, 1, block_at(scene.pools, 0, i), 48, BORN);
	for (uint32_t i = 0; i < 4; i++)
		use_block(scene.pools, 0, i, 0);
	snap = look(&scene);
	check_live(find_row(snap, 0, LAYER_PYTHON), 4 * 48, 4);
	assert_int_equal(find_row(snap, 0, LAYER_PYTHON)->cost.alloc_count, 10);
	check_accounted(snap);
	python = python_of(snap, 0);
	assert_string_equal(python->version, "3.11.2");
	assert_string_equal(python->frames_reason, "a test");
	assert_int_equal(python->alloc_sites, 171);
	assert_true(python->was_scanned);
	assert_false(python->has_frees);
	assert_int_equal(python->live_cnt, 4);
	assert_int_equal(python->live_bytes, 4 * 48);
	assert_int_equal(python->seen_cnt, 4);
	assert_int_equal(python->missed_cnt, 0);
	assert_int_equal(python->dead_cnt, 0);
	end(&scene);
}

/* Recording goes on while the pools and then the tables are read. */
static void test_younger_than_the_look(void **state)
{
	struct pools_world scene = begin(state);
	struct snapshot *snap;

	make_object(&scene, 1, block_at(scene.pools, 0, 0), 48, NOW);
	make_object(&scene, 1, block_at(scene.pools, 0, 1), 48, NOW + 1);
	make_object(&scene, 1, block_at(scene.pools, 0, 2), 48, NOW - 1);
	snap = look(&scene);
	check_live(find_row(snap, 0, LAYER_PYTHON), 2 * 48, 2);
	check_accounted(snap);
	end(&scene);
}

static void test_not_looked_at(void **state)
{
	struct pools_world scene = begin(state);
	struct snapshot *snap;

	make_object(&scene, 1, block_at(scene.pools, 0, 0), 48, BORN);
	scene.views[0].scan = NULL;
	snap = look(&scene);
	check_live(find_row(snap, 0, LAYER_PYTHON), 0, 0); /* who lives nobody can tell */
	check_accounted(snap);
	assert_false(python_of(snap, 0)->was_scanned);
	assert_int_equal(python_of(snap, 0)->live_cnt, 0);
	scene.views[0].has_frees = true;
	snap = look(&scene);
	check_live(find_row(snap, 0, LAYER_PYTHON), 48, 1);
	check_accounted(snap);
	end(&scene);
}

/* Frees are seen: a block that is not in use is a miss, and told as such. */
static void test_seen_frees(void **state)
{
	struct pools_world scene = begin(state);
	struct snapshot *snap;

	for (uint32_t i = 0; i < 3; i++)
		make_object(&scene, 1, block_at(scene.pools, 0, i), 48, BORN);
	use_block(scene.pools, 0, 0, 0);
	scene.views[0].has_frees = true;
	snap = look(&scene);
	check_live(find_row(snap, 0, LAYER_PYTHON), 3 * 48, 3);
	check_accounted(snap);
	assert_int_equal(python_of(snap, 0)->dead_cnt, 2);
	assert_int_equal(python_of(snap, 0)->seen_cnt, 1);
	end(&scene);
}

static void test_other_layers_untouched(void **state)
{
	struct pools_world scene = begin(state);
	struct snapshot *snap;

	add_block(scene.world, 1, 0x1000,
		  (struct block){.size = 48, .stack_id = 7, .layer = LAYER_MALLOC});
	snap = look(&scene);
	check_live(find_row(snap, 0, LAYER_MALLOC), 48, 1);
	check_accounted(snap);
	end(&scene);
}

static void test_sampled(void **state)
{
	struct pools_world scene = begin(state);
	const uint64_t mean = 480;
	uint64_t weight = sample_weight(sample_probability(48, mean));
	const struct cost_key key = {.stack_id = 7, .space = 1, .layer = LAYER_PYTHON};
	const struct stack_cost sums = {.alloc_bytes = 2 * (48 * weight >> WEIGHT_SHIFT),
					.alloc_count = 2 * weight};
	const struct snap_row *row;

	make_object(&scene, 1, use_block(scene.pools, 0, 0, 0), 48, BORN);
	make_object(&scene, 1, block_at(scene.pools, 0, 1), 48, BORN);
	assert_int_equal(bpf_map_update_elem(scene.world->maps.stack_costs, &key, &sums, BPF_ANY),
			 0);
	scene.world->opts.sample_bytes = mean;
	scene.world->opts.is_filtered = true;
	row = find_row(look(&scene), 0, LAYER_PYTHON);
	assert_int_equal(row->cost.live_bytes, 48 * weight >> WEIGHT_SHIFT);
	assert_int_equal(row->cost.free_bytes, 48 * weight >> WEIGHT_SHIFT);
	assert_in_range(row->cost.live_count, 10, 11);
	end(&scene);
}

/* ---- coverage ---- */

static void test_coverage(void **state)
{
	struct pools_world scene = begin(state);
	const struct snap_python *python;

	add_pool(scene.before, POOL_AT(0), 48);
	for (uint32_t i = 0; i < 30; i++)
		use_block(scene.pools, 0, i, 0);
	for (uint32_t i = 0; i < 20; i++)
		use_block(scene.before, 0, i, 0);
	for (uint32_t i = 10; i < 25; i++) /* the first of them in the place of older ones */
		make_object(&scene, 1, block_at(scene.pools, 0, i), 48, BORN);
	scene.pools->scan.torn = 3;
	scene.views[0].baseline = &scene.before->scan;
	python = python_of(look(&scene), 0);
	assert_int_equal(python->live_cnt, 30);
	assert_int_equal(python->seen_cnt, 15);
	assert_int_equal(python->seen_bytes, 15 * 48);
	assert_int_equal(python->old_cnt, 10);
	assert_int_equal(python->old_bytes, 10 * 48);
	assert_int_equal(python->missed_cnt, 5);
	assert_int_equal(python->missed_bytes, 5 * 48);
	assert_int_equal(python->torn_cnt, 3);
	assert_int_equal(python->pool_free_bytes, scene.pools->scan.free_bytes);

	scene.views[0].baseline = NULL; /* it was followed from its first instruction on */
	python = python_of(look(&scene), 0);
	assert_int_equal(python->old_cnt, 0);
	assert_int_equal(python->missed_cnt, 15);

	/* What was left out on purpose was not missed. */
	scene.world->opts.is_filtered = true;
	python = python_of(look(&scene), 0);
	assert_int_equal(python->live_cnt, 30);
	assert_int_equal(python->seen_cnt + python->missed_cnt, 0);
	end(&scene);
}

/* ---- fork ---- */

static void add_child(struct pools_world *scene)
{
	struct space kernel = {.tgid = 101, .parent = 1};
	uint32_t id = 2;

	see_fork(&scene->world->table, 2, 101, 1, 5000);
	assert_int_equal(bpf_map_update_elem(scene->world->maps.spaces, &id, &kernel, BPF_ANY), 0);
	scene->views[1] = scene->views[0];
	scene->views[1].space = 2;
}

static void test_inherited_objects(void **state)
{
	struct pools_world scene = begin(state);
	struct fake_pools *child = make_pools();
	const struct snap_python *python;
	const struct snap_row *row;
	struct snapshot *snap;

	for (uint32_t i = 0; i < 6; i++)
		make_object(&scene, 1, use_block(scene.pools, 0, i, 0), 48, BORN);
	add_child(&scene);
	add_pool(child, POOL_AT(0), 48);
	for (uint32_t i = 2; i < 10; i++) /* it has freed two, and made others */
		use_block(child, 0, i, 0);
	make_object(&scene, 2, block_at(child, 0, 5), 48, 6000); /* in the place of a sixth */
	make_object(&scene, 2, block_at(child, 0, 6), 48, 6000);
	make_object(&scene, 2, block_at(child, 0, 20), 48, 6000); /* dead by now */
	scene.views[1].scan = &child->scan;
	snap = look(&scene);
	check_accounted(snap);
	check_live(find_row(snap, 0, LAYER_PYTHON), 6 * 48, 6);
	row = find_row(snap, 1, LAYER_PYTHON);
	check_live(row, 5 * 48, 5); /* 2, 3, 4 of the parent's, 5 and 6 of its own */
	assert_int_equal(row->cost.inherited_count, 6);
	assert_int_equal(row->cost.alloc_count, 3);
	assert_int_equal(row->cost.free_count, 4);
	python = python_of(snap, 1);
	assert_int_equal(python->seen_cnt, 5);
	assert_int_equal(python->old_cnt, 3); /* who knows */
	assert_int_equal(python->missed_cnt, 0);

	scene.views[1].has_frees = true; /* of heirlooms nobody tells even then */
	snap = look(&scene);
	assert_int_equal(find_row(snap, 1, LAYER_PYTHON)->cost.live_count, 6);
	assert_int_equal(python_of(snap, 1)->dead_cnt, 1);
	check_accounted(snap);
	free(child);
	end(&scene);
}

/* A grandparent's block and the parent's, at one place: the parent's is the one that lives. */
static void test_nearest_heirloom(void **state)
{
	struct pools_world scene = begin(state);
	uint64_t addr = use_block(scene.pools, 0, 0, 0);
	struct python_view grandchild;
	const struct snap_row *row = NULL;
	struct snapshot *snap;
	uint32_t id = 3;

	make_object(&scene, 1, addr, 48, BORN);
	add_child(&scene);
	add_block(
		scene.world, 2, addr,
		(struct block){.size = 48, .stack_id = 8, .layer = LAYER_PYTHON, .born_ns = 6000});
	see_fork(&scene.world->table, 3, 102, 2, 7000);
	assert_int_equal(bpf_map_update_elem(scene.world->maps.spaces, &id,
					     &(struct space){.tgid = 102, .parent = 2}, BPF_ANY),
			 0);
	add_native_stack(scene.world, 7, 0, (const uint64_t[]){0x70}, 1, UNWIND_COMPLETE);
	add_native_stack(scene.world, 8, 0, (const uint64_t[]){0x80}, 1, UNWIND_COMPLETE);
	grandchild = scene.views[0];
	grandchild.space = 3;
	scene.views[0] = grandchild;
	scene.views[1].space = SPACE_NONE;
	snap = look(&scene);
	for (size_t i = 0; i < snap->rows.cnt; i++) {
		if (snap->rows.items[i].proc != 2 || !snap->rows.items[i].cost.live_count)
			continue;
		assert_null(row);
		row = &snap->rows.items[i];
	}
	assert_non_null(row);
	check_live(row, 48, 1);
	assert_int_equal(snap->frames.items[snap->nodes.items[row->stack].frame].offset, 0x80);
	check_accounted(snap);
	end(&scene);
}

/* How many objects a process held at its end nobody knows. */
static void test_ended_unseen(void **state)
{
	struct pools_world scene = begin(state);

	make_object(&scene, 1, block_at(scene.pools, 0, 0), 48, BORN);
	add_block(scene.world, 1, 0x1000,
		  (struct block){.size = 100, .stack_id = 7, .layer = LAYER_MALLOC});
	look(&scene);
	end_space(scene.world, space_table__find(&scene.world->table, 1));
	scene.views[0].space = 9;
	scene.world->tables.used[TABLE_BLOCKS] = scene.world->tables.groups[0].used[TABLE_BLOCKS] =
		5;
	assert_int_equal(look(&scene)->ended_bytes, 100);
	/* Two blocks went, and made room for others. */
	assert_int_equal(scene.world->tables.groups[0].used[TABLE_BLOCKS], 3);
	assert_int_equal(scene.world->tables.used[TABLE_BLOCKS], 3);
	assert_int_equal(scene.world->snap->ended_count, 1);
	assert_false(has_block(scene.world, 1, block_at(scene.pools, 0, 0)));
	end(&scene);
}

/* ---- arenas ---- */

static void map_memory(struct pools_world *scene, uint64_t addr, uint64_t len, uint16_t flags)
{
	apply(&scene->world->table,
	      (struct event){
		      .kind = EV_MMAP,
		      .flags = flags,
		      .space = 1,
		      .time_ns = BORN,
		      .begin_ns = BORN - 1,
		      .stack_id = 9,
		      .map = {.addr = addr,
			      .len = len,
			      .prot = 3 /* PROT_READ | PROT_WRITE */,
			      .flags = 0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */},
	      });
}

static void test_arenas_are_no_mappings(void **state)
{
	struct pools_world scene = begin(state);
	struct snapshot *snap;

	/* two arenas and a buffer in one mapping of /proc, a second buffer elsewhere */
	map_memory(&scene, POOLS_AT, ARENA_BYTES, 0);
	map_memory(&scene, POOLS_AT + ARENA_BYTES, ARENA_BYTES, 0);
	map_memory(&scene, POOLS_AT + 2 * ARENA_BYTES, 5 * 4096, 0);
	map_memory(&scene, 0x10000000, 7 * 4096, 0);
	add_pool(scene.pools, POOLS_AT + ARENA_BYTES, 32);
	add_pool_range(scene.pools, POOLS_AT, POOLS_AT + 2 * ARENA_BYTES + 5 * 4096);
	for (int times = 0; times < 2; times++) {
		snap = look(&scene);
		assert_int_equal(python_of(snap, 0)->arena_bytes, 2 * ARENA_BYTES);
		check_live(find_row(snap, 0, LAYER_MMAP), 12 * 4096, 2);
	}
	apply(&scene.world->table, (struct event){.kind = EV_MUNMAP,
						  .space = 1,
						  .time_ns = 2 * BORN,
						  .begin_ns = 2 * BORN,
						  .map = {.addr = POOLS_AT, .len = ARENA_BYTES}});
	scene.pools->scan.pools.cnt = 0;
	snap = look(&scene);
	assert_int_equal(python_of(snap, 0)->arena_bytes, ARENA_BYTES);
	check_live(find_row(snap, 0, LAYER_MMAP), 12 * 4096, 2);
	end(&scene);
}

/* Blocks tell as well, when nobody has looked at the pools. */
static void test_blocks_tell_arenas(void **state)
{
	struct pools_world scene = begin(state);
	struct snapshot *snap;

	map_memory(&scene, POOLS_AT, ARENA_BYTES, 0);
	make_object(&scene, 1, use_block(scene.pools, 0, 0, 0), 48, BORN);
	scene.views[0].scan = NULL;
	snap = look(&scene);
	assert_null(find_row(snap, 0, LAYER_MMAP));
	scene.views[0].scan = &scene.pools->scan;
	assert_int_equal(python_of(look(&scene), 0)->arena_bytes, ARENA_BYTES);
	end(&scene);
}

/* Arenas from before the trace: what of their mapping nobody knows. */
static void test_old_arenas(void **state)
{
	struct pools_world scene = begin(state);
	const uint64_t end_at = POOLS_AT + 4 * ARENA_BYTES;
	struct snapshot *snap;

	map_memory(&scene, end_at - 4096, 4096, 0);
	map_memory(&scene, end_at - 3 * 4096, 2 * 4096, EVENT_IN_ALLOCATOR);
	add_pool_range(scene.pools, POOLS_AT, end_at);
	add_pool_range(scene.pools, end_at + ARENA_BYTES, end_at + 2 * ARENA_BYTES);
	snap = look(&scene);
	assert_int_equal(python_of(snap, 0)->arena_bytes, 4 * ARENA_BYTES - 3 * 4096);
	check_live(find_row(snap, 0, LAYER_MMAP), 4096, 1);
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_unseen_frees),
		WORLD_TEST(test_younger_than_the_look),
		WORLD_TEST(test_not_looked_at),
		WORLD_TEST(test_seen_frees),
		WORLD_TEST(test_other_layers_untouched),
		WORLD_TEST(test_sampled),
		WORLD_TEST(test_coverage),
		WORLD_TEST(test_inherited_objects),
		WORLD_TEST(test_nearest_heirloom),
		WORLD_TEST(test_ended_unseen),
		WORLD_TEST(test_arenas_are_no_mappings),
		WORLD_TEST(test_blocks_tell_arenas),
		WORLD_TEST(test_old_arenas),
	};

	return cmocka_run_group_tests_name("collect/python_objects", tests, NULL, NULL);
}
