/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Uses a library that does everything at unusual times (lib_early.c); binds its calls lazily. */
#include "tests/leakers/early.h"
#include "tests/leakers/whole_stacks.h"

SITE_FN static void bind_late(void)
{
	early_pick();
	KEEP(0);
}

int main(int argc, char **argv)
{
	leaker__ready(argc, argv);
	bind_late();
	return 0;
}
