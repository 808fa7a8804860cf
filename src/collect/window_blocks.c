/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/window_blocks.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "collect/map_reader.h"

struct known_block {
	struct block_key key;
	uint64_t born_ns;
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
	struct asked_sums survivors;	 /* born since the last reading, and there */
	ARRAY(struct known_block) known; /* of the space */
	ARRAY(struct block_key) gone;	 /* to be removed */
};

static struct asked_sum *sum_of(struct asked_sums *sums, uint64_t stack, uint32_t layer)
{
	bool is_new;
	uint64_t *slot = hashmap__insert(&sums->index, stack, layer, &is_new);

	if (!slot)
		return NULL;
	if (is_new) {
		*slot = sums->list.cnt;
		if (array_push(&sums->list, (struct asked_sum){0}))
			return NULL;
	}
	return &sums->list.items[*slot];
}

static void free_sums(struct asked_sums *sums)
{
	array_free(&sums->list);
	hashmap__free(&sums->index);
}

void window_blocks__free(struct window_blocks *blocks)
{
	free_sums(&blocks->asked);
}

static int count_survivor(struct reading *reading, const struct block *block)
{
	struct asked_sum *sum = sum_of(&reading->survivors, block->stack_id, block->layer);

	if (!sum)
		return -ENOMEM;
	sum->cnt++;
	sum->bytes += block->size;
	return 0;
}

static int add_birth(const struct reading *reading, const struct block_key *key,
		     const struct block *block)
{
	const struct cohort_birth birth = {
		.addr = key->addr,
		.bytes = block->size,
		.time_ns = block->born_ns,
		.stack = collector__same_stack(reading->collector, block->stack_id),
		.layer = block->layer,
	};

	return cohort__birth(reading->cohort, &birth);
}

static int take_block(void *arg, const void *entry_key, const void *entry)
{
	const struct block_key *key = entry_key;
	const struct block *block = entry;
	struct reading *reading = arg;
	int err;

	if (key->space != reading->space)
		return 0;
	if (block->flags & BLOCK_NESTED)
		return array_push(&reading->gone, *key);
	if (!cohort__alive(reading->cohort, key->addr, block->born_ns)) {
		/* Probes come and go one after the other: what is born while they do is in nobody's
		 * window, and in the sums of its stack. */
		err = count_survivor(reading, block);
		if (err)
			return err;
		if (block->born_ns > reading->end_ns && reading->goes_on)
			return 0;
		if (block->born_ns < reading->begin_ns || block->born_ns > reading->end_ns)
			return array_push(&reading->gone, *key);
		err = add_birth(reading, key, block);
		if (err)
			return err;
	}
	return array_push(&reading->known, ((struct known_block){*key, block->born_ns}));
}

/* What was asked for in the window and did not outlive it. */
static int take_cost(void *arg, const void *entry_key, const void *entry)
{
	const struct cost_key *key = entry_key;
	const struct stack_cost *cost = entry;
	struct reading *reading = arg;
	struct asked_sum *asked, new, left = {0};
	const uint64_t *survivor;

	if (key->space != reading->space)
		return 0;
	asked = sum_of(&reading->blocks->asked, key->stack_id, key->layer);
	if (!asked)
		return -ENOMEM;
	new = (struct asked_sum){cost->alloc_count - asked->cnt, cost->alloc_bytes - asked->bytes};
	*asked = (struct asked_sum){cost->alloc_count, cost->alloc_bytes};
	reading->blocks->calls += new.cnt;
	survivor = hashmap__find(&reading->survivors.index, key->stack_id, key->layer);
	if (survivor)
		left = reading->survivors.list.items[*survivor];
	if (new.cnt <= left.cnt || new.bytes < left.bytes)
		return 0;
	return cohort__churn(reading->cohort,
			     collector__same_stack(reading->collector, key->stack_id), key->layer,
			     new.cnt - left.cnt, new.bytes - left.bytes);
}

/* Removes what nobody remembers; the group of the space gets its room in the table back. */
static int remove_gone(struct reading *reading)
{
	struct tables *tables = reading->maps->tables;
	struct space space = {0};
	int removed;

	for (size_t i = 0; i < reading->known.cnt; i++)
		if (!cohort__follows(reading->cohort, reading->known.items[i].key.addr,
				     reading->known.items[i].born_ns) &&
		    array_push(&reading->gone, reading->known.items[i].key))
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
	free_sums(&reading->survivors);
	array_free(&reading->known);
	array_free(&reading->gone);
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
		err = map_each(maps->live_blocks, sizeof(struct block_key), sizeof(struct block),
			       take_block, &reading);
	if (!err)
		err = map_each(maps->stack_costs, sizeof(struct cost_key),
			       sizeof(struct stack_cost), take_cost, &reading);
	if (!err)
		cohort__end_others(cohort);
	cohort__close(cohort);
	if (!err)
		err = remove_gone(&reading);
	end_reading(&reading);
	return err;
}
