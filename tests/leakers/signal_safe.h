/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An allocator that a signal handler may call at any moment, also in the middle of itself: a bump
 * pointer moved by one atomic addition, and frees that only mark. The spinning makes the calls long
 * enough for signals to land inside them. Included by one source file of a program; ALLOC_NAME and
 * FREE_NAME name it.
 */
#ifndef LEAKSWEEP_TESTS_SIGNAL_SAFE_H
#define LEAKSWEEP_TESTS_SIGNAL_SAFE_H

#include <stddef.h>
#include <stdint.h>

#define POOL_BYTES ((size_t)512 << 20)

static char pool[POOL_BYTES] __attribute__((aligned(64)));
static size_t pool_used;
static volatile int inside; /* how many calls of this thread are in progress */
static volatile int spin_rounds = 300;

static inline void spin(void)
{
	for (volatile int i = 0; i < spin_rounds; i++)
		;
}

void *ALLOC_NAME(size_t bytes);
void FREE_NAME(void *p);

__attribute__((noinline)) void *ALLOC_NAME(size_t bytes)
{
	size_t off;

	inside++;
	spin();
	off = __atomic_fetch_add(&pool_used, (bytes + 31) & ~(size_t)15, __ATOMIC_RELAXED);
	spin();
	inside--;
	return off + bytes + 32 > POOL_BYTES ? NULL : pool + off;
}

__attribute__((noinline)) void FREE_NAME(void *p)
{
	if (!p)
		return;
	inside++;
	spin();
	*(volatile char *)p = 0x5a;
	inside--;
}

#endif
