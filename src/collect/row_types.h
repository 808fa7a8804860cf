/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which Python types the live blocks of each row hold, private to the collector. Blocks in pools
 * are told at once, from the bytes that the scan has kept; larger ones, which malloc gave out, are
 * noted first and read from the living process together.
 */
#ifndef LEAKSWEEP_COLLECT_ROW_TYPES_H
#define LEAKSWEEP_COLLECT_ROW_TYPES_H

#include <stdint.h>
#include <sys/types.h>

#include "python/owners.h"
#include "python/types.h"
#include "util/array.h"
#include "util/hashmap.h"

#define MAX_LARGE_READS 200000 /* a snapshot; the rest is left without a type */
#define LARGE_READ_BYTES 64    /* of a block: python_types__of_block wants no more */
#define SMALL_BYTES 512 /* SMALL_REQUEST_THRESHOLD, Objects/obmalloc.c: above, malloc is asked */

struct type_count {
	uint32_t type; /* as python_owners__of tells it */
	uint32_t next; /* of the same row: index + 1, 0 = none */
	int64_t bytes, count_q16;
};

/* A block that is still to be read. */
struct large_block {
	struct python_types *types;
	struct python_owners *owners; /* or NULL */
	pid_t pid;
	uint32_t row;
	uint64_t addr;
	int64_t bytes, count_q16;
};

/* Zero-initialise to make an empty one. */
struct row_types {
	ARRAY(struct type_count) counts;
	struct hashmap index; /* {row, type} -> index + 1 of its count */
	struct hashmap heads; /* {row, 0} -> index + 1 of the row's first count */
	ARRAY(struct large_block) large;
};

void row_types__free(struct row_types *types);
void row_types__clear(struct row_types *types);

/* Counts blocks of a type with a row (an index). Returns 0 or -ENOMEM. */
int row_types__add(struct row_types *types, uint32_t row, uint32_t type, int64_t bytes,
		   int64_t count_q16);

/* Notes a block to be read. Returns 0 or -ENOMEM. */
int row_types__add_large(struct row_types *types, const struct large_block *block);

/* Reads what was noted and counts it; what cannot be read has no type. Returns 0 or -ENOMEM. */
int row_types__read_large(struct row_types *types);

/* Returns the first count of a row, or NULL; and the one after `count`. */
const struct type_count *row_types__first(const struct row_types *types, uint32_t row);
const struct type_count *row_types__next(const struct row_types *types,
					 const struct type_count *count);

#endif
