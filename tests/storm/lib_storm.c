/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A library that a storm opens and closes: it allocates, and leaks, in code that then goes away. */
#include "tests/leakers/leaker.h"

void storm_touch(void);

SITE_FN void storm_touch(void)
{
	void *kept = malloc(48), *freed = malloc(32);

	KEEP(kept);
	free(freed);
}
