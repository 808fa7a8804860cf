/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects over 512 bytes are malloc's. Every living one is referred to: by an item of a list, an
 * entry of a dict, a slot, or its neighbours in the collector's lists. So every word of a block in
 * use that leads outside the pools is followed, whatever it is a part of, and what it leads to is
 * believed if it is an object in each respect: count, type, size. What such an object and its parts
 * hold is followed in turn, from a list of what is still to be done.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/census_state.h"
#include "python/frame_walk.h"
#include "util/remote.h"

#define BATCH 128
#define RECENT_CNT 16384
#define CHUNK_BYTES (256U << 10)
#define GLIBC_FLAGS 7ULL /* PREV_INUSE, IS_MMAPPED, NON_MAIN_ARENA */
#define GLIBC_IN_USE 1ULL
#define GLIBC_MMAPPED 2ULL
#define MAX_FRAMED (1U << 20)
#define MAX_FRAMES 4096	    /* of a thread */
#define FRAME_REACH 4096ULL /* bytes; longer frames are cut */

struct region {
	uint64_t addr, bytes;
};

struct finder {
	struct census_state *state;
	uint64_t low, high; /* of state->memory */
	uint64_t budget;    /* bytes that may still be read: regions of a liar overlap */
	uint64_t batch[BATCH];
	size_t batch_cnt;
	struct hashmap seen;	   /* {address, 0 = place, 1 = object, 2 = part, 3 = page} */
	ARRAY(struct region) todo; /* memory with references */
	uint8_t *chunk;
	uint64_t recent[RECENT_CNT]; /* words that need not be looked at again */
};

static bool first_time(struct finder *finder, uint64_t addr, uint64_t what, int *err)
{
	bool is_new = false;

	if (!hashmap__insert(&finder->seen, addr, what, &is_new))
		*err = -ENOMEM;
	return is_new && !*err;
}

static int take_part(struct census_state *state, void *arg, const struct object_part *part)
{
	struct finder *finder = arg;
	int err = 0;

	if (!part->has_refs || !census_is_memory(state, part->addr) ||
	    pool_scan__find(state->scan, part->addr))
		return PART_KNOWN;
	if (!first_time(finder, part->addr, 2, &err))
		return err ? err : PART_KNOWN;
	return array_push(&finder->todo, ((struct region){part->addr, part->bytes}));
}

/* Whether an object of the type refers to others in its own block. */
static bool has_refs(const struct type_info *info)
{
	switch (info->kind) {
	case KIND_LEAF:
	case KIND_INT:
	case KIND_STR:
	case KIND_BYTES:
	case KIND_BYTEARRAY:
		return info->is_heap; /* a class made from it may have attributes */
	}
	return true;
}

/* ---- places that may be objects -------------------------------------------------------------- */

/*
 * What glibc says of the chunk that begins 16 bytes before `start` (malloc.c, struct malloc_chunk):
 * its usable bytes, 0 = it is free, UINT64_MAX = it is no chunk of glibc's.
 */
static uint64_t glibc_bytes(const struct census_state *state, uint64_t start, uint64_t least)
{
	uint64_t field, size, next;

	if (start & 15 || !census_read_word(state, start - 8, &field))
		return UINT64_MAX;
	size = field & ~GLIBC_FLAGS;
	if (size & 15 || size < least + 8 || size >> 40)
		return UINT64_MAX;
	if (field & GLIBC_MMAPPED)
		return size - 16;
	if (!census_read_word(state, start - 8 + size, &next) || next & 8 || next >> 40)
		return UINT64_MAX;
	return next & GLIBC_IN_USE ? size - 8 : 0;
}

/* A type that is no class is not malloc's. */
static bool is_static_type(struct census_state *state, const struct object *object)
{
	uint32_t number;

	if (object->info->kind != KIND_TYPE)
		return false;
	number = python_types__find(state->types, object->addr);
	return number == TYPE_NONE || !python_types__info(state->types, number)->is_heap;
}

/* Takes an object up, if it is one that malloc made room for. */
static int take_object(struct finder *finder, const struct object *object, const uint8_t *data,
		       size_t len)
{
	struct census_state *state = finder->state;
	struct large_object large = {.addr = object->addr, .type = object->type};
	uint64_t bytes, chunk;
	int err = 0;

	bytes = python_types__object_bytes(state->types, object->info, data, len);
	if (bytes >> 40)
		return 0;
	bytes += object->info->head;
	if (object->info->kind == KIND_FRAMED || bytes >= state->least_large) {
		chunk = glibc_bytes(state, object->addr - object->info->head, bytes);
		if (!chunk)
			return 0;
		if (object->info->kind == KIND_FRAMED && chunk < MAX_FRAMED)
			bytes = chunk;
	}
	if (bytes < state->least_large || is_static_type(state, object) ||
	    !first_time(finder, object->addr, 1, &err))
		return err;
	large.bytes = bytes;
	err = array_push(&state->large, large);
	if (!err && has_refs(object->info))
		err = array_push(&finder->todo,
				 ((struct region){object->addr - object->info->head, bytes}));
	return err ? err : census_each_part(state, object, take_part, finder);
}

