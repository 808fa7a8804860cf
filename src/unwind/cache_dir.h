/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cache's directory: whose it is, its secret, its size. */
#ifndef LEAKSWEEP_UNWIND_CACHE_DIR_H
#define LEAKSWEEP_UNWIND_CACHE_DIR_H

#include <stdint.h>

#include "util/siphash.h"

#define CACHE_SUFFIX ".rows"

/*
 * Opens the directory, made with its parents when it is missing. Returns a descriptor that the
 * caller closes, -EPERM (it belongs to somebody else, or others may write to it), -ENOTDIR (also a
 * symbolic link) or another negative errno.
 */
int cache_dir__open(const char *path);

/* Reads the secret; makes it when there is none, or a bad one. Returns 0 or a negative errno. */
int cache_dir__key(int dir_fd, uint8_t ret_key[static SIPHASH_BYTES]);

/*
 * Removes what dead writers left behind and, when the tables have more than `max_bytes`, those that
 * were used longest ago, down to some room below it. Returns 0 or a negative errno; *ret_bytes is
 * what is left.
 */
int cache_dir__trim(int dir_fd, uint64_t max_bytes, uint64_t *ret_bytes);

/* What a file of `size` bytes takes on disk, about. */
static inline uint64_t cache_dir__cost(uint64_t size)
{
	return (size + 4095) / 4096 * 4096;
}

#endif
