/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One pass over the sums gives the rows; one pass over the live blocks gives their ages, checks the
 * sums, and collects what the lineage of forked processes needs. Memory grows with stacks, not with
 * blocks: only ancestors' blocks are kept.
 */
#include "collect/collector.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "bpf/sample.bpf.h"
#include "collect/map_reader.h"
#include "collect/pass.h"
#include "collect/ranges.h"
#include "util/clock.h"

#define LOST_EVENT_NS (60 * NS_PER_SEC)
#define MANY_ENDED 512 /* processes whose remains are worth a pass over the block table */

struct collector *collector__new(const struct map_fds *maps, uint64_t hash_seed,
				 struct space_table *table, struct code_table *codes,
				 uint64_t max_frames)
{
	struct collector *collector = calloc(1, sizeof(*collector));

	if (!collector)
		return NULL;
	collector->maps = maps;
	collector->table = table;
	collector->codes = codes;
	collector->stacks = stack_cache__new(maps->stack_frames, hash_seed, max_frames);
	collector->python_stacks = python_stacks__new(maps->python_stacks, max_frames);
	if (!collector->stacks || !collector->python_stacks) {
		collector__free(collector);
		return NULL;
	}
	return collector;
}

bool collector__is_full(const struct collector *collector)
{
	return stack_cache__is_full(collector->stacks) ||
	       python_stacks__is_full(collector->python_stacks);
}

void collector__free(struct collector *collector)
{
	if (!collector)
		return;
	pass__end_python(collector);
	stack_cache__free(collector->stacks);
	python_stacks__free(collector->python_stacks);
	array_free(&collector->rows);
	array_free(&collector->dead_blocks);
	hashmap__free(&collector->row_index);
	hashmap__free(&collector->purged);
	array_free(&collector->strangers);
	array_free(&collector->pythons);
	array_free(&collector->residents);
	hashmap__free(&collector->python_index);
	row_types__free(&collector->row_types);
	hashmap__free(&collector->same_rows);
	hashmap__free(&collector->snap_procs);
	hashmap__free(&collector->snap_codes);
	hashmap__free(&collector->violations);
	free(collector);
}

int collector__begun_stack(struct collector *collector, uint64_t id, struct stack_frames *ret)
{
	int err = bpf_map_lookup_elem(collector->maps->stack_frames, &id, ret);

	if (err)
		return err;
	return ret->frame_cnt <= MAX_FRAMES ? 0 : -ENOENT;
}

int collector__finish_stack(struct collector *collector, uint64_t id,
			    const struct stack_frames *frames)
{
	return stack_cache__finish(collector->stacks, id, frames);
}

static struct raw_row *row_get(struct collector *c, struct space_info *space, uint8_t layer,
			       uint64_t stack_id)
{
	uint64_t id = stack_cache__same(c->stacks, stack_id);
	struct raw_row row = {.space = space, .layer = layer, .stack_id = id};
	bool is_new;
	uint64_t *slot =
		hashmap__insert(&c->row_index, id, (uint64_t)space->id << 8 | layer, &is_new);

	if (!slot)
		return NULL;
	if (is_new) {
		row.id = c->rows.cnt;
		*slot = row.id;
		if (array_push(&c->rows, row))
			return NULL;
	}
	return &c->rows.items[*slot];
}

static void row_add_age(struct raw_row *row, uint64_t born_ns)
{
	if (!row->oldest_born || born_ns < row->oldest_born)
		row->oldest_born = born_ns;
	if (born_ns > row->newest_born)
		row->newest_born = born_ns;
}

static void row_add_if_old(const struct collector *c, struct raw_row *row, uint64_t born_ns,
			   int64_t bytes, int64_t count_q16)
{
	if (pass_age_ns(c, born_ns) < c->opts->min_age_ns)
		return;
	row->old_bytes += bytes;
	row->old_count += count_q16;
}

static void row_add_live(const struct collector *c, struct raw_row *row,
			 const struct found_block *found)
{
	row->seen_bytes += found->bytes;
	row->seen_count += found->count_q16;
	row_add_age(row, found->block->born_ns);
	row_add_if_old(c, row, found->block->born_ns, found->bytes, found->count_q16);
}

