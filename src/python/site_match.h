/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells what pymalloc does to a pool (Objects/obmalloc.c) by its effect: whichever registers,
 * order and distances a compiler chose, the fast paths are a store to the pool's `freeblock`
 * with the values around it that belong to it.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_MATCH_H
#define LEAKSWEEP_PYTHON_SITE_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "python/site_window.h"

struct site_match {
	uint8_t kind;	     /* enum site_kind; 0 = nothing of the allocator's */
	struct value block;  /* the address that is given out or returned */
	size_t first;	     /* index of the first instruction that finds the header right */
	uint64_t pool_mask;  /* what the address is masked with to find the pool, 0 = unknown */
	uint32_t pool_bytes; /* told by the sizes of blocks, 0 = not told */
	uint32_t alignment;  /* the same */
};

/* Looks at the store in the center of the window. */
struct site_match site_match__find(const struct site_window *window);

#endif
