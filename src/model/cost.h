/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a stack, a process or a whole report holds. Signed, so that a difference is a plain
 * subtraction. */
#ifndef LEAKSWEEP_MODEL_COST_H
#define LEAKSWEEP_MODEL_COST_H

#include <stdint.h>

/* Invariant of an undivided cost: alloc + inherited = live + free, in bytes and in blocks. */
struct cost {
	int64_t live_bytes, live_count;
	int64_t alloc_bytes, alloc_count;
	int64_t free_bytes, free_count;
	int64_t inherited_bytes, inherited_count; /* copied from the parent by fork */
};

/* Adds `b` to `*a`. */
static inline void cost__add(struct cost *a, const struct cost *b)
{
	a->live_bytes += b->live_bytes;
	a->live_count += b->live_count;
	a->alloc_bytes += b->alloc_bytes;
	a->alloc_count += b->alloc_count;
	a->free_bytes += b->free_bytes;
	a->free_count += b->free_count;
	a->inherited_bytes += b->inherited_bytes;
	a->inherited_count += b->inherited_count;
}

/* Takes `b` from `*a`. */
static inline void cost__sub(struct cost *a, const struct cost *b)
{
	a->live_bytes -= b->live_bytes;
	a->live_count -= b->live_count;
	a->alloc_bytes -= b->alloc_bytes;
	a->alloc_count -= b->alloc_count;
	a->free_bytes -= b->free_bytes;
	a->free_count -= b->free_count;
	a->inherited_bytes -= b->inherited_bytes;
	a->inherited_count -= b->inherited_count;
}

#endif
