/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/stack_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/stack_hash.bpf.h"
#include "collect/map_reader.h"
#include "include/maps.h"
#include "util/hashmap.h"

#define STACK_ROOM 8 /* what a stack takes beside its frames, counted in frames */

struct stack_cache {
	int map_fd;
	uint64_t seed;
	struct hashmap by_id; /* {id, 0} -> struct cached_stack */
	struct hashmap same;  /* {id, 0} -> id of the equal stack, for finished ones */
	uint64_t frame_cnt, max_frames;
	bool is_full;
};

struct stack_cache *stack_cache__new(int map_fd, uint64_t seed, uint64_t max_frames)
{
	struct stack_cache *cache = calloc(1, sizeof(*cache));

	if (cache) {
		cache->map_fd = map_fd;
		cache->seed = seed;
		cache->max_frames = max_frames;
	}
	return cache;
}

void stack_cache__free(struct stack_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < cache->by_id.cap; i++)
		if (cache->by_id.slots[i].used)
			free((void *)(uintptr_t)cache->by_id.slots[i].value);
	hashmap__free(&cache->by_id);
	hashmap__free(&cache->same);
	free(cache);
}

static int add_stack(struct stack_cache *cache, uint64_t id, const struct stack_frames *frames)
{
	uint32_t cnt = frames->frame_cnt < MAX_FRAMES ? frames->frame_cnt : MAX_FRAMES;
	struct cached_stack *stack;
	uint64_t *slot;
	bool is_new;

	if (cnt + STACK_ROOM + cache->frame_cnt > cache->max_frames) {
		cache->is_full |= !hashmap__find(&cache->by_id, id, 0);
		return 0;
	}
	slot = hashmap__insert(&cache->by_id, id, 0, &is_new);
	if (!slot)
		return -ENOMEM;
	if (!is_new)
		return 0;
	stack = malloc(sizeof(*stack) + cnt * sizeof(stack->frame[0]));
	if (!stack) {
		hashmap__remove(&cache->by_id, id, 0);
		return -ENOMEM;
	}
	stack->frame_cnt = cnt;
	stack->end = frames->end;
	stack->chained = frames->chained;
	stack->python = frames->python;
	memcpy(stack->frame, frames->frame, cnt * sizeof(stack->frame[0]));
	*slot = (uintptr_t)stack;
	cache->frame_cnt += cnt + STACK_ROOM;
	return 0;
}

bool stack_cache__is_full(const struct stack_cache *cache)
{
	return cache->is_full;
}

static int see_stack(void *cache, const void *key, const void *value)
{
	return add_stack(cache, *(const uint64_t *)key, value);
}

int stack_cache__refresh(struct stack_cache *cache)
{
	return map_each(cache->map_fd, sizeof(uint64_t), sizeof(struct stack_frames), see_stack,
			cache);
}

int stack_cache__finish(struct stack_cache *cache, uint64_t id, const struct stack_frames *frames)
{
	struct stack_hash hash = stack_hash_begin(cache->seed ^ frames->python);
	uint64_t *slot;
	int err;

	for (uint32_t i = 0; i < frames->frame_cnt && i < MAX_FRAMES; i++)
		stack_hash_add(&hash, frames->frame[i]);
	stack_hash_end(&hash, frames->end);
	err = add_stack(cache, hash.id, frames);
	if (err || !hashmap__find(&cache->by_id, hash.id, 0))
		return err;
	slot = hashmap__insert(&cache->same, id, 0, NULL);
	if (!slot)
		return -ENOMEM;
	*slot = hash.id;
	return 0;
}

uint64_t stack_cache__same(const struct stack_cache *cache, uint64_t id)
{
	uint64_t *slot = cache->same.cnt ? hashmap__find(&cache->same, id, 0) : NULL;

	return slot ? *slot : id;
}

const struct cached_stack *stack_cache__find(const struct stack_cache *cache, uint64_t id)
{
	uint64_t *slot = hashmap__find(&cache->by_id, id, 0);

	return slot ? (const struct cached_stack *)(uintptr_t)*slot : NULL;
}
