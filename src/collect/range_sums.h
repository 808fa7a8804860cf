/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What single calls asked for (mappings), and the sums of it per stack. A mapping lives as long as
 * any byte of it does, wherever its pieces have gone: its live bytes are its reference count.
 *
 * Only memory (RANGE_MEMORY) has mappings of its own. Everything else is never reported, so that
 * one mapping of each kind, whose number is the kind, stands for all of it.
 *
 * A program may map and unmap a huge area for ever: running sums wrap around rather than overflow.
 * Alloc + inherited = live + free holds modulo 2^64, and live is always right.
 */
#ifndef LEAKSWEEP_COLLECT_RANGE_SUMS_H
#define LEAKSWEEP_COLLECT_RANGE_SUMS_H

#include <stdbool.h>
#include <stdint.h>

#include "collect/ranges.h"
#include "util/array.h"
#include "util/hashmap.h"

#define MAPPING_NONE 0

/* Private to range_sums.c. */
struct range_mapping {
	uint64_t time_ns;
	uint64_t live_bytes;
	uint64_t alloc_bytes;	  /* by this process ... */
	uint64_t inherited_bytes; /* ... and by its parent */
	uint32_t row;		  /* of its stack; of a free mapping: the next one */
	uint8_t kind;		  /* enum range_kind, 0 = free */
	bool inherited;
};

/* To be made by range_sums__init. */
struct range_sums {
	ARRAY(struct range_mapping) mappings;
	uint32_t free_mapping;	       /* MAPPING_NONE = none */
	ARRAY(struct range_cost) rows; /* ages are not kept up */
	struct hashmap row_index;      /* {stack_id, 0} -> row */
	uint64_t live_cnt;	       /* mappings of memory */
};

/* Returns 0 or -ENOMEM; range_sums__free is due either way. */
int range_sums__init(struct range_sums *sums);
void range_sums__free(struct range_sums *sums);

/*
 * Makes `child`, fresh from init, inherit all that lives in `parent`, with the same numbers.
 * Returns 0 or -ENOMEM.
 */
int range_sums__inherit(struct range_sums *child, const struct range_sums *parent);

/* *ret_mapping is a new mapping without bytes: they must follow. Returns 0 or -ENOMEM. */
int range_sums__add(struct range_sums *sums, const struct range_origin *origin,
		    uint32_t *ret_mapping);

void range_sums__grow(struct range_sums *sums, uint32_t mapping, uint64_t bytes);

/* The mapping's number is free for others after its last byte. */
void range_sums__shrink(struct range_sums *sums, uint32_t mapping, uint64_t bytes);

enum range_kind range_sums__kind(const struct range_sums *sums, uint32_t mapping);

/* Turns a mapping of memory into one of another kind that was never counted. */
void range_sums__discount(struct range_sums *sums, uint32_t mapping, enum range_kind kind);

/* Returns the live bytes of all mappings of a kind. */
uint64_t range_sums__bytes(const struct range_sums *sums, enum range_kind kind);

/* As ranges__costs. */
int range_sums__costs(const struct range_sums *sums, struct range_costs *ret);

#endif