/* A block's address tells whose mapping it lies in. */
static void mark_mapping(struct space_info *space, const struct found_block *found)
{
	if (!ranges__has_memory(space->ranges))
		return;
	if (found->block->layer == LAYER_PYTHON)
		ranges__mark_arena(space->ranges, found->addr);
	else
		ranges__mark_allocator(space->ranges, found->addr);
}

/*
 * Whether an ended space can go: nobody inherits from it, nobody wants to read about it. One that
 * is not known yet will be, when its events are read; after a while they surely were lost.
 */
static bool is_purged(const struct collector *c, uint32_t id, const struct space *kernel)
{
	const struct space_info *space = space_table__find(c->table, id);

	if (!(kernel->flags & SPACE_RELEASED))
		return false;
	if (!space)
		return pass_age_ns(c, kernel->born_ns) > LOST_EVENT_NS;
	return space->state != PROC_RUNNING && !pass_keeps(c, space);
}

static int purge(struct collector *c, uint32_t id, const struct space *kernel)
{
	uint64_t *group = hashmap__insert(&c->purged, id, 0, NULL);

	if (!group)
		return -ENOMEM;
	*group = kernel->group ? kernel->group - 1 : 0;
	return space_table__find(c->table, id) ? 0 : array_push(&c->strangers, id);
}

static int see_space(void *arg, const void *key, const void *value)
{
	struct collector *c = arg;
	uint32_t id = *(const uint32_t *)key;

	shares__see(&c->shares, value);
	return is_purged(c, id, value) ? purge(c, id, value) : 0;
}

static int find_purged(struct collector *c)
{
	memset(&c->shares, 0, sizeof(c->shares));
	return map_each(c->maps->spaces, sizeof(uint32_t), sizeof(struct space), see_space, c);
}

static int64_t unscale(const struct collector *c, uint64_t count)
{
	return c->opts->sample_bytes
		       ? (int64_t)((count + (1 << (WEIGHT_SHIFT - 1))) >> WEIGHT_SHIFT)
		       : (int64_t)count;
}

static int add_cost(struct collector *c, const struct cost_key *key,
		    const struct stack_cost *kernel)
{
	struct space_info *space = space_table__find(c->table, key->space);
	struct raw_row *row;

	if (hashmap__find(&c->purged, key->space, 0)) {
		/* How many of its objects lived at the end nobody knows. */
		if (key->layer == LAYER_PYTHON && c->frees_unseen)
			return 0;
		c->table->ended_bytes += kernel->alloc_bytes - kernel->free_bytes;
		c->table->ended_count += unscale(c, kernel->alloc_count - kernel->free_count);
		return 0;
	}
	if (!space || !pass_keeps(c, space))
		return 0;
	row = row_get(c, space, key->layer, key->stack_id);
	if (!row)
		return -ENOMEM;
	row->cost.alloc_bytes += kernel->alloc_bytes;
	row->cost.free_bytes += kernel->free_bytes;
	row->cost.live_bytes += kernel->alloc_bytes - kernel->free_bytes;
	row->cost.alloc_count += unscale(c, kernel->alloc_count);
	row->cost.free_count += unscale(c, kernel->free_count);
	row->cost.live_count = row->cost.alloc_count - row->cost.free_count;
	return 0;
}

/* What was purged makes room for others again. */
static void give_room(struct collector *c, uint32_t space, enum table table)
{
	uint64_t *group = hashmap__find(&c->purged, space, 0);

	if (group && c->maps->tables)
		tables__give(c->maps->tables, *group, table);
}

struct cost_pass {
	struct collector *c;
	ARRAY(struct cost_key) dead;
};

static int see_cost(void *arg, const void *key, const void *value)
{
	struct cost_pass *pass = arg;
	const struct cost_key *cost = key;
	int err = add_cost(pass->c, cost, value);

	if (!err && hashmap__find(&pass->c->purged, cost->space, 0))
		err = array_push(&pass->dead, *cost);
	return err;
}

