/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A library that allocates while it is started, while a call is bound, and while it is ended. */
#include "tests/leakers/early.h"
#include "tests/leakers/whole_stacks.h"

#define BLOCKS 20

static struct site sites[] = {
	{.name = "take_start < early_start < *"},
	/* glibc's lazy binding keeps its caller's place in a register that few frames tell of. */
	{.name = "[complete|odd-rule] take_resolve < early_resolve|early_pick < "
		 "*:bind_late|main|_start"},
	{.name = "take_picked < early_picked < bind_late < main" BELOW_MAIN},
	{.name = "take_end < early_end < *" BELOW_MAIN},
};

#define TAKE(take, site)                                                                           \
	SITE_FN static void take(void)                                                             \
	{                                                                                          \
		for (size_t i = 0; i < BLOCKS; i++)                                                \
			KEEP(note_alloc(&sites[site], malloc(30 + i), 30 + i));                    \
	}

TAKE(take_start, 0)
TAKE(take_resolve, 1)
TAKE(take_picked, 2)
TAKE(take_end, 3)

SITE_FN __attribute__((constructor)) static void early_start(void)
{
	take_start();
	KEEP(sites);
}

SITE_FN static void early_picked(void)
{
	take_picked();
	KEEP(sites);
}

/* Runs inside of the dynamic linker, at the first call. */
SITE_FN static void (*early_resolve(void))(void)
{
	take_resolve();
	KEEP(sites);
	return early_picked;
}

void early_pick(void) __attribute__((ifunc("early_resolve")));

SITE_FN __attribute__((destructor)) static void early_end(void)
{
	take_end();
	leaker__stacks(sites, sizeof(sites) / sizeof(sites[0]));
	leaker__add("DONE\n");
	leaker__flush();
}
