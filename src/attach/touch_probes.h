/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The programs that see first touches (bpf/touch.bpf.c). They make every page fault of the host a
 * little slower, so they are loaded when they are asked for and attached while somebody is watched.
 */
#ifndef LEAKSWEEP_ATTACH_TOUCH_PROBES_H
#define LEAKSWEEP_ATTACH_TOUCH_PROBES_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/tracepoint.h"
#include "util/parallel.h"

/* What is added to the kernel's memory, at most, when they are asked for: tables that are full. */
#define TOUCH_TABLE_BYTES (14ULL << 20)

struct leaksweep_bpf;

/* Before loading: decides whether the programs are loaded and their tables get any size. Returns 0
 * or a negative errno. */
int touch_probes__select(struct leaksweep_bpf *skel, bool wanted);

/* Zeroed = not attached. */
struct touch_probes {
	struct links links;
	struct parallel *closing; /* the last ones, being taken away */
};

/* Attaches them all unless they are, what belongs to a sample before what makes one; waits until
 * those before are gone. Returns 0 or a negative errno; some may be attached then. */
int touch_probes__attach(struct touch_probes *probes, const struct leaksweep_bpf *skel);

/* Begins to take them away, on threads: closing waits for the kernel's grace periods. */
void touch_probes__detach(struct touch_probes *probes);

/* Waits until they are gone. */
void touch_probes__free(struct touch_probes *probes);

/* Changes how much of a watched space is sampled; what is counted goes on. Returns 0, -ENOENT (it
 * is not watched) or another negative errno. */
int touch_probes__adjust(const struct leaksweep_bpf *skel, uint32_t space, uint64_t mean_bytes);

#endif
