/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stacks never change once the kernel side has stored them: each is read once. Only those that met
 * code without a table come back finished, and then may turn out to be equal to others.
 */
#ifndef LEAKSWEEP_COLLECT_STACK_CACHE_H
#define LEAKSWEEP_COLLECT_STACK_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "include/maps.h"

struct cached_stack {
	uint32_t frame_cnt;
	uint8_t end;	  /* enum unwind_end */
	bool chained;	  /* struct stack_frames */
	uint64_t python;  /* the same */
	uint64_t frame[]; /* leaf first, as in struct stack_frames */
};

struct stack_cache;

/*
 * `map_fd` is the map stack_frames, borrowed; `seed` as in bpf/stack_hash.bpf.h. It keeps
 * `max_frames` of all stacks together; those that have no room are not found. NULL: no memory.
 */
struct stack_cache *stack_cache__new(int map_fd, uint64_t seed, uint64_t max_frames);
void stack_cache__free(struct stack_cache *cache);

/* Whether a stack has been left out for want of room. */
bool stack_cache__is_full(const struct stack_cache *cache);

/* Reads what is new in the map. Returns 0 or a negative errno. */
int stack_cache__refresh(struct stack_cache *cache);

/* Replaces the frames of stack `id` by the finished ones. Returns 0 or -ENOMEM. */
int stack_cache__finish(struct stack_cache *cache, uint64_t id, const struct stack_frames *frames);

/* Returns the id under which the stack and all equal ones are counted. */
uint64_t stack_cache__same(const struct stack_cache *cache, uint64_t id);

/* Returns the stack, owned by the cache, or NULL. */
const struct cached_stack *stack_cache__find(const struct stack_cache *cache, uint64_t id);

#endif
