/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_UTIL_CPU_TIME_H
#define LEAKSWEEP_UTIL_CPU_TIME_H

#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/clock.h"

/* Returns how many CPUs are online, 1 when that is not known. */
static inline unsigned int cpu_cnt(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus > 0 ? (unsigned int)cpus : 1;
}

/* Returns the CPU time of the children that have ended and were waited for: they work on what
 * strangers wrote. 0 when it is not known. */
static inline uint64_t children_cpu_ns(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_CHILDREN, &usage))
		return 0;
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NS_PER_SEC +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

/* Returns the CPU time that this process and these children have used. */
static inline uint64_t cpu_time_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) + children_cpu_ns();
}

#endif
