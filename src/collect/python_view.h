/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of the Python in a space, for one snapshot. Everything is borrowed. */
#ifndef LEAKSWEEP_COLLECT_PYTHON_VIEW_H
#define LEAKSWEEP_COLLECT_PYTHON_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "model/snapshot.h"
#include "python/owners.h"
#include "python/pools.h"
#include "python/types.h"

struct python_view {
	uint32_t space;
	const char *version; /* "3.11.2" */
	enum coverage_status
		frames; /* not COVERAGE_PROBED: what was taken for frames is not shown */
	enum coverage_status objects;
	const char *frames_reason, *objects_reason; /* "" when probed */
	uint32_t alloc_sites, free_sites;
	bool has_frees; /* else blocks that `scan` does not tell live have been freed, unseen */
	/* The pools at the snapshot, NULL = not looked at; and when the space's first object was
	 * about to be recorded, NULL = there were none or (forked) it is not known. */
	const struct pool_scan *scan, *baseline;
	struct python_types *types;   /* NULL = types are not told */
	struct python_owners *owners; /* of `scan`; NULL = whose a part is is not told */
};

#endif