/* What lies at `addr`: an object, or the collector's header in front of one. */
static int look_at(struct finder *finder, uint64_t addr, const uint8_t *data)
{
	struct census_state *state = finder->state;
	const struct python_layout *layout = &state->process->layout;
	struct object object;
	uint64_t words[2];

	for (uint32_t off = 0; off <= layout->gc_head; off += layout->gc_head) {
		memcpy(words, data + off, sizeof(words));
		if (!python_types__is_refcount(state->types, words[0]))
			continue;
		object.type = python_types__find(state->types, words[1]);
		if (object.type == TYPE_NONE)
			continue;
		object.info = python_types__info(state->types, object.type);
		object.addr = addr + off;
		if (off && !(object.info->flags & TYPE_FLAG_GC))
			continue;
		return take_object(finder, &object, data + off, OBJECT_PEEK - off);
	}
	return 0;
}

static int look_at_batch(struct finder *finder)
{
	const struct census_state *state = finder->state;
	uint8_t data[BATCH][OBJECT_PEEK];
	struct remote_part parts[BATCH];
	size_t cnt = finder->batch_cnt;
	int err;

	for (size_t i = 0; i < cnt; i++)
		parts[i] = (struct remote_part){
			.addr = finder->batch[i], .buf = data[i], .len = OBJECT_PEEK};
	finder->batch_cnt = 0;
	err = remote_read_parts(state->process->pid, parts, cnt);
	for (size_t i = 0; !err && i < cnt; i++)
		if (!parts[i].err)
			err = look_at(finder, parts[i].addr, data[i]);
	return err;
}

/* ---- words ----------------------------------------------------------------------------------- */

static int follow(struct finder *finder, uint64_t word)
{
	const struct census_state *state = finder->state;
	size_t run;
	int err = 0;

	word &= ~15ULL; /* the collector keeps flags in its links */
	if (pool_scan__find(state->scan, word))
		return 0;
	run = census_run_at(state, word);
	if (run == state->memory.list.cnt || state->memory.list.items[run].start > word ||
	    state->memory.list.items[run].end - word < OBJECT_PEEK ||
	    !first_time(finder, word, 0, &err))
		return err;
	finder->batch[finder->batch_cnt++] = word;
	return finder->batch_cnt == BATCH ? look_at_batch(finder) : 0;
}

static int follow_words(struct finder *finder, const uint8_t *data, size_t len)
{
	uint64_t word, *recent;
	int err;

	for (size_t at = 0; at + sizeof(word) <= len; at += sizeof(word)) {
		memcpy(&word, data + at, sizeof(word));
		if (word < finder->low || word >= finder->high)
			continue;
		recent = &finder->recent[(word >> 4 ^ word >> 18) % RECENT_CNT];
		if (*recent == word)
			continue;
		*recent = word;
		err = follow(finder, word);
		if (err)
			return err;
	}
	return 0;
}

/* Follows the words of a region, as far as it is in memory. */
static int follow_region(struct finder *finder, const struct region *region)
{
	struct census_state *state = finder->state;
	uint64_t end = region->addr + region->bytes, at = region->addr, to;
	int err = 0;

	for (size_t run = census_run_at(state, at); !err && run < state->memory.list.cnt; run++) {
		const struct page_run *pages = &state->memory.list.items[run];

		if (pages->start >= end)
			break;
		at = pages->start > at ? pages->start : at;
		for (; !err && at < end && at < pages->end; at = to) {
			to = at + CHUNK_BYTES < end ? at + CHUNK_BYTES : end;
			to = to < pages->end ? to : pages->end;
			if (to - at > finder->budget) {
				state->torn++;
				return 0;
			}
			finder->budget -= to - at;
			err = remote_read(state->process->pid, at, finder->chunk, to - at);
			if (!err)
				err = follow_words(finder, finder->chunk, to - at);
			else if (err == -EFAULT)
				err = 0, state->torn++;
		}
	}
	return err;
}

