/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The directory where what was found out about files is kept: whose it is, its secret, its size.
 * Each stage keeps files of its own kind there, told by how their names end.
 */
#ifndef LEAKSWEEP_UTIL_CACHE_DIR_H
#define LEAKSWEEP_UTIL_CACHE_DIR_H

#include <stdint.h>

#include "util/siphash.h"

#define CACHE_SUFFIX ".rows"  /* src/unwind */
#define SITES_SUFFIX ".sites" /* src/python */

/*
 * Opens the directory, made with its parents when it is missing. Returns a descriptor that the
 * caller closes, -EPERM (it belongs to somebody else, or others may write to it), -ENOTDIR (also a
 * symbolic link) or another negative errno.
 */
int cache_dir__open(const char *path);

/* Reads the secret; makes it when there is none, or a bad one. Returns 0 or a negative errno. */
int cache_dir__key(int dir_fd, uint8_t ret_key[static SIPHASH_BYTES]);

/* Makes the key of one use out of the secret: what is told about one says nothing of another. */
void cache_dir__derive_key(const uint8_t key[static SIPHASH_BYTES], const char *use,
			   uint8_t ret_key[static SIPHASH_BYTES]);

/*
 * Removes what dead writers left behind and, when the files of the kinds above have more than
 * `max_bytes`, those that were used longest ago, down to some room below it. Returns 0 or a
 * negative errno; *ret_bytes is what is left.
 */
int cache_dir__trim(int dir_fd, uint64_t max_bytes, uint64_t *ret_bytes);

/* What a file of `size` bytes takes on disk, about. */
static inline uint64_t cache_dir__cost(uint64_t size)
{
	return (size + 4095) / 4096 * 4096;
}

#endif
