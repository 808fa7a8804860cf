/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A ring buffer, as arrays of records in their order. */
#ifndef LEAKSWEEP_COLLECT_RING_SOURCE_H
#define LEAKSWEEP_COLLECT_RING_SOURCE_H

#include <stddef.h>

struct ring_source;

/* `map_fd` is the ring buffer map, borrowed; its records have `record_size` bytes. Returns NULL and
 * errno on failure. */
struct ring_source *ring_source__new(int map_fd, size_t record_size);
void ring_source__free(struct ring_source *source);

/* Returns a descriptor that polls readable when records wait. */
int ring_source__poll_fd(const struct ring_source *source);

/*
 * Takes all waiting records. *ret_records is owned by the source and valid until the next call.
 * Returns 0 or a negative errno (-ENOMEM: what did not fit is lost).
 */
int ring_source__drain(struct ring_source *source, const void **ret_records, size_t *ret_cnt);

#endif
