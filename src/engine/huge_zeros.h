/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What huge pages hold beyond what a program has touched: the kernel gives 2 MiB for one byte, and
 * what was never written is zeros. A program's own zeros look the same.
 */
#ifndef LEAKSWEEP_ENGINE_HUGE_ZEROS_H
#define LEAKSWEEP_ENGINE_HUGE_ZEROS_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Counts bytes of whole pages of zeros that are in memory in [start, end), until `deadline_ns`
 * (CLOCK_MONOTONIC) or `max_bytes` that were read. Returns 0, -ESRCH, -ENOMEM or another negative
 * errno.
 */
int huge_zeros__count(pid_t pid, uint64_t start, uint64_t end, uint64_t max_bytes,
		      uint64_t deadline_ns, uint64_t *ret_bytes);

#endif
