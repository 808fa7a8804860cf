/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/window_blocks.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "collect/map_reader.h"

struct survivors {
	uint64_t cnt, bytes;
};

/* One reading. */
struct reading {
	struct window_blocks *blocks;
	const struct map_fds *maps;
	struct collector *collector;
	uint32_t space;
	uint64_t begin_ns, end_ns;
	bool goes_on;
	struct cohort *cohort;
	ARRAY(struct survivors) survivors;   /* of those born in the window ... */
	struct hashmap survivor_index;	     /* {stack, layer} -> index, as the kernel has it */
	ARRAY(struct block_key) known, gone; /* of the space: all, and those to be removed */
	ARRAY(uint64_t) births;		     /* beside `known` */
};

void window_blocks__free(struct window_blocks *blocks)
{
	array_free(&blocks->costs);
	hashmap__free(&blocks->index);
}

static int count_survivor(struct reading *reading, const struct block *block)
{
	bool is_new;
	uint64_t *slot =
		hashmap__insert(&reading->survivor_index, block->stack_id, block->layer, &is_new);

	if (!slot)
		return -ENOMEM;
	if (is_new) {
		*slot = reading->survivors.cnt;
		if (array_push(&reading->survivors, (struct survivors){0}))
			return -ENOMEM;
	}
	reading->survivors.items[*slot].cnt++;
	reading->survivors.items[*slot].bytes += block->size;
	return 0;
}

static int take_block(struct reading *reading, const struct block_key *key,
		      const struct block *block)
{
	const struct cohort_birth birth = {
		.addr = key->addr,
		.bytes = block->size,
		.time_ns = block->born_ns,
		.stack = collector__same_stack(reading->collector, block->stack_id),
		.layer = block->layer,
	};
	int err;

	if (block->flags & BLOCK_NESTED)
		return array_push(&reading->gone, *key);
	if (cohort__follows(reading->cohort, key->addr, block->born_ns)) {
		cohort__alive(reading->cohort, key->addr, block->born_ns);
	} else {
		/* Probes come and go one after the other: what is born while they do is in nobody's
		 * window, and in the sums of its stack. */
		err = count_survivor(reading, block);
		if (err)
			return err;
		if (block->born_ns > reading->end_ns && reading->goes_on)
			return 0;
		if (block->born_ns < reading->begin_ns || block->born_ns > reading->end_ns)
			return array_push(&reading->gone, *key);
		err = cohort__birth(reading->cohort, &birth);
		if (err)
			return err;
	}
	err = array_push(&reading->known, *key);
	return err ? err : array_push(&reading->births, block->born_ns);
}

static int read_blocks(struct reading *reading)
{
	struct map_reader *reader = map_reader__new(reading->maps->live_blocks,
						    sizeof(struct block_key), sizeof(struct block));
	const void *keys, *values;
	int cnt = 0, err = 0;

	if (!reader)
		return -ENOMEM;
	while (!err && (cnt = map_reader__next(reader, &keys, &values)) > 0) {
		for (int i = 0; i < cnt && !err; i++) {
			const struct block_key *key = (const struct block_key *)keys + i;

			if (key->space == reading->space)
				err = take_block(reading, key, (const struct block *)values + i);
		}
	}
	map_reader__free(reader);
	return err ? err : cnt;
}

/* What was asked for in the window and did not outlive it. */
static int take_cost(struct reading *reading, const struct cost_key *key,
		     const struct stack_cost *cost)
{
	struct window_blocks *blocks = reading->blocks;
	const struct asked_sum now = {.cnt = cost->alloc_count, .bytes = cost->alloc_bytes};
	struct survivors left = {0};
	struct asked_sum before;
	uint64_t *slot, *survivor;
	bool is_new;

	slot = hashmap__insert(&blocks->index, key->stack_id, key->layer, &is_new);
	if (!slot)
		return -ENOMEM;
	if (is_new) {
		*slot = blocks->costs.cnt;
		if (array_push(&blocks->costs, (struct asked_sum){0}))
			return -ENOMEM;
	}
	before = blocks->costs.items[*slot];
	blocks->costs.items[*slot] = now;
	blocks->calls += now.cnt - before.cnt;
	survivor = hashmap__find(&reading->survivor_index, key->stack_id, key->layer);
	if (survivor)
		left = reading->survivors.items[*survivor];
	if (now.cnt - before.cnt <= left.cnt || now.bytes - before.bytes < left.bytes)
		return 0;
	return cohort__churn(
		reading->cohort, collector__same_stack(reading->collector, key->stack_id),
		key->layer, now.cnt - before.cnt - left.cnt, now.bytes - before.bytes - left.bytes);
}

static int read_costs(struct reading *reading)
{
	struct map_reader *reader = map_reader__new(
		reading->maps->stack_costs, sizeof(struct cost_key), sizeof(struct stack_cost));
	const void *keys, *values;
	int cnt = 0, err = 0;

	if (!reader)
		return -ENOMEM;
	while (!err && (cnt = map_reader__next(reader, &keys, &values)) > 0) {
		for (int i = 0; i < cnt && !err; i++) {
			const struct cost_key *key = (const struct cost_key *)keys + i;

			if (key->space == reading->space)
				err = take_cost(reading, key,
						(const struct stack_cost *)values + i);
		}
	}
	map_reader__free(reader);
	return err ? err : cnt;
}

/* Removes what nobody remembers; the group of the space gets its room in the table back. */
static int remove_gone(struct reading *reading)
{
	struct tables *tables = reading->maps->tables;
	struct space space = {0};
	int removed;

	for (size_t i = 0; i < reading->known.cnt; i++)
		if (!cohort__follows(reading->cohort, reading->known.items[i].addr,
				     reading->births.items[i]) &&
		    array_push(&reading->gone, reading->known.items[i]))
			return -ENOMEM;
	if (!reading->gone.cnt)
		return 0;
	removed = map_delete_batch(reading->maps->live_blocks, reading->gone.items,
				   sizeof(struct block_key), reading->gone.cnt);
	if (removed < 0)
		return removed;
	bpf_map_lookup_elem(reading->maps->spaces, &reading->space, &space);
	for (int i = 0; i < removed; i++)
		tables__give(tables, space.group ? space.group - 1 : 0, TABLE_BLOCKS);
	collector__note_removed(reading->collector, (uint64_t)removed);
	return 0;
}

static void end_reading(struct reading *reading)
{
	array_free(&reading->survivors);
	hashmap__free(&reading->survivor_index);
	array_free(&reading->known);
	array_free(&reading->gone);
	array_free(&reading->births);
}

int window_blocks__read(struct window_blocks *blocks, const struct map_fds *maps,
			struct collector *collector, uint32_t space,
			const struct cohort_window *window, bool goes_on, struct cohort *cohort)
{
	struct reading reading = {
		.blocks = blocks,
		.maps = maps,
		.collector = collector,
		.space = space,
		.begin_ns = window->begin_ns,
		.end_ns = window->end_ns,
		.goes_on = goes_on,
		.cohort = cohort,
	};
	int err;

	blocks->calls = 0;
	err = cohort__open(cohort, window);
	if (!err)
		err = read_blocks(&reading);
	if (!err)
		err = read_costs(&reading);
	if (!err)
		cohort__end_others(cohort);
	cohort__close(cohort);
	if (!err)
		err = remove_gone(&reading);
	end_reading(&reading);
	return err;
}
