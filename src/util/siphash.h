/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SipHash-1-3 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
 * with the long output of its reference implementation): who does not know the key can neither
 * make two inputs of one hash nor the hash of an input.
 */
#ifndef LEAKSWEEP_UTIL_SIPHASH_H
#define LEAKSWEEP_UTIL_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_BYTES 16 /* of a key, and of a hash */

struct siphash {
	uint64_t v[4];
	uint64_t len;  /* bytes hashed */
	uint64_t tail; /* the last len % 8 of them, first in the low byte */
};

void siphash__init(struct siphash *hash, const uint8_t key[static SIPHASH_BYTES]);

/* However the input is cut into pieces, the hash is the same. */
void siphash__update(struct siphash *hash, const void *data, size_t len);

/* `hash` stays as it is and may be updated further. */
void siphash__final(const struct siphash *hash, uint8_t ret[static SIPHASH_BYTES]);

#endif
