/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The blocks of a Python's object allocator as its pools tell them, against those whose allocation
 * was seen: whether a recorded block still is in use, and how many blocks nobody saw. Pure.
 */
#ifndef LEAKSWEEP_COLLECT_OBJECTS_H
#define LEAKSWEEP_COLLECT_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "python/pools.h"

struct object_tally {
	const struct pool_scan *scan; /* borrowed; NULL = nothing is known */
	uint64_t *seen;		      /* beside scan->live_bits */
};

struct object_sums {
	uint64_t seen_cnt, seen_bytes;	   /* blocks in use whose allocation was seen */
	uint64_t old_cnt, old_bytes;	   /* older than the trace */
	uint64_t missed_cnt, missed_bytes; /* the rest */
};

/* Begins with no block seen. Returns 0 or -ENOMEM; object_tally__free is due either way. */
int object_tally__begin(struct object_tally *tally, const struct pool_scan *scan);
void object_tally__free(struct object_tally *tally);

/*
 * Tells whether the block of `size` bytes that was recorded at `addr` is the one in use there, and
 * counts it as seen; a second block at the same place cannot be it. *ret_pool is its pool then.
 */
bool object_tally__see(struct object_tally *tally, uint64_t addr, uint64_t size,
		       const struct pool **ret_pool);

/*
 * Sums up. What was not seen is old if it is in use in `baseline`; without one, if `all_old`.
 */
void object_tally__sum(const struct object_tally *tally, const struct pool_scan *baseline,
		       bool all_old, struct object_sums *ret);

#endif
