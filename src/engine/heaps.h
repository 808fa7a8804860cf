/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The heaps of glibc's malloc in a process that runs: read from outside, a few MiB at a time, and
 * gone over by model/heap_walk.h. No symbols are needed. A heap that changes so that its chunks do
 * not follow one another is read once more; what is not understood then is told as not read.
 */
#ifndef LEAKSWEEP_ENGINE_HEAPS_H
#define LEAKSWEEP_ENGINE_HEAPS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collect/resident_view.h"
#include "model/heap_walk.h"

/*
 * glibc's arena.c on 64-bit machines: a thread's heap is aligned to 64 MiB, the most that it grows
 * to; the part in use is made accessible and begins with this.
 */
#define THREAD_HEAP_BYTES (64ULL << 20)

struct thread_heap {
	uint64_t arena; /* address of its struct malloc_state */
	uint64_t previous, size, accessible;
};

/*
 * Reads what the memory at `addr` says, if that is the begin of a thread's heap. Returns 0,
 * -ENOENT (it is not) or another negative errno.
 */
int thread_heap__read(pid_t pid, uint64_t addr, struct thread_heap *ret);

/*
 * Whether a mapping [start, ...) holds at `at` a block of malloc's that has pages of its own;
 * `end` is the mapping's. Returns its size, or 0.
 */
uint64_t big_block__read(pid_t pid, uint64_t at, uint64_t end);

/*
 * Goes over heaps, by address, until `deadline_ns` (CLOCK_MONOTONIC) at most. Returns 0 and *ret
 * (what was not read is HEAP_UNREAD; all of it where the heaps are not glibc's), -ESRCH, -ENOMEM
 * or another negative errno.
 */
int heaps__walk(pid_t pid, const struct heap_range *heaps, size_t cnt, uint64_t deadline_ns,
		struct heap_sums *ret);

#endif
