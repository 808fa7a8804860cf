/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Places in struct tables.groups (include/maps.h): a host has more control groups in its life. */
#ifndef LEAKSWEEP_COLLECT_SHARES_H
#define LEAKSWEEP_COLLECT_SHARES_H

#include <stdbool.h>
#include <stdint.h>

#include "include/maps.h"

/* Which groups have a space in the kernel's table; zeroed = none. */
struct shares_seen {
	bool groups[MAX_GROUPS];
};

void shares__see(struct shares_seen *seen, const struct space *space);

/*
 * Frees the places of the groups that were not seen, once few are left. What such a group still has
 * in the tables stays counted in their sums. Returns how many places it freed.
 */
uint32_t shares__recycle(struct tables *tables, const struct shares_seen *seen);

#endif
