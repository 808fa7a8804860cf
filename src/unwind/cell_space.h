/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which cells of the chunks are free: numbers only, the first gap that is large enough is taken. */
#ifndef LEAKSWEEP_UNWIND_CELL_SPACE_H
#define LEAKSWEEP_UNWIND_CELL_SPACE_H

#include <stddef.h>
#include <stdint.h>

#include "include/unwind.h"
#include "util/array.h"

/* `at` is a cell's number as in struct unwind_page; a range lies in one chunk. */
struct cell_range {
	uint32_t at, cnt;
};

struct cell_chunk {
	ARRAY(struct cell_range) gaps; /* sorted, none touches another */
	uint32_t free_cnt;
	uint32_t max_gaps; /* that can come about: room for them is kept, so giving back cannot fail
			    */
};

struct cell_space {
	ARRAY(struct cell_chunk) chunks;
	uint64_t free_cnt;
};

/* Zero-initialise to make an empty space. */
void cell_space__free(struct cell_space *space);

/* Adds a chunk, all of it free. Returns 0 or -ENOMEM. */
int cell_space__add_chunk(struct cell_space *space);

/*
 * Takes `cnt` cells (1 to UNWIND_CHUNK_CELLS) of one chunk, looking from chunk *from_chunk on and
 * then in those before; *from_chunk becomes the one that had them. Returns 0, -ENOSPC or -ENOMEM.
 */
int cell_space__take(struct cell_space *space, uint32_t cnt, uint32_t *from_chunk,
		     uint32_t *ret_at);

/* Gives back cells that were taken, in one or several pieces. */
void cell_space__give(struct cell_space *space, struct cell_range range);

#endif
