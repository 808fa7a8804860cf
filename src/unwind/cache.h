/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables on disk, one file each, in a directory that belongs to us alone. A file is named after the
 * build-id (for people) and the fingerprint of what its table was made of; it is verified with the
 * cache's secret key before it is used. Several processes may use one directory at the same time.
 *
 *     key                               128 random bits, made once
 *     <build-id or "none">-<fingerprint>.rows
 *     .new-*                            being written, where the file system needs a name for that
 *
 * Other files in there are left alone.
 */
#ifndef LEAKSWEEP_UNWIND_CACHE_H
#define LEAKSWEEP_UNWIND_CACHE_H

#include <stdint.h>

#include "unwind/table.h"
#include "util/siphash.h"

struct table_cache;

struct table_key {
	const uint8_t *build_id; /* borrowed */
	uint8_t build_id_len;	 /* bytes, 0 = none */
	uint8_t fingerprint[SIPHASH_BYTES];
};

/*
 * Opens the directory, makes it (mode 0700) and its parents when they are missing, and takes away
 * what dead writers left and what is above `max_bytes`. Returns 0, -EPERM (it belongs to somebody
 * else, or others may write to it), -ENOTDIR (also a symbolic link), -ENOMEM or another negative
 * errno.
 */
int table_cache__open(const char *dir, uint64_t max_bytes, struct table_cache **ret);
void table_cache__free(struct table_cache *cache);

/* The secret that fingerprints are made with; differs from cache to cache. */
const uint8_t *table_cache__fingerprint_key(const struct table_cache *cache);

/*
 * Reads a table and notes its use. Returns 0, -ENOENT (not there), -EBADMSG (damaged or forged: it
 * is removed), -ENOMEM or another negative errno. Free with unwind_table__free.
 */
int table_cache__get(struct table_cache *cache, const struct table_key *key,
		     struct unwind_table *ret);

/*
 * Keeps a table, and removes the ones used longest ago if they are too many then. One that is there
 * already stays. Returns 0, -EFBIG (more than the whole cache may hold) or another negative errno
 * (disk full, read-only), after which the cache is as before.
 */
int table_cache__put(struct table_cache *cache, const struct table_key *key,
		     const struct unwind_table *table);

#endif
