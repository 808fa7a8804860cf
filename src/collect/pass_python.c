/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the pools of Python's object allocator add to the tables: who still lives, of which type,
 * whose allocation was missed, and which mappings are arenas.
 */
#include "collect/pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/sample.bpf.h"
#include "collect/ranges.h"
#include "include/python.h"

/* Blocks that no Python object is known to have. */
#define NO_OBJECT "(not an object)" /* of a pool */
#define BUFFER "(buffer)"	    /* of malloc */

int pass__begin_python(struct collector *c)
{
	for (size_t i = 0; i < c->opts->python_cnt; i++) {
		struct python_pass python = {.view = &c->opts->pythons[i]};
		uint64_t *slot;
		bool is_new;

		slot = hashmap__insert(&c->python_index, python.view->space, 0, &is_new);
		if (!slot)
			return -ENOMEM;
		if (!is_new)
			continue;
		*slot = c->pythons.cnt;
		if (array_push(&c->pythons, python)) {
			hashmap__remove(&c->python_index, python.view->space, 0);
			return -ENOMEM;
		}
		if (object_tally__begin(&c->pythons.items[*slot].tally, python.view->scan))
			return -ENOMEM;
		c->frees_unseen |= !python.view->has_frees && python.view->alloc_sites;
	}
	return 0;
}

void pass__end_python(struct collector *c)
{
	for (size_t i = 0; i < c->pythons.cnt; i++)
		object_tally__free(&c->pythons.items[i].tally);
	c->pythons.cnt = 0;
	hashmap__clear(&c->python_index);
	row_types__clear(&c->row_types);
}

struct python_pass *pass__python(const struct collector *c, uint32_t space)
{
	uint64_t *slot = hashmap__find(&c->python_index, space, 0);

	return slot ? &c->pythons.items[*slot] : NULL;
}

bool pass__object_lives(struct collector *c, struct python_pass *python,
			const struct found_block *found, bool handed_down,
			const struct pool **ret_pool)
{
	bool in_use;

	*ret_pool = NULL;
	if (!python)
		return true;
	if (!python->tally.scan) /* it has ended, or hides: nobody can tell who lived */
		return python->view->has_frees;
	in_use = object_tally__see(&python->tally, found->addr, found->block->size, ret_pool);
	/* Who is younger than the look at the pools may not have been there. */
	if (in_use || found->block->born_ns >= c->opts->looked_ns)
		return true;
	/* What an heir frees of its inheritance is not told one by one. */
	if (handed_down || !python->view->has_frees)
		return false;
	python->dead_cnt++;
	return true;
}

/* ---- types ------------------------------------------------------------------------------------
 */

static int note_object(struct collector *c, const struct raw_row *row,
		       const struct python_pass *python, const struct found_block *found,
		       const struct pool *pool)
{
	uint8_t data[POOL_MAX_BLOCK];
	uint32_t type, object;

	if (pool->block_size > sizeof(data) ||
	    !pool_scan__read_bytes(python->tally.scan, pool, found->addr - pool->addr, data,
				   pool->block_size))
		return 0;
	type = python_types__of_block(python->view->types, data, pool->block_size, &object);
	type = python_owners__of(python->view->owners, found->addr, type);
	return row_types__add(&c->row_types, row->id, type, found->bytes, found->count_q16);
}

int pass__note_type(struct collector *c, const struct raw_row *row,
		    const struct python_pass *python, const struct found_block *found,
		    const struct pool *pool)
{
	const struct large_block large = {
		.types = python ? python->view->types : NULL,
		.owners = python ? python->view->owners : NULL,
		.pid = row->space->tgid,
		.row = row->id,
		.addr = found->addr,
		.bytes = found->bytes,
		.count_q16 = found->count_q16,
	};

	if (!large.types || pass_age_ns(c, found->block->born_ns) < c->opts->min_age_ns)
		return 0;
	if (found->block->layer == LAYER_PYTHON)
		return pool ? note_object(c, row, python, found, pool) : 0;
	if (found->block->layer != LAYER_MALLOC || found->block->size <= SMALL_BYTES ||
	    row->space->state != PROC_RUNNING)
		return 0;
	return row_types__add_large(&c->row_types, &large);
}

/* The types of one row of the snapshot, parts taken together. */
struct share_list {
	ARRAY(struct snap_type_share) shares;
	struct hashmap index; /* {type, 0} -> index */
};

static int add_share(struct share_list *list, struct snapshot *snap, const char *name,
		     const struct type_count *count)
{
	struct snap_type_share share = {.type = snapshot__add_type(snap, name)};
	uint64_t *slot;
	bool is_new;

	if (share.type == SNAP_NONE)
		return -ENOMEM;
	slot = hashmap__insert(&list->index, share.type, 0, &is_new);
	if (!slot)
		return -ENOMEM;
	if (is_new) {
		*slot = list->shares.cnt;
		if (array_push(&list->shares, share))
			return -ENOMEM;
	}
	list->shares.items[*slot].bytes += count->bytes;
	list->shares.items[*slot].cnt += count->count_q16;
	return 0;
}

