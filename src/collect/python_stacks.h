/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Python frames beside native stacks (include/python.h). They never change: each is read once.
 */
#ifndef LEAKSWEEP_COLLECT_PYTHON_STACKS_H
#define LEAKSWEEP_COLLECT_PYTHON_STACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "include/python.h"

struct cached_python_stack {
	uint32_t frame_cnt;
	uint8_t end;	  /* enum python_end */
	uint64_t frame[]; /* leaf first, as in struct python_stack */
};

struct python_stacks;

/* `map_fd` is the map python_stacks, borrowed; -1 = there is none. It keeps `max_frames` of all
 * stacks together; those that have no room are not found. NULL: no memory. */
struct python_stacks *python_stacks__new(int map_fd, uint64_t max_frames);
void python_stacks__free(struct python_stacks *stacks);

/* Whether a stack has been left out for want of room. */
bool python_stacks__is_full(const struct python_stacks *stacks);

/*
 * *ret is the stack of that id, owned by the cache until it is freed, and read from the map when it
 * is asked for the first time. Returns 0, -ENOENT or another negative errno.
 */
int python_stacks__find(struct python_stacks *stacks, uint64_t id,
			const struct cached_python_stack **ret);

#endif