static int read_costs(struct collector *c)
{
	struct cost_pass pass = {.c = c};
	int err = map_each(c->maps->stack_costs, sizeof(struct cost_key), sizeof(struct stack_cost),
			   see_cost, &pass);

	if (pass.dead.cnt)
		map_delete_batch(c->maps->stack_costs, pass.dead.items, sizeof(struct cost_key),
				 pass.dead.cnt);
	for (size_t i = 0; i < pass.dead.cnt; i++)
		give_room(c, pass.dead.items[i].space, TABLE_COSTS);
	array_free(&pass.dead);
	return err;
}

/* Blocks and bytes that one recorded block stands for. */
static void scaled(const struct collector *c, uint64_t size, int64_t *ret_bytes,
		   int64_t *ret_count_q16)
{
	uint64_t weight = 1ULL << WEIGHT_SHIFT;

	if (c->opts->sample_bytes)
		weight = sample_weight(sample_probability(size, c->opts->sample_bytes));
	*ret_bytes = (unsigned __int128)size * weight >> WEIGHT_SHIFT;
	*ret_count_q16 = weight;
}

static int add_block(struct collector *c, const struct block_key *key, const struct block *block)
{
	struct found_block found = {.addr = key->addr, .block = block};
	const struct pool *pool = NULL;
	struct python_pass *python;
	struct space_info *space;
	struct raw_row *row;
	uint64_t *slot;
	bool lives = true;

	if (lineage__wants(&c->lineage, key->space) &&
	    lineage__add(&c->lineage, key->space, key->addr, block))
		return -ENOMEM;
	if (hashmap__find(&c->purged, key->space, 0))
		return array_push(&c->dead_blocks, *key);
	space = space_table__find(c->table, key->space);
	if (!space)
		return 0;
	scaled(c, block->size, &found.bytes, &found.count_q16);
	pass__count_heap(c, key->space, &found);
	if (block->flags & BLOCK_NESTED)
		return 0;
	mark_mapping(space, &found);
	python = pass__python(c, space->id);
	if (block->layer == LAYER_PYTHON)
		lives = pass__object_lives(c, python, &found, false, &pool);
	slot = hashmap__find(&c->row_index, stack_cache__same(c->stacks, block->stack_id),
			     (uint64_t)key->space << 8 | block->layer);
	if (!slot)
		return 0;
	row = &c->rows.items[*slot];
	if (!lives) { /* the sums do not know of its end */
		row->cost.free_bytes += found.bytes;
		row->cost.live_bytes -= found.bytes;
		row->unseen_free_count += found.count_q16;
		return 0;
	}
	row_add_live(c, row, &found);
	return pass__note_type(c, row, python, &found, pool);
}

struct block_pass {
	struct collector *c;
	struct snapshot *snap;
};

static int see_block(void *arg, const void *key, const void *value)
{
	struct block_pass *pass = arg;

	pass->snap->blocks_checked++;
	return add_block(pass->c, key, value);
}

static int read_blocks(struct collector *c, struct snapshot *snap)
{
	struct block_pass pass = {.c = c, .snap = snap};
	int err = map_each(c->maps->live_blocks, sizeof(struct block_key), sizeof(struct block),
			   see_block, &pass);

	if (c->dead_blocks.cnt)
		map_delete_batch(c->maps->live_blocks, c->dead_blocks.items,
				 sizeof(struct block_key), c->dead_blocks.cnt);
	for (size_t i = 0; i < c->dead_blocks.cnt; i++)
		give_room(c, c->dead_blocks.items[i].space, TABLE_BLOCKS);
	snap->blocks_checked -= c->dead_blocks.cnt;
	c->purged_blocks += c->dead_blocks.cnt;
	return err;
}

/* What fork handed down is live in the child as well, until it frees its copy. */
static int add_heirloom(struct collector *c, struct space_info *space,
			const struct inherited_block *item)
{
	struct found_block found = {.addr = item->addr, .block = item->block};
	struct python_pass *python = pass__python(c, space->id);
	const struct pool *pool = NULL;
	bool lives = !item->freed;
	struct raw_row *row;

	scaled(c, item->block->size, &found.bytes, &found.count_q16);
	if (lives)
		pass__count_heap(c, space->id, &found);
	if (item->block->flags & BLOCK_NESTED)
		return 0;
	mark_mapping(space, &found);
	row = row_get(c, space, item->block->layer, item->block->stack_id);
	if (!row)
		return -ENOMEM;
	row->cost.inherited_bytes += found.bytes;
	row->inherited_count += found.count_q16;
	if (lives && item->block->layer == LAYER_PYTHON)
		lives = pass__object_lives(c, python, &found, true, &pool);
	if (!lives) {
		row->cost.free_bytes += found.bytes;
		row->inherited_free_count += found.count_q16;
		return 0;
	}
	row->cost.live_bytes += found.bytes;
	row_add_live(c, row, &found);
	return pass__note_type(c, row, python, &found, pool);
}

