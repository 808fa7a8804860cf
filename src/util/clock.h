/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_UTIL_CLOCK_H
#define LEAKSWEEP_UTIL_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_SEC 1000000000ULL
#define NS_PER_MS 1000000ULL

/* Returns nanoseconds of a POSIX clock. */
static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

#endif
