/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stacks that met code whose unwind table was not loaded yet: they are finished once it is. */
#ifndef LEAKSWEEP_ENGINE_DEFERRED_H
#define LEAKSWEEP_ENGINE_DEFERRED_H

#include <stdbool.h>

#include "collect/collector.h"
#include "collect/space_table.h"
#include "engine/unwinder.h"

struct deferred;

/* `map_fd` is the map raw_stacks; everything is borrowed. NULL: no memory. */
struct deferred *deferred__new(int map_fd, struct unwinder *unwinder, struct collector *collector,
			       struct space_table *table);
void deferred__free(struct deferred *deferred);

/* Returns a descriptor that polls readable when stacks wait. */
int deferred__poll_fd(const struct deferred *deferred);

/*
 * Takes the stacks that wait. What is known of mappings must be brought up to date after this and
 * before deferred__finish. Returns 0 or -ENOMEM.
 */
int deferred__take(struct deferred *deferred);

/*
 * Finishes what can be finished. What still waits for a table is kept, unless `give_up`, for a while.
 * Returns 0 or a negative errno.
 */
int deferred__finish(struct deferred *deferred, bool give_up);

/* Adds how the finished stacks ended to the snapshot's counters, after these have been read. */
void deferred__tell(const struct deferred *deferred, struct snapshot *snap);

#endif
