/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 10 000 functions that allocate one block each, most of them through a call that is inlined. The
 * functions are generated (names.awk); this is what they have in common.
 */
#ifndef LEAKSWEEP_BENCH_NAMES_H
#define LEAKSWEEP_BENCH_NAMES_H

#include <stdio.h>
#include <stdlib.h>

#ifdef __clang__
#define FRAME_FN __attribute__((noinline, used))
#else
#define FRAME_FN __attribute__((noipa, used))
#endif

extern void **chain;

/* Lists of them end with NULL. */
typedef void (*hold_fn)(void);

static inline __attribute__((always_inline)) void hold(size_t bytes)
{
	void **block = malloc(bytes);

	if (!block)
		abort();
	*block = chain;
	chain = block;
}

#endif
