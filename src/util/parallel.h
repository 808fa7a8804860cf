/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs small jobs side by side that mostly wait in the kernel: closing probes waits for a grace
 * period each. */
#ifndef LEAKSWEEP_UTIL_PARALLEL_H
#define LEAKSWEEP_UTIL_PARALLEL_H

#include <stddef.h>

struct parallel;

/*
 * Starts job(items[i]) for all items on a few threads and returns at once. `items` is copied. When
 * threads cannot be had the jobs are done before it returns, which then is NULL.
 */
struct parallel *parallel__start(void (*job)(void *item), void *const *items, size_t cnt);

/* Waits for the jobs and frees. NULL is harmless. */
void parallel__join(struct parallel *parallel);

#endif
