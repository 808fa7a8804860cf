/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plugin that allocates under functions of its own name. PLUG is its name, ROOM the size of its
 * frames: two plugins that differ in these only have all their code at the same offsets, with
 * frames of another size. With SHIFT the code lies elsewhere.
 */
#include <stdlib.h>

#include "tests/leakers/plug.h"

#define JOIN_(a, b, c) a##b##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define NAME(part) JOIN(PLUG, _, part)
#ifdef __clang__
#define PLUG_FN __attribute__((noinline))
#else
#define PLUG_FN __attribute__((noipa))
#endif

#ifdef SHIFT
PLUG_FN long NAME(unused)(long a)
{
	volatile char room[300];

	room[a] = 1;
	return room[a] * a / 3;
}
#endif

PLUG_FN void *NAME(take)(size_t bytes)
{
	volatile char room[ROOM];
	void *p;

	room[bytes & 7] = 1;
	p = malloc(bytes);
	__asm__ volatile("" : : "g"(p), "r"(room) : "memory");
	return p;
}

PLUG_FN void *NAME(middle)(size_t bytes)
{
	volatile char room[2 * ROOM];
	void *p;

	room[bytes & 7] = 1;
	p = NAME(take)(bytes);
	__asm__ volatile("" : : "g"(p), "r"(room) : "memory");
	return p;
}

void *plug_run(size_t bytes)
{
	void *p = NAME(middle)(bytes);

	__asm__ volatile("" : : "g"(p) : "memory");
	return p;
}
