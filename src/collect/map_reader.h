/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads whole BPF hash maps, thousands of entries a system call. */
#ifndef LEAKSWEEP_COLLECT_MAP_READER_H
#define LEAKSWEEP_COLLECT_MAP_READER_H

#include <stddef.h>
#include <stdint.h>

struct map_reader;

/*
 * Begins a pass over map `fd`. Entries that come or go meanwhile may or may not be seen; all others
 * are seen once. Returns NULL when out of memory.
 */
struct map_reader *map_reader__new(int fd, size_t key_size, size_t value_size);
void map_reader__free(struct map_reader *reader);

/*
 * Fetches the next batch. Returns the number of entries, 0 at the end, or a negative errno;
 * *ret_keys and *ret_values are arrays owned by the reader, valid until the next call.
 */
int map_reader__next(struct map_reader *reader, const void **ret_keys, const void **ret_values);

/*
 * Calls `fn` for each entry of map `fd`; anything but 0 ends the pass and is its result. Returns 0
 * or a negative errno.
 */
typedef int (*map_entry_fn)(void *arg, const void *key, const void *value);
int map_each(int fd, size_t key_size, size_t value_size, map_entry_fn fn, void *arg);

/* Deletes `cnt` keys. Returns how many went, or a negative errno. */
int map_delete_batch(int fd, const void *keys, size_t key_size, size_t cnt);

/* Sums a per-CPU array of 64-bit counters into `ret[cnt]`. Returns 0 or a negative errno. */
int map_read_counters(int fd, uint64_t *ret, size_t cnt);

#endif
