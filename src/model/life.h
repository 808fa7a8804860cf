/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether a service grows whose process starts anew now and then. The growth of all its processes,
 * one after the other, has bounds that get narrower with time, but it adds up what each of them
 * loads; so what counts must be growth in a process's own life, too. Pure, as model/growth.h.
 */
#ifndef LEAKSWEEP_MODEL_LIFE_H
#define LEAKSWEEP_MODEL_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/growth.h"

/* The process that runs now, which follows another one. */
struct life {
	struct growth own;
	bool has_grown;	    /* the last process before it that was seen long enough */
	uint64_t had_bytes; /* the most that any earlier one had that did not grow */
};

/*
 * Begins the life of a process that follows another one. `before` is the life of that one, NULL =
 * it was the service's first; `service` is the growth up to its end, `noise_bytes` as
 * growth__judge.
 */
void life__begin(struct life *life, const struct life *before, const struct growth *service,
		 uint64_t noise_bytes);

/*
 * Judges the growth of a service, `life` NULL = its first process still runs. It grows by its own
 * bounds if the process that runs now says the same, or cannot tell yet and the one before it did.
 * A process that comes back to what an earlier one had, and kept, is warming up. Where both grow,
 * but the service by more than the process can, the verdict is the process's.
 */
void life__judge(const struct life *life, const struct growth *service, uint64_t noise_bytes,
		 struct growth_verdict *ret);

#endif
