/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The program that a storm starts and a crowd is made of:
 *
 *   storm_leaf leak BYTES    allocates so much in four blocks, frees two of them, ends
 *   storm_leaf load LIB...   opens and closes each library, calling its storm_touch()
 *   storm_leaf hold          leaks 64 bytes a second until it is killed, or its parent is
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/leakers/leaker.h"

#define HELD_BYTES 64

SITE_FN static void *leak_storm(size_t bytes)
{
	void *p = malloc(bytes);

	KEEP(p);
	return p;
}

static int leak(size_t bytes)
{
	void *blocks[4];

	for (int i = 0; i < 4; i++)
		blocks[i] = leak_storm(bytes / 4 + 1);
	free(blocks[0]);
	free(blocks[2]);
	return 0;
}

static int load(char **paths)
{
	for (; *paths; paths++) {
		void *lib = dlopen(*paths, RTLD_NOW | RTLD_LOCAL);
		void (*touch)(void) = lib ? (void (*)(void))dlsym(lib, "storm_touch") : NULL;

		if (!touch)
			return 1;
		touch();
		if (dlclose(lib))
			return 1;
	}
	return 0;
}

static int hold(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!sleep(1))
		leak_storm(HELD_BYTES);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "leak"))
		return leak(strtoul(argv[2], NULL, 10));
	if (argc > 2 && !strcmp(argv[1], "load"))
		return load(argv + 2);
	if (argc == 2 && !strcmp(argv[1], "hold"))
		return hold();
	return 2;
}
