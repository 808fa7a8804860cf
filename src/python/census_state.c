/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What there is: blocks of the pools, each told by its type, and memory outside them. */
#include "python/census_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/procfs.h"
#include "util/remote.h"

#define SMALL_BYTES 512 /* SMALL_REQUEST_THRESHOLD, Objects/obmalloc.c */

static bool may_be_malloc(const struct proc_map *map)
{
	return map->readable && map->writable && !map->shared && !map->ino &&
	       (!map->path[0] || !strcmp(map->path, "[heap]") ||
		!strncmp(map->path, "[anon:", strlen("[anon:")));
}

static int list_memory(struct census_state *state)
{
	struct page_runs runs = {0};
	struct proc_maps maps = {0};
	struct page_map pages;
	int err;

	err = page_map__open(state->process->pid, &pages);
	if (err)
		return err;
	err = proc_maps__read(state->process->pid, &maps);
	for (size_t i = 0; !err && i < maps.maps.cnt; i++) {
		const struct proc_map *map = &maps.maps.items[i];

		if (!may_be_malloc(map))
			continue;
		err = page_map__list(&pages, map->start, map->end, &runs);
		state->memory.swapped_bytes += runs.swapped_bytes;
		for (size_t k = 0; !err && k < runs.list.cnt; k++)
			err = array_push(&state->memory.list, runs.list.items[k]);
	}
	for (size_t i = 0; i < state->memory.list.cnt; i++)
		state->memory_bytes +=
			state->memory.list.items[i].end - state->memory.list.items[i].start;
	proc_maps__free(&maps);
	array_free(&runs.list);
	page_map__close(&pages);
	return err;
}

static int classify_block(struct census_state *state, void *arg, const struct pool *pool,
			  uint32_t i, uint32_t *class)
{
	uint8_t data[POOL_MAX_BLOCK];
	uint32_t object, type;

	(void)arg;
	if (!pool_scan__read_block(state->scan, pool, i, data)) {
		state->torn++;
		return 0;
	}
	type = python_types__of_sized_block(state->types, data, pool->block_size, pool->block_size,
					    &object);
	if (type != TYPE_NONE)
		*class = CLASS_OF(type, false);
	state->torn += pool->is_torn;
	return 0;
}

int census_classify(struct census_state *state)
{
	int err = list_memory(state);

	if (err)
		return err;
	/* Without pools (PYTHONMALLOC=malloc) everything is malloc's. */
	state->least_large = state->scan->pools.cnt ? SMALL_BYTES + 1 : 16;
	state->classes = calloc(census_bit_cnt(state->scan) + 1, sizeof(*state->classes));
	if (!state->classes)
		return -ENOMEM;
	python_types__set_pools(state->types, state->scan);
	return census_each_block(state, classify_block, NULL);
}

void census_state__free(struct census_state *state)
{
	free(state->classes);
	free(state->sums);
	array_free(&state->memory.list);
	array_free(&state->large);
	hashmap__free(&state->parts);
}

/* ---- reading --------------------------------------------------------------------------------- */

uint64_t census_bit_cnt(const struct pool_scan *scan)
{
	const struct pool *last;

	if (!scan->pools.cnt)
		return 0;
	last = &scan->pools.items[scan->pools.cnt - 1];
	return (uint64_t)last->live_at + last->block_cnt;
}

bool census_read(const struct census_state *state, uint64_t addr, void *buf, size_t len)
{
	const struct pool *pool = pool_scan__find(state->scan, addr);

	if (pool)
		return pool_scan__read_bytes(state->scan, pool, addr - pool->addr, buf, len);
	return census_is_memory(state, addr) && !remote_read(state->process->pid, addr, buf, len);
}

bool census_read_word(const struct census_state *state, uint64_t addr, uint64_t *ret)
{
	return census_read(state, addr, ret, sizeof(*ret));
}

size_t census_run_at(const struct census_state *state, uint64_t addr)
{
	size_t low = 0, high = state->memory.list.cnt, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (state->memory.list.items[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool census_is_memory(const struct census_state *state, uint64_t addr)
{
	size_t at = census_run_at(state, addr);

	return at < state->memory.list.cnt && state->memory.list.items[at].start <= addr;
}

struct object census_object_in(const struct census_state *state, const struct pool *pool,
			       uint32_t i, uint32_t class)
{
	struct object object = {.type = CLASS_TYPE(class)};

	object.info = python_types__info(state->types, object.type);
	object.addr = pool->addr + PYTHON_POOL_HEADER + (uint64_t)i * pool->block_size +
		      object.info->head;
	return object;
}

int census_each_block(struct census_state *state, census_block_fn fn, void *arg)
{
	const struct pool_scan *scan = state->scan;
	int err;

	for (size_t nr = 0; nr < scan->pools.cnt; nr++) {
		const struct pool *pool = &scan->pools.items[nr];

		for (uint32_t i = 0; i < pool->block_cnt; i++) {
			if (!pool_scan__block_is_live(scan, pool, i))
				continue;
			err = fn(state, arg, pool, i, &state->classes[pool->live_at + i]);
			if (err)
				return err;
		}
	}
	return 0;
}
