/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether blocks still contain what they did: keyed hashes of some words of some blocks of one
 * site, read from outside now and then. Blocks whose words are all new have ended, most likely, and
 * another one is there. Blocks that are as they were may be dead and not used again. Pure.
 *
 * Which blocks are looked at depends on nothing but when they were born: as evenly spread over the
 * time as they can be. Those that ended stay in the sample, so the shares of it are those of all.
 */
#ifndef LEAKSWEEP_MODEL_IMPRINT_H
#define LEAKSWEEP_MODEL_IMPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/siphash.h"

#define IMPRINT_WORDS 8
#define IMPRINT_BYTES (32 + IMPRINT_WORDS * 8) /* of a block, at most, are of interest */
#define IMPRINT_TAIL                                                                               \
	24 /* of these, in a larger block, are its last ones: a text may begin like all */
#define MAX_IMPRINTS 32

/* A block that is looked at. */
struct imprint {
	uint64_t addr, bytes, born_ns;
	uint64_t first_ns, last_ns; /* looks at it, 0 = none yet */
	uint64_t ended_ns;	    /* somebody saw its end, 0 = not */
	uint32_t words[IMPRINT_WORDS];
	uint32_t changed_ms[IMPRINT_WORDS]; /* age at which a word was seen to be another, 0 = never
					     */
	uint32_t word_cnt;
};

/* The sample of a site, by birth. Zero-initialise. */
struct imprints {
	struct imprint items[MAX_IMPRINTS];
	size_t cnt;
};

/* What the blocks say that were born in some time. */
struct imprint_sums {
	uint32_t read;	 /* blocks known from soon after their birth to not long ago, or to their
			    end */
	uint32_t kept;	 /* of these, they contain what they did, and nobody saw their end */
	uint32_t elders; /* of `read`, those that lived for the age asked for ... */
	uint32_t late;	 /* ... and ended afterwards */
	bool has_oldest_ended; /* of `elders`, the one born first */
	uint64_t life_ns;      /* of those that ended, the median; 0 = none did */
	bool is_alike;	       /* the blocks are too much alike for their words to tell anything */
};

/* A block is born that outlived its window. */
void imprints__offer(struct imprints *set, uint64_t addr, uint64_t bytes, uint64_t born_ns);

/* The block at an address, if there is one born then, was seen to end. */
void imprints__end(struct imprints *set, uint64_t addr, uint64_t born_ns, uint64_t now_ns);

/*
 * Whether a block should be looked at now: at once, after a second, and then whenever it is a
 * twelfth older, or twice as old when most of it has changed.
 */
bool imprint__is_due(const struct imprint *imprint, uint64_t now_ns);

/*
 * Tells what a block contains: `len` bytes from its begin on, or of one larger than IMPRINT_BYTES
 * so many, the last IMPRINT_TAIL of them from its end. Fewer than at the first time tell nothing.
 * `key` is secret and the same each time.
 */
void imprint__look(struct imprint *imprint, const uint8_t key[static SIPHASH_BYTES],
		   const void *data, size_t len, uint64_t now_ns);

/* Sums up the blocks born from `from_ns` to `to_ns`; elders are those that lived `elder_ns`. */
struct imprint_sums imprints__sum(const struct imprints *set, uint64_t from_ns, uint64_t to_ns,
				  uint64_t elder_ns, uint64_t now_ns);

#endif
