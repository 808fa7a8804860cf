/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stacks never change once they are stored: each is read from the kernel once. */
#ifndef LEAKSWEEP_COLLECT_STACK_CACHE_H
#define LEAKSWEEP_COLLECT_STACK_CACHE_H

#include <stdint.h>

struct cached_stack {
	uint32_t frame_cnt;
	uint32_t end;  /* enum unwind_end */
	uint64_t pc[]; /* leaf first */
};

struct stack_cache;

/* `map_fd` is the map stack_frames, borrowed. NULL: no memory. */
struct stack_cache *stack_cache__new(int map_fd);
void stack_cache__free(struct stack_cache *cache);

/* Reads what is new in the map. Returns 0 or a negative errno. */
int stack_cache__refresh(struct stack_cache *cache);

/* Returns the stack, owned by the cache, or NULL. */
const struct cached_stack *stack_cache__find(const struct stack_cache *cache, uint64_t id);

#endif
