/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Results of the analyser on disk (util/cache_dir.h), one file for each content:
 * <fingerprint>.sites, verified with the cache's secret key before it is used.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_CACHE_H
#define LEAKSWEEP_PYTHON_SITE_CACHE_H

#include <stdint.h>

#include "python/sites.h"
#include "util/elf_image.h"
#include "util/siphash.h"

struct site_cache {
	int dir_fd;
	uint8_t fingerprint_key[SIPHASH_BYTES], file_key[SIPHASH_BYTES];
};

/* Opens the directory as cache_dir__open does. Returns 0 or a negative errno. */
int site_cache__open(const char *dir, struct site_cache *ret);
void site_cache__close(struct site_cache *cache);

/*
 * Hashes all of a file that is loaded, and how. Returns 0, -EFBIG (more than 1 GiB) or as
 * elf_image__read.
 */
int site_cache__fingerprint(const struct site_cache *cache, const struct elf_image *image,
			    uint8_t ret[static SIPHASH_BYTES]);

/*
 * Returns 0 with sites that python_sites__is_valid accepts, -ENOENT, -EBADMSG (damaged or forged:
 * it is removed), -ENOMEM or another negative errno.
 */
int site_cache__get(const struct site_cache *cache, const struct elf_image *image,
		    const uint8_t fingerprint[static SIPHASH_BYTES], struct python_sites *ret);

/* Keeps a result; one that is there already stays. Returns 0 or a negative errno. */
int site_cache__put(const struct site_cache *cache, const uint8_t fingerprint[static SIPHASH_BYTES],
		    const struct python_sites *sites);

#endif
