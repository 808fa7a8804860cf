/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the resident memory of a space was found, for one snapshot. Everything is borrowed. */
#ifndef LEAKSWEEP_COLLECT_RESIDENT_VIEW_H
#define LEAKSWEEP_COLLECT_RESIDENT_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "model/snapshot.h"

struct heap_range {
	uint64_t start, end; /* addresses */
};

struct resident_view {
	uint32_t space;
	struct snap_resident resident;	/* but for what is live in the heaps */
	const struct heap_range *heaps; /* malloc's, by address */
	size_t heap_cnt;
};

#endif