static int add_inherited(struct collector *c, struct space_info *space)
{
	struct inherited_blocks inherited;
	int err;

	err = lineage__inherited(&c->lineage, space, &inherited);
	if (err)
		return err;
	c->unknown_frees += inherited.unknown_frees;
	/* The nearest ancestor's first: of two objects at one place the younger one lives. */
	for (size_t i = inherited.blocks.cnt; i-- > 0 && !err;)
		err = add_heirloom(c, space, &inherited.blocks.items[i]);
	inherited_blocks__free(&inherited);
	return err;
}

/* A child that has ended holds nothing, but what it freed may have been nobody's. Counted once, for
 * good. */
static int count_unknown_frees(struct collector *c, struct space_info *space)
{
	struct inherited_blocks inherited;
	int err;

	err = lineage__inherited(&c->lineage, space, &inherited);
	if (err)
		return err;
	c->ended_unknown_frees += inherited.unknown_frees;
	space->unknown_free_cnt = 0;
	inherited_blocks__free(&inherited);
	return 0;
}

static int add_ranges(struct collector *c, struct space_info *space, struct snapshot *snap)
{
	struct range_costs costs = {0};
	int err;

	pass__mark_arenas(pass__python(c, space->id), space);
	snap->reserved_bytes += ranges__reserved_bytes(space->ranges);
	err = ranges__costs(space->ranges, &costs);
	for (size_t i = 0; i < costs.rows.cnt && !err; i++) {
		const struct range_cost *range = &costs.rows.items[i];
		struct raw_row *row = row_get(c, space, LAYER_MMAP, range->stack_id);

		if (!row) {
			err = -ENOMEM;
			break;
		}
		/* Stacks that were finished later may have become one. */
		cost__add(&row->cost, &range->cost);
		row->seen_bytes += range->cost.live_bytes;
		row->seen_count += range->cost.live_count << WEIGHT_SHIFT;
		if (!range->oldest_ns)
			continue;
		row_add_age(row, range->oldest_ns);
		row_add_age(row, range->newest_ns);
		row_add_if_old(c, row, range->oldest_ns, range->cost.live_bytes,
			       range->cost.live_count << WEIGHT_SHIFT);
	}
	range_costs__free(&costs);
	return err;
}

static void drop_purged(struct collector *c)
{
	if (c->codes && c->purged.cnt)
		code_table__purge(c->codes, &c->purged);
	for (size_t i = c->table->spaces.cnt; i-- > 0;) {
		struct space_info *space = c->table->spaces.items[i];
		uint32_t id = space->id;

		if (!hashmap__find(&c->purged, id, 0))
			continue;
		if (space->state == PROC_EXITED)
			c->table->ended_procs++;
		bpf_map_delete_elem(c->maps->spaces, &id);
		space_table__drop(c->table, space);
	}
	for (size_t i = 0; i < c->strangers.cnt; i++)
		bpf_map_delete_elem(c->maps->spaces, &c->strangers.items[i]);
	if (c->maps->tables)
		shares__recycle(c->maps->tables, &c->shares);
}