static int follow_block(struct census_state *state, void *arg, const struct pool *pool, uint32_t i,
			uint32_t *class)
{
	struct finder *finder = arg;
	uint8_t data[POOL_MAX_BLOCK];
	struct object object;
	int err = 0;

	if (CLASS_IS_OBJECT(*class)) {
		object = census_object_in(state, pool, i, *class);
		err = census_each_part(state, &object, take_part, finder);
		if (err || !has_refs(object.info))
			return err;
	}
	if (!pool_scan__read_block(state->scan, pool, i, data))
		return 0;
	return follow_words(finder, data, pool->block_size);
}

/* ---- all ------------------------------------------------------------------------------------- */

/* The collector's lists: their first and last objects may be large ones between large ones only. */
static int follow_generations(struct finder *finder)
{
	const struct census_state *state = finder->state;
	const struct python_layout *layout = &state->process->layout;
	uint64_t interp, links[2];
	int err = 0;

	if (!layout->interp_gc_cnt ||
	    remote_read(state->process->pid, state->process->runtime + layout->runtime_interpreters,
			&interp, sizeof(interp)))
		return 0;
	for (unsigned int i = 0; !err && i < layout->interp_gc_cnt; i++)
		if (!remote_read(state->process->pid,
				 interp + layout->interp_gc_generations +
					 i * layout->interp_gc_step,
				 links, sizeof(links)))
			err = follow_words(finder, (const uint8_t *)links, sizeof(links));
	return err;
}

/* Since 3.11 frames are no objects: they lie in mappings of their thread, one behind the other. */
static int follow_frames_of(struct finder *finder, uint64_t thread)
{
	const struct python_process *process = finder->state->process;
	struct python_frames frames = {0};
	const char *reason;
	int err = 0;

	if (python_frames__read(process->pid, &process->layout, thread, MAX_FRAMES, &frames,
				&reason))
		return 0; /* it runs */
	for (size_t i = 0; !err && i < frames.list.cnt; i++) {
		uint64_t page = frames.list.items[i].addr & ~(FRAME_REACH - 1);

		if (first_time(finder, page, 3, &err))
			err = array_push(&finder->todo, ((struct region){page, 2 * FRAME_REACH}));
	}
	python_frames__free(&frames);
	return err;
}

static int follow_frames(struct finder *finder)
{
	const struct python_process *process = finder->state->process;
	struct python_threads threads = {0};
	const char *reason;
	int err = 0;

	if (process->layout.version < 0x030b ||
	    python_threads__read(process->pid, process->runtime, &process->layout, &threads,
				 &reason))
		return 0;
	for (size_t i = 0; !err && i < threads.list.cnt; i++)
		err = follow_frames_of(finder, threads.list.items[i].addr);
	array_free(&threads.list);
	return err;
}

static int by_addr(const void *a, const void *b)
{
	const struct large_object *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* Of two that overlap one is what is left of an object that was freed: the second is dropped. */
static void drop_overlaps(struct census_state *state)
{
	uint64_t end = 0, start;
	size_t kept = 0;

	if (state->large.cnt)
		qsort(state->large.items, state->large.cnt, sizeof(*state->large.items), by_addr);
	for (size_t i = 0; i < state->large.cnt; i++) {
		struct large_object *large = &state->large.items[i];

		start = large->addr - python_types__info(state->types, large->type)->head;
		if (start < end)
			continue;
		end = start + large->bytes;
		state->large.items[kept++] = *large;
	}
	state->large.cnt = kept;
}

int census_find_large(struct census_state *state)
{
	struct finder *finder = calloc(1, sizeof(*finder));
	const size_t cnt = state->memory.list.cnt;
	int err = -ENOMEM;

	if (!finder)
		return err;
	finder->state = state;
	finder->chunk = malloc(CHUNK_BYTES);
	finder->budget = 4 * state->memory_bytes;
	if (!finder->chunk)
		goto cleanup;
	if (cnt) {
		finder->low = state->memory.list.items[0].start;
		finder->high = state->memory.list.items[cnt - 1].end;
	}
	err = census_each_block(state, follow_block, finder);
	if (!err)
		err = follow_generations(finder);
	if (!err)
		err = follow_frames(finder);
	while (!err && (finder->todo.cnt || finder->batch_cnt)) {
		struct region region;

		if (!finder->todo.cnt) {
			err = look_at_batch(finder);
			continue;
		}
		region = finder->todo.items[--finder->todo.cnt];
		err = follow_region(finder, &region);
	}
	drop_overlaps(state);
cleanup:
	hashmap__free(&finder->seen);
	array_free(&finder->todo);
	free(finder->chunk);
	free(finder);
	return err;
}
