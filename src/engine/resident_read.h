/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the resident memory of one process is, mapping by mapping: whose a mapping is, is told by
 * its name, its neighbours and, of malloc's and pymalloc's memory, by what is written at its begin.
 *
 * Allocators that neither name their mappings nor align them as glibc does cannot be told from
 * memory that a program mapped itself.
 */
#ifndef LEAKSWEEP_ENGINE_RESIDENT_READ_H
#define LEAKSWEEP_ENGINE_RESIDENT_READ_H

#include <stdint.h>
#include <sys/types.h>

#include "collect/resident_view.h"
#include "model/ledger.h"
#include "model/snapshot.h"
#include "python/pools.h"
#include "util/array.h"

/* A mapping with huge pages, whose memory is in a part of the ledger. */
struct huge_area {
	uint64_t start, end, huge_bytes;
	enum ledger_part part;
};

struct resident_reading {
	struct snap_resident sums; /* but for what blocks tell */
	ARRAY(struct heap_range) heaps;
	uint64_t heaps_mapped_bytes;  /* sizes of these, resident or not */
	struct ledger ledger;	      /* the heaps in it are LEDGER_HEAP_UNREAD */
	ARRAY(struct huge_area) huge; /* but for heaps and pools */
};

/*
 * Reads a process that runs, until `deadline_ns` (CLOCK_MONOTONIC) at most: then the rest is told
 * as not looked at; so is all of it, where a single mapping would take longer. `scan` may be NULL.
 * *ret is begun anew and keeps its room; the caller frees it by resident_reading__free. Returns 0,
 * -ESRCH, -EPERM or another negative errno, *ret->sums.is_known is false then.
 */
int resident_reading__read(pid_t pid, const struct pool_scan *scan, uint64_t deadline_ns,
			   struct resident_reading *ret);
void resident_reading__free(struct resident_reading *reading);

#endif
