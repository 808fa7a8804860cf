/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The block table and the sums: every change of what is live goes through here. */
#ifndef LEAKSWEEP_BLOCK_BPF_H
#define LEAKSWEEP_BLOCK_BPF_H

#include "maps.bpf.h"
#include "sample.bpf.h"
#include "thread.bpf.h"

/* Whose block it is: its space, and the group that bears it (index in tables.groups). */
struct block_owner {
	__u32 space, group;
};

static __always_inline struct block_owner owner_of(const struct thread *thread)
{
	return (struct block_owner){.space = thread->space, .group = thread->group};
}

/* Whether the user does not want blocks of this size, or chance has left this one out. */
static __always_inline bool is_skipped(__u64 size)
{
	__u64 p;

	if (size < min_size || size > max_size)
		return true;
	if (!sample_bytes)
		return false;
	p = sample_probability(size, sample_bytes);
	return p < SAMPLE_ONE && bpf_get_prandom_u32() >= p;
}

/* Returns the sums of a stack in this space, made on first use, or NULL when there is no room. */
static __noinline struct stack_cost *cost_get(__u32 space, __u32 group, __u32 layer, __u64 stack_id)
{
	struct cost_key key = {.stack_id = stack_id, .space = space, .layer = layer};
	struct stack_cost *cost = bpf_map_lookup_elem(&stack_costs, &key), zero = {};

	if (cost)
		return cost;
	/* There is always one for what has lost its stack. */
	if (stack_id != STACK_LOST && !has_room(group, TABLE_COSTS)) {
		room_refused(group, TABLE_COSTS);
		return NULL;
	}
	if (!bpf_map_update_elem(&stack_costs, &key, &zero, BPF_NOEXIST))
		room_taken(group, TABLE_COSTS);
	return bpf_map_lookup_elem(&stack_costs, &key);
}

static __always_inline void cost_add(__u64 *bytes, __u64 *blocks, __u64 size)
{
	__u64 weight;

	if (!sample_bytes) {
		__sync_fetch_and_add(bytes, size);
		__sync_fetch_and_add(blocks, 1);
		return;
	}
	weight = sample_weight(sample_probability(size, sample_bytes));
	__sync_fetch_and_add(bytes, size * weight >> WEIGHT_SHIFT);
	__sync_fetch_and_add(blocks, weight);
}

/* Takes a block, already out of the table, out of the sums; descendants that still hold it are
 * told. */
static __always_inline void block_ended(struct block_owner owner, __u64 addr, struct block *block)
{
	__u32 space_id = owner.space;
	struct stack_cost *cost;
	struct space *space;
	struct event *event;

	if (block->flags & BLOCK_NESTED)
		return;
	cost = cost_get(owner.space, owner.group, block->layer, block->stack_id);
	if (cost)
		cost_add(&cost->free_bytes, &cost->free_count, block->size);
	if (!heirs_total)
		return;
	space = bpf_map_lookup_elem(&spaces, &space_id);
	if (!space || !space->heirs || block->born_ns > space->last_fork_ns)
		return;
	event = event_reserve(EV_ANCESTOR_FREE, space_id);
	if (!event)
		return;
	event->freed.addr = addr;
	event->freed.block = *block;
	bpf_ringbuf_submit(event, 0);
}

/*
 * Whether an ancestor has the block that a forked child frees, from before the fork. Asked now: by
 * the time of a report the ancestor may have freed its own copy.
 */
static __noinline bool block_is_inherited(struct space *space, __u64 addr)
{
	struct block_key key = {.addr = addr};
	struct block *block;
	__u64 born_ns;

	for (int i = 0; i < MAX_LINEAGE && space && space->parent; i++) {
		born_ns = space->born_ns;
		key.space = space->parent;
		block = bpf_map_lookup_elem(&live_blocks, &key);
		if (block)
			return block->born_ns < born_ns;
		space = bpf_map_lookup_elem(&spaces, &key.space);
	}
	return false;
}

/*
 * A free of an address that the table does not know. Whether it means anything depends on whether
 * all blocks are recorded; a forked child may have inherited the block in any case.
 */
static __always_inline void block_unknown(__u32 space_id, __u64 addr)
{
	struct space *space;
	struct event *event;

	if (in_windows)
		return;
	space = bpf_map_lookup_elem(&spaces, &space_id);
	if (!space || !space->parent) {
		if (!min_size && !~max_size && !sample_bytes)
			count(STAT_UNKNOWN_FREES, 1);
		return;
	}
	event = event_reserve(EV_UNKNOWN_FREE, space_id);
	if (!event)
		return;
	if (block_is_inherited(space, addr))
		event->flags |= EVENT_INHERITED;
	event->freed.addr = addr;
	bpf_ringbuf_submit(event, 0);
}

