/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the resident memory of the traced processes is, for every report, and how much of malloc's
 * heaps is in no block. The largest processes are read first; there is a bound on the time.
 */
#ifndef LEAKSWEEP_ENGINE_RESIDENT_H
#define LEAKSWEEP_ENGINE_RESIDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "collect/python_view.h"
#include "collect/resident_view.h"
#include "collect/space_table.h"

struct residents;

/* Returns an empty list, or NULL. */
struct residents *residents__new(void);
void residents__free(struct residents *residents);

/*
 * Reads the processes that run. `pythons` is what was seen of their pools just before. Returns 0 or
 * -ENOMEM; a process that cannot be read is left out.
 */
int residents__look(struct residents *residents, const struct space_table *table,
		    const struct python_view *pythons, size_t python_cnt);

/* Returns what the last look has found, valid until the next one. */
const struct resident_view *residents__views(const struct residents *residents, size_t *ret_cnt);

/* What is known of the blocks that were seen. */
struct residents_known {
	pid_t command;	  /* was traced from its first instruction on, as are its children; 0 = none
			   */
	bool is_filtered; /* some blocks were left out on purpose */
};

/*
 * Tells in `snap`, whose processes and their live blocks are filled in, what malloc keeps. All of
 * it is known where all blocks are: in a process that was traced from its first instruction on.
 * Elsewhere older blocks hide it, but none of them is new: what the heaps hold now, but for blocks,
 * beyond the least that they ever had room for, is kept.
 */
void residents__tell(struct residents *residents, const struct space_table *table,
		     const struct residents_known *known, struct snapshot *snap);

#endif