static int add_part_shares(struct collector *c, struct share_list *list, struct snapshot *snap,
			   const struct raw_row *row)
{
	const struct type_count *count = row_types__first(&c->row_types, row->id);
	const struct python_pass *python = pass__python(c, row->space->id);
	int err = 0;

	for (; count && !err; count = row_types__next(&c->row_types, count)) {
		char *name;

		if (count->type == TYPE_NONE)
			name = strdup(row->layer == LAYER_PYTHON ? NO_OBJECT : BUFFER);
		else
			name = python_owner__name(python->view->types, count->type);
		err = name ? add_share(list, snap, name, count) : -ENOMEM;
		free(name);
	}
	return err;
}

static int compare_shares(const void *a, const void *b)
{
	const struct snap_type_share *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	if (x->cnt != y->cnt)
		return x->cnt > y->cnt ? -1 : 1;
	return x->type < y->type ? -1 : x->type > y->type;
}

int pass__add_types(struct collector *c, struct snapshot *snap, const struct raw_row *row)
{
	struct share_list list = {0};
	int err = 0;

	if (!c->row_types.counts.cnt)
		return 0;
	err = add_part_shares(c, &list, snap, row);
	for (uint32_t next = row->next_part; next && !err;) {
		const struct raw_row *part = &c->rows.items[next - 1];

		err = add_part_shares(c, &list, snap, part);
		next = part->next_part;
	}
	if (list.shares.cnt)
		qsort(list.shares.items, list.shares.cnt, sizeof(struct snap_type_share),
		      compare_shares);
	for (size_t i = 0; i < list.shares.cnt && !err; i++) {
		const struct snap_type_share *share = &list.shares.items[i];

		err = snapshot__add_type_share(snap, share->type, share->cnt >> WEIGHT_SHIFT,
					       share->bytes);
	}
	array_free(&list.shares);
	hashmap__free(&list.index);
	return err;
}

/* ---- arenas -----------------------------------------------------------------------------------
 */

void pass__mark_arenas(const struct python_pass *python, struct space_info *space)
{
	const struct pool_scan *scan = python ? python->tally.scan : NULL;

	if (!scan || !ranges__has_memory(space->ranges))
		return;
	for (size_t i = 0; i < scan->pools.cnt; i++)
		ranges__mark_arena(space->ranges, scan->pools.items[i].addr);
}

/*
 * Arenas that were mapped before anybody looked: of each mapping that holds a pool in a place that
 * is not known, all that is not known.
 */
static uint64_t old_arena_bytes(const struct pool_scan *scan, const struct ranges *ranges)
{
	uint64_t bytes = 0;
	size_t i = 0;

	for (size_t k = 0; k < scan->ranges.cnt; k++) {
		const struct pool_range *range = &scan->ranges.items[k];
		bool has_old = false;

		while (i < scan->pools.cnt && scan->pools.items[i].addr < range->start)
			i++;
		for (; i < scan->pools.cnt && scan->pools.items[i].addr < range->end; i++)
			has_old |= !ranges__known_bytes(ranges, scan->pools.items[i].addr,
							scan->pools.items[i].addr + 1);
		if (has_old)
			bytes += range->end - range->start -
				 ranges__known_bytes(ranges, range->start, range->end);
	}
	return bytes;
}

/* ---- the process ------------------------------------------------------------------------------
 */

static char *copy(const char *text)
{
	return strdup(text ? text : "");
}

static void tell_pools(const struct collector *c, const struct python_pass *python,
		       const struct space_info *space, struct snap_python *tell)
{
	const struct pool_scan *scan = python->tally.scan;
	struct object_sums sums;

	object_tally__sum(&python->tally, python->view->baseline, space->parent != SPACE_NONE,
			  &sums);
	tell->was_scanned = true;
	tell->live_cnt = scan->live_cnt;
	tell->live_bytes = scan->live_bytes;
	tell->old_cnt = sums.old_cnt;
	tell->old_bytes = sums.old_bytes;
	/* What was left out on purpose was not missed, and nobody can tell one from the other. */
	if (!c->opts->is_filtered && python->view->objects != COVERAGE_SKIPPED) {
		tell->seen_cnt = sums.seen_cnt;
		tell->seen_bytes = sums.seen_bytes;
		tell->missed_cnt = sums.missed_cnt;
		tell->missed_bytes = sums.missed_bytes;
	}
	tell->dead_cnt = python->dead_cnt;
	tell->pool_free_bytes = scan->free_bytes;
	tell->torn_cnt = scan->torn;
	tell->arena_bytes =
		ranges__arena_bytes(space->ranges) + old_arena_bytes(scan, space->ranges);
}

int pass__tell_python(const struct collector *c, const struct python_pass *python,
		      const struct space_info *space, struct snap_python *ret)
{
	const struct python_view *view = python->view;

	ret->version = copy(view->version);
	ret->frames = view->frames;
	ret->objects = view->objects;
	ret->frames_reason = copy(view->frames_reason);
	ret->objects_reason = copy(view->objects_reason);
	if (!ret->version || !ret->frames_reason || !ret->objects_reason)
		return -ENOMEM;
	ret->alloc_sites = view->alloc_sites;
	ret->free_sites = view->free_sites;
	ret->has_frees = view->has_frees;
	if (python->tally.scan)
		tell_pools(c, python, space, ret);
	return 0;
}