static int compare_spaces(const void *a, const void *b)
{
	const struct space_info *x = *(struct space_info *const *)a,
				*y = *(struct space_info *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int read_all(struct collector *c, struct snapshot *snap)
{
	int err;

	if (c->table->spaces.cnt)
		qsort(c->table->spaces.items, c->table->spaces.cnt, sizeof(struct space_info *),
		      compare_spaces);
	err = map_read_counters(c->maps->stats, snap->stats, STAT_MAX);
	if (!err)
		err = find_purged(c);
	if (!err)
		err = pass__purge_failures(c);
	if (!err)
		err = read_costs(c);
	if (!err)
		err = lineage__begin(&c->lineage, c->table);
	if (!err)
		err = read_blocks(c, snap);
	for (size_t i = 0; i < c->table->spaces.cnt && !err; i++) {
		struct space_info *space = c->table->spaces.items[i];

		if (space->parent && space->state == PROC_RUNNING)
			err = add_inherited(c, space);
		else if (space->parent && space->unknown_free_cnt)
			err = count_unknown_frees(c, space);
		if (!err && pass_keeps(c, space))
			err = add_ranges(c, space, snap);
	}
	return err ? err : row_types__read_large(&c->row_types);
}

static int begin_pass(struct collector *c, const struct collect_opts *opts)
{
	int err;

	pass__end_python(c);
	c->opts = opts;
	c->rows.cnt = 0;
	c->dead_blocks.cnt = 0;
	c->unknown_frees = 0;
	hashmap__clear(&c->row_index);
	hashmap__clear(&c->purged);
	c->strangers.cnt = 0;
	err = pass__begin_python(c);
	return err ? err : pass__begin_residents(c);
}

int collector__fill(struct collector *c, const struct collect_opts *opts, struct snapshot *snap)
{
	int err;

	snap->min_age_ns = opts->min_age_ns;
	snap->sample_bytes = opts->sample_bytes;
	snap->estimated = opts->sample_bytes != 0;
	err = begin_pass(c, opts);
	if (!err)
		err = read_all(c, snap);
	if (!err)
		err = stack_cache__refresh(c->stacks);
	if (!err)
		err = pass__build(c, snap);
	if (!err)
		drop_purged(c);
	if (!opts->is_filtered)
		snap->stats[STAT_UNKNOWN_FREES] += c->unknown_frees + c->ended_unknown_frees;
	if (c->codes)
		snap->stats[STAT_CODES_LOST] += c->codes->lost_cnt;
	snap->ended_bytes = c->table->ended_bytes;
	snap->ended_count = c->table->ended_count;
	snap->ended_procs = c->table->ended_procs;
	lineage__free(&c->lineage);
	return err;
}

int collector__fill_processes(struct collector *c, const struct collect_opts *opts,
			      struct snapshot *snap)
{
	int err = begin_pass(c, opts);

	if (!err)
		err = stack_cache__refresh(c->stacks);
	return err ? err : pass__build(c, snap);
}

void collector__note_removed(struct collector *c, uint64_t cnt)
{
	c->purged_blocks += cnt;
}

uint64_t collector__same_stack(const struct collector *c, uint64_t id)
{
	return stack_cache__same(c->stacks, id);
}

int collector__add_stack(struct collector *c, struct snapshot *snap, uint32_t space,
			 uint64_t stack_id, uint32_t *ret_node)
{
	const struct space_info *info = space_table__find(c->table, space);
	uint64_t id = stack_cache__same(c->stacks, stack_id);
	struct pass_stack stack;
	int err = 0;

	if (!info)
		return -ENOENT;
	if (id != STACK_LOST && !stack_cache__find(c->stacks, id))
		err = stack_cache__refresh(c->stacks); /* it is younger than the snapshot */
	if (!err)
		err = pass__add_stack(c, snap, info, id, &stack);
	if (!err)
		*ret_node = stack.node;
	return err;
}

int collector__make_room(struct collector *c, const struct collect_opts *opts, uint32_t max_blocks,
			 uint32_t max_procs)
{
	struct snapshot scratch = {0};
	size_t ended = 0;
	int err;

	c->opts = opts;
	for (size_t i = 0; i < c->table->spaces.cnt; i++)
		ended += !pass_keeps(c, c->table->spaces.items[i]);
	if (!ended)
		return 0;
	err = map_read_counters(c->maps->stats, scratch.stats, STAT_MAX);
	if (err)
		return err;
	if (ended < MANY_ENDED && ended < max_procs / 2 &&
	    scratch.stats[STAT_BLOCKS_ADDED] - scratch.stats[STAT_BLOCKS_REMOVED] -
			    c->purged_blocks <
		    max_blocks / 2)
		return 0;
	err = begin_pass(c, opts);
	if (!err)
		err = read_all(c, &scratch);
	if (!err)
		drop_purged(c);
	lineage__free(&c->lineage);
	return err;
}
