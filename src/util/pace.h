/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How often something may be done whose cost others set: it takes no more than a share of the time.
 * Numbers only: the clock is passed in. */
#ifndef LEAKSWEEP_UTIL_PACE_H
#define LEAKSWEEP_UTIL_PACE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/clock.h"

/* All zero: it may be done at once. */
struct pace {
	uint64_t due_ns;
};

/* Whether it may be done at `now_ns`, nanoseconds of any clock. */
static inline bool pace__is_due(const struct pace *pace, uint64_t now_ns)
{
	return now_ns >= pace->due_ns;
}

/* Returns after how many milliseconds it may, 0 = now. */
static inline int pace__wait_ms(const struct pace *pace, uint64_t now_ns)
{
	uint64_t ms = pace__is_due(pace, now_ns) ? 0 : (pace->due_ns - now_ns) / NS_PER_MS + 1;

	return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* It was done from `begin_ns` to `end_ns`: that is to be one part in `parts` of the time. */
static inline void pace__note(struct pace *pace, uint64_t begin_ns, uint64_t end_ns, uint64_t parts)
{
	pace->due_ns = begin_ns + (end_ns - begin_ns) * parts;
}

#endif
