/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chance for simulations: the same numbers for the same seed. */
#ifndef LEAKSWEEP_TESTS_CHANCE_FIXTURE_H
#define LEAKSWEEP_TESTS_CHANCE_FIXTURE_H

#include <math.h>
#include <stdint.h>

static uint64_t seed;

static double uniform(void)
{
	seed += 0x9e3779b97f4a7c15ULL;
	uint64_t mixed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9ULL;

	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebULL;
	return ((mixed ^ mixed >> 31) >> 11) / 9007199254740992.0;
}

static double normal(void)
{
	return sqrt(-2 * log(1 - uniform())) * cos(2 * M_PI * uniform());
}

#endif
