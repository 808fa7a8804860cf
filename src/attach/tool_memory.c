/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach/tool_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/procfs_read.h"

/* Measured, and rounded up: to load the programs and to read files and processes takes 14 to 34
 * MiB; a stack of 20 frames in reports 1.2 KiB, and as much again for the last report's while there
 * are intervals; a process with its mappings 2 KiB. */
#define BASE_BYTES (56ULL << 20)
#define STACK_BYTES (3ULL << 10)
#define PROC_BYTES (4ULL << 10)
#define FREE_BYTES 96ULL /* of a table of twice as many, while it grows */

uint64_t tool_memory__bound(const struct attacher_opts *opts)
{
	return BASE_BYTES + opts->max_stacks * STACK_BYTES + opts->max_procs * PROC_BYTES +
	       opts->max_blocks / BLOCKS_A_FREE * FREE_BYTES;
}

/* jemalloc's, with which the tool is linked, but not its tests. */
int mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len)
	__attribute__((weak));

void tool_memory__release(void)
{
	/* 4096 stands for all arenas (MALLCTL_ARENAS_ALL, jemalloc.h). */
	if (mallctl)
		mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
}

uint64_t tool_memory__used(void)
{
	unsigned long long resident, of_files;
	uint64_t bytes = 0;
	size_t len;
	char *text;

	if (procfs_read_path("/proc/self/statm", &text, &len))
		return 0;
	if (sscanf(text, "%*u %llu %llu", &resident, &of_files) == 2 && resident > of_files)
		bytes = (resident - of_files) * (uint64_t)sysconf(_SC_PAGESIZE);
	free(text);
	return bytes;
}
