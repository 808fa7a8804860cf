/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ring buffer, as arrays of events in their order. */
#ifndef LEAKSWEEP_COLLECT_EVENT_SOURCE_H
#define LEAKSWEEP_COLLECT_EVENT_SOURCE_H

#include <stddef.h>

#include "include/events.h"

struct event_source;

/* `map_fd` is the ring buffer map, borrowed. Returns NULL and errno on failure. */
struct event_source *event_source__new(int map_fd);
void event_source__free(struct event_source *source);

/* Returns a descriptor that polls readable when events wait. */
int event_source__poll_fd(const struct event_source *source);

/*
 * Takes all waiting events. *ret_events is owned by the source and valid until the next call.
 * Returns 0 or a negative errno (-ENOMEM: what did not fit is lost).
 */
int event_source__drain(struct event_source *source, const struct event **ret_events,
			size_t *ret_cnt);

#endif
