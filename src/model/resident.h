/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What resident memory did since the previous report, beside what is live: whether it is only kept
 * by an allocator. Pure.
 */
#ifndef LEAKSWEEP_MODEL_RESIDENT_H
#define LEAKSWEEP_MODEL_RESIDENT_H

#include <stdbool.h>
#include <stdint.h>

#include "model/snapshot.h"

struct profile;

/* A process as the previous report told it. */
struct resident_before {
	struct snap_resident resident; /* is_known: there was one, and it told */
	int64_t live_bytes;
};

/* Bytes that are resident, and in no block of the program's. */
struct retained {
	uint64_t pymalloc_bytes, heaps_bytes; /* 0 = not much of it */
	bool at_least;			      /* heaps_bytes may be more */
};

/*
 * Finds for each process of `profile` what `previous` told of it. *ret is owned, one a process.
 * Returns 0 or -ENOMEM.
 */
int residents__match(const struct profile *profile, const struct profile *previous,
		     struct resident_before **ret);

/*
 * Whether a process's live memory fell or stayed while its resident memory did not fall with it,
 * and an allocator is known to keep more than a tenth of it and more than 1 MiB. `live_bytes` is
 * what is live now.
 */
bool resident__is_retained(const struct snap_resident *now, int64_t live_bytes,
			   const struct resident_before *before, struct retained *ret);

#endif
