/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Results of the analyser as bytes: what a confined child answers, and what is kept on disk. For
 * this machine only.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_FILE_H
#define LEAKSWEEP_PYTHON_SITE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "python/sites.h"
#include "util/elf_image.h"
#include "util/siphash.h"

#define SITE_FILE_VERSION 3	 /* of the format, and of what the analyser finds */
#define MAX_PYTHON_SITES 16384	 /* the most seen is 340 */
#define MAX_SITE_FILE (1U << 20) /* bytes */

/*
 * Writes to an empty file: the sites, the fingerprint of what they were found in, and a hash of all
 * with the key. Returns 0 or a negative errno.
 */
int site_file__write(int fd, const uint8_t key[static SIPHASH_BYTES],
		     const uint8_t fingerprint[static SIPHASH_BYTES],
		     const struct python_sites *sites);

/*
 * Reads what site_file__write wrote with this key and fingerprint, from the file's begin. Returns
 * 0, -EBADMSG (it is not that), -ENOMEM or another negative errno.
 */
int site_file__read(int fd, const uint8_t key[static SIPHASH_BYTES],
		    const uint8_t fingerprint[static SIPHASH_BYTES], struct python_sites *ret);

/*
 * Whether sites may be probed in this file: each on an instruction of its code that is emulated
 * or stepped as it says, in order, with a sound cookie, and all counts as they must be.
 */
bool python_sites__is_valid(const struct python_sites *sites, const struct elf_image *image);

#endif