/* Takes a block out of the table, not out of the sums. Returns whether it was there; *ret_block is
 * filled then. */
static __always_inline bool block_take(struct block_owner owner, __u64 addr,
				       struct block *ret_block)
{
	struct block_key key = {.addr = addr, .space = owner.space};
	struct block *block = bpf_map_lookup_elem(&live_blocks, &key);

	if (!block)
		return false;
	*ret_block = *block;
	/* Two threads freeing one block is the program's bug; only one of them may take it out of
	 * the sums. */
	if (bpf_map_delete_elem(&live_blocks, &key))
		return false;
	tables__give(&tables, owner.group, TABLE_BLOCKS);
	count(STAT_BLOCKS_REMOVED, 1);
	return true;
}

/* The address is in use although its last block was never seen to be freed: that one has ended,
 * unseen. */
static __noinline int block_replace(struct block_key *key, struct block *block, __u32 group)
{
	struct block_owner owner;
	struct block *old, copy;

	if (!key || !block)
		return -1;
	owner = (struct block_owner){.space = key->space, .group = group};
	old = bpf_map_lookup_elem(&live_blocks, key);
	if (old) {
		copy = *old;
		if (copy.layer == LAYER_PYTHON && !object_frees) {
			/* The usual case there. Nobody else has to do with an address that is being
			 * handed out. */
			count(STAT_OBJECTS_REUSED, 1);
			*old = *block;
			block_ended(owner, key->addr, &copy);
			return 0;
		} else if (!(copy.flags & BLOCK_NESTED)) {
			count(STAT_REPLACED, 1);
			count(STAT_REPLACED_BYTES, copy.size);
			block_ended(owner, key->addr, &copy);
		}
	}
	return bpf_map_update_elem(&live_blocks, key, block, BPF_ANY);
}

/* Returns 0 or a negative errno, -ENOSPC when the group has had its share. */
static __always_inline int block_enter(struct block_key *key, struct block *block, __u32 group)
{
	int err; /* not long: before 6.4 (d7ba4cc900bf) map functions leave an error zero-extended
		  */

	if (!has_room(group, TABLE_BLOCKS))
		return bpf_map_lookup_elem(&live_blocks, key) ? block_replace(key, block, group)
							      : -ENOSPC;
	err = bpf_map_update_elem(&live_blocks, key, block, BPF_NOEXIST);
	if (err == -EEXIST)
		return block_replace(key, block, group);
	if (!err) {
		room_taken(group, TABLE_BLOCKS);
		count(STAT_BLOCKS_ADDED, 1);
	}
	return err;
}

static __always_inline void block_lost(__u64 size, __u32 group, bool of_share)
{
	count(of_share ? STAT_SHARE_FULL : STAT_MAP_FULL, 1);
	count(of_share ? STAT_SHARE_FULL_BYTES : STAT_MAP_FULL_BYTES, size);
	if (!of_share)
		return;
	room_refused(group, TABLE_BLOCKS);
	__sync_fetch_and_add(&group_at(group)->refused_bytes, size);
}

/* Enters a block into the table and, unless it is nested, into the sums. What finds no room is
 * counted lost. */
static __noinline int block_add(struct block_key *key, struct block *block, __u32 group)
{
	struct block_owner owner;
	struct stack_cost *cost = NULL;
	int err;

	if (!key || !block)
		return 0;
	owner = (struct block_owner){.space = key->space, .group = group};
	if (!(block->flags & BLOCK_NESTED)) {
		cost = cost_get(owner.space, owner.group, block->layer, block->stack_id);
		if (!cost && block->stack_id != STACK_LOST) {
			count(STAT_STACKS_LOST, 1);
			block->stack_id = STACK_LOST;
			cost = cost_get(owner.space, owner.group, block->layer, STACK_LOST);
		}
		if (!cost) {
			count(STAT_COSTS_FULL, 1);
			return 0;
		}
	}
	err = block_enter(key, block, group);
	if (err) {
		block_lost(block->size, group, err == -ENOSPC);
		return 0;
	}
	if (cost)
		cost_add(&cost->alloc_bytes, &cost->alloc_count, block->size);
	return 0;
}

#endif
