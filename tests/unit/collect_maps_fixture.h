/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A collector over real BPF maps, filled by hand as bpf/ fills them. Making maps takes root:
 * without it the tests are skipped.
 */
#ifndef LEAKSWEEP_TESTS_COLLECT_MAPS_FIXTURE_H
#define LEAKSWEEP_TESTS_COLLECT_MAPS_FIXTURE_H

#include "collect_events_fixture.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include "collect/codes.h"
#include "collect/collector.h"
#include "include/python.h"
#include "include/unwind.h"

#define SEED 0x5eedULL
#define MAX_KEPT_FRAMES (1U << 20)
#define NOW 1000000ULL /* of the report */
#define BORN 1000ULL   /* of blocks, unless they say otherwise */

struct world {
	struct map_fds maps;
	struct tables tables;
	struct space_table table;
	struct code_table codes;
	struct collector *collector;
	struct snapshot *snap; /* of the last report */
	struct collect_opts opts;
};

static inline int make_map(enum bpf_map_type type, size_t key_size, size_t value_size, uint32_t max)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	int fd;

	if (type == BPF_MAP_TYPE_HASH)
		opts.map_flags = BPF_F_NO_PREALLOC;
	fd = bpf_map_create(type, NULL, key_size, value_size, max, &opts);
	assert_true(fd >= 0);
	return fd;
}

#define HASH(key, value) make_map(BPF_MAP_TYPE_HASH, sizeof(key), sizeof(value), 1 << 12)

static inline int make_world(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	*state = world;
	if (!world || geteuid())
		return world ? 0 : -1;
	memset(&world->maps, 0xff, sizeof(world->maps));
	world->maps.tables = &world->tables;
	world->tables.unit = 1;
	world->maps.live_blocks = HASH(struct block_key, struct block);
	world->maps.stack_frames = HASH(uint64_t, struct stack_frames);
	world->maps.stack_costs = HASH(struct cost_key, struct stack_cost);
	world->maps.spaces = HASH(uint32_t, struct space);
	world->maps.python_stacks = HASH(uint64_t, struct python_stack);
	world->maps.failures = HASH(struct failure_key, struct failure);
	world->maps.stats =
		make_map(BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(uint32_t), sizeof(uint64_t), STAT_MAX);
	world->collector = collector__new(&world->maps, SEED, &world->table, &world->codes,
					   MAX_KEPT_FRAMES);
	world->opts = (struct collect_opts){.now_ns = NOW, .looked_ns = NOW, .is_final = true};
	return world->collector ? 0 : -1;
}

static inline int free_world(void **state)
{
	struct world *world = *state;

	snapshot__free(world->snap);
	collector__free(world->collector);
	code_table__free(&world->codes);
	space_table__free(&world->table);
	if (world->collector) {
		close(world->maps.live_blocks);
		close(world->maps.stack_frames);
		close(world->maps.stack_costs);
		close(world->maps.spaces);
		close(world->maps.python_stacks);
		close(world->maps.failures);
		close(world->maps.stats);
	}
	free(world);
	return 0;
}

/* Every test of a world begins with it. */
static inline struct world *enter(void **state)
{
	struct world *world = *state;

	if (!world->collector) {
		print_message("making BPF maps takes root\n");
		skip();
	}
	return world;
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, make_world, free_world)

/* A process that was there when the trace began. */
static inline struct space_info *add_space(struct world *world, uint32_t id, pid_t tgid)
{
	struct space kernel = {.tgid = tgid};
	struct space_info *space = space_table__add(&world->table, id, tgid, 1);

	assert_non_null(space);
	space->is_root = true;
	assert_int_equal(bpf_map_update_elem(world->maps.spaces, &id, &kernel, BPF_ANY), 0);
	return space;
}

static inline void end_space(struct world *world, struct space_info *space)
{
	struct space kernel = {.tgid = space->tgid, .flags = SPACE_ENDED | SPACE_RELEASED};
	uint32_t id = space->id;

	space->state = PROC_EXITED;
	space->is_root = false;
	assert_int_equal(bpf_map_update_elem(world->maps.spaces, &id, &kernel, BPF_ANY), 0);
}

/* Adds to the sums of a stack. */
static inline void add_sums(struct world *world, uint32_t space, uint32_t layer, uint64_t stack_id,
			    uint64_t bytes, uint64_t cnt)
{
	struct cost_key key = {.stack_id = stack_id, .space = space, .layer = layer};
	struct stack_cost cost = {0};

	bpf_map_lookup_elem(world->maps.stack_costs, &key, &cost);
	cost.alloc_bytes += bytes;
	cost.alloc_count += cnt;
	assert_int_equal(bpf_map_update_elem(world->maps.stack_costs, &key, &cost, BPF_ANY), 0);
}

/* An allocation, with its sums. */
static inline void add_block(struct world *world, uint32_t space, uint64_t addr, struct block block)
{
	struct block_key key = {.addr = addr, .space = space};

	if (!block.born_ns)
		block.born_ns = BORN;
	assert_int_equal(bpf_map_update_elem(world->maps.live_blocks, &key, &block, BPF_ANY), 0);
	add_sums(world, space, block.layer, block.stack_id, block.size, 1);
}

static inline bool has_block(const struct world *world, uint32_t space, uint64_t addr)
{
	struct block_key key = {.addr = addr, .space = space};
	struct block block;

	return !bpf_map_lookup_elem(world->maps.live_blocks, &key, &block);
}

static inline void add_native_stack(struct world *world, uint64_t id, uint64_t python,
				    const uint64_t *frames, size_t cnt, enum unwind_end end)
{
	static struct stack_frames stack;

	memset(&stack, 0, sizeof(stack));
	stack.frame_cnt = cnt;
	stack.end = end;
	stack.python = python;
	memcpy(stack.frame, frames, cnt * sizeof(*frames));
	assert_int_equal(bpf_map_update_elem(world->maps.stack_frames, &id, &stack, BPF_ANY), 0);
}

/* Takes a report; the one before is gone. */
static inline struct snapshot *report(struct world *world)
{
	snapshot__free(world->snap);
	world->snap = snapshot__new("trace");
	assert_non_null(world->snap);
	assert_int_equal(collector__fill(world->collector, &world->opts, world->snap), 0);
	return world->snap;
}

/* Returns the only row of a process and a layer, or NULL. */
static inline const struct snap_row *find_row(const struct snapshot *snap, uint32_t proc,
					      uint32_t layer)
{
	const struct snap_row *found = NULL;

	for (size_t i = 0; i < snap->rows.cnt; i++) {
		if (snap->rows.items[i].proc != proc || snap->rows.items[i].layer != layer)
			continue;
		assert_null(found);
		found = &snap->rows.items[i];
	}
	return found;
}

static inline void check_live(const struct snap_row *row, int64_t bytes, int64_t cnt)
{
	const struct cost *cost = &row->cost;

	assert_int_equal(cost->live_bytes, bytes);
	assert_int_equal(cost->live_count, cnt);
	assert_int_equal(cost->alloc_bytes + cost->inherited_bytes,
			 cost->live_bytes + cost->free_bytes);
	assert_int_equal(cost->alloc_count + cost->inherited_count,
			 cost->live_count + cost->free_count);
}

static inline void check_accounted(const struct snapshot *snap)
{
	assert_int_equal(snap->unaccounted_bytes, 0);
	assert_int_equal(snap->unaccounted_count, 0);
}

#endif
