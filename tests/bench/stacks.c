/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holds BLOCKS blocks, allocated through STACKS different call paths in turn: stacks BLOCKS STACKS
 *
 * Says READY, waits for a newline, allocates, says DONE and stays until stdin ends.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __clang__
#define FRAME_FN __attribute__((noinline, used))
#else
#define FRAME_FN __attribute__((noipa, used))
#endif
#define KEEP(p) __asm__ volatile("" : : "g"(p) : "memory")

#define LEVELS 14 /* one bit of the path's number for each frame between hold_block and main */

static void **chain;

static void step(unsigned int path, int level);

FRAME_FN static void hold_block(void)
{
	void **block = malloc(48);

	if (!block)
		abort();
	*block = chain;
	chain = block;
}

FRAME_FN static void path_left(unsigned int path, int level)
{
	step(path, level);
	KEEP(chain);
}

FRAME_FN static void path_right(unsigned int path, int level)
{
	step(path, level);
	KEEP(chain);
}

static inline void step(unsigned int path, int level)
{
	if (level == LEVELS)
		hold_block();
	else if (path >> level & 1)
		path_right(path, level + 1);
	else
		path_left(path, level + 1);
}

int main(int argc, char **argv)
{
	long blocks = argc > 1 ? atol(argv[1]) : 1000000, stacks = argc > 2 ? atol(argv[2]) : 10000;

	if (blocks < 1 || stacks < 1 || stacks > 1 << LEVELS)
		return 2;
	puts("READY");
	fflush(stdout);
	if (getchar() == EOF)
		return 0;
	for (long i = 0; i < blocks; i++)
		step((unsigned int)(i % stacks), 0);
	puts("DONE");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
