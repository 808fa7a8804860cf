/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads whole BPF hash maps, thousands of entries a system call. */
#ifndef LEAKSWEEP_COLLECT_MAP_READER_H
#define LEAKSWEEP_COLLECT_MAP_READER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Calls `fn` for each entry of map `fd`; anything but 0 ends the pass and is its result. Entries
 * that come or go meanwhile may or may not be seen; all others are seen once. Returns 0 or a
 * negative errno.
 */
typedef int (*map_entry_fn)(void *arg, const void *key, const void *value);
int map_each(int fd, size_t key_size, size_t value_size, map_entry_fn fn, void *arg);

/* Deletes `cnt` keys. Returns how many went, or a negative errno. */
int map_delete_batch(int fd, const void *keys, size_t key_size, size_t cnt);

/* Sums a per-CPU array of 64-bit counters into `ret[cnt]`. Returns 0 or a negative errno. */
int map_read_counters(int fd, uint64_t *ret, size_t cnt);

#endif
