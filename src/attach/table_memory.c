/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach/table_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attach/tool_memory.h"
#include "attach/touch_probes.h"
#include "include/maps.h"
#include "include/python.h"
#include "include/unwind.h"
#include "util/format.h"
#include "util/procfs_read.h"

#define ELEM_BYTES 48	/* struct htab_elem */
#define BUCKET_BYTES 16 /* struct bucket */
#define FREE_LINK 8	/* bpf_mem_alloc keeps one before each object */
#define FIXED_RINGS 2	/* beside the events: stacks to be finished, code objects ... */
#define FIXED_RING_BYTES (8ULL << 20) /* ... of this size (bpf/maps.bpf.h) */
#define FIXED_TABLES (24ULL << 20)    /* all that has a size of its own there, rounded up */
#define STEPS (16 * 8)
#define MAX_SHARE_UNIT 64

/* Returns what kmalloc takes for an object. */
static uint64_t object_bytes(uint64_t size)
{
	uint64_t class = 64;

	if (size > 64 && size <= 96)
		return 96;
	if (size > 128 && size <= 192)
		return 192;
	while (class < size)
		class *= 2;
	return class;
}

static uint64_t table_bytes(uint64_t entries, uint64_t key_bytes, uint64_t value_bytes)
{
	uint64_t buckets = 1, elem = ELEM_BYTES + ((key_bytes + 7) & ~7ULL) + value_bytes;

	while (buckets < entries)
		buckets *= 2;
	return buckets * BUCKET_BYTES + entries * object_bytes(elem + FREE_LINK);
}

uint64_t table_memory__bound(const struct attacher_opts *opts, uint64_t unwind_bytes)
{
	uint64_t stacks = opts->max_stacks, procs = opts->max_procs;

	return table_bytes(opts->max_blocks, sizeof(struct block_key), sizeof(struct block)) +
	       table_bytes(stacks, sizeof(uint64_t), sizeof(struct stack_frames)) +
	       table_bytes(stacks, sizeof(uint64_t), sizeof(struct python_stack)) +
	       table_bytes(stacks * COSTS_A_STACK, sizeof(struct cost_key),
			   sizeof(struct stack_cost)) +
	       table_bytes(procs, sizeof(uint32_t), sizeof(struct proc)) +
	       table_bytes(procs * SPACES_A_PROC, sizeof(uint32_t), sizeof(struct space)) +
	       (opts->watch_touches ? TOUCH_TABLE_BYTES : 0) + opts->ring_bytes +
	       FIXED_RINGS * FIXED_RING_BYTES + FIXED_TABLES + unwind_bytes;
}

/* From a 1024th of `value` on, eight steps double it. */
static uint64_t scaled(uint64_t value, int step, uint64_t least, uint64_t most)
{
	value = (value * (8 + step % 8) / 8 << step / 8) >> 10;
	return value < least ? least : value > most ? most : value;
}

int table_memory__fit(uint64_t bytes, struct attacher_opts *opts, uint64_t *unwind_bytes)
{
	struct attacher_opts tried = *opts, best = *opts;
	uint64_t unwind, best_unwind = 0;

	if (bytes < MIN_MEMORY)
		return -ERANGE;
	for (int step = 0; step < STEPS; step++) {
		tried.max_blocks = scaled(opts->max_blocks, step, 4096, 1U << 28);
		tried.max_stacks = scaled(opts->max_stacks, step, 1024, 1U << 24);
		tried.max_procs = scaled(opts->max_procs, step, 1024, 1U << 22);
		unwind = scaled(*unwind_bytes, step, 8 << 20, MAX_UNWIND_CHUNKS << 20);
		if (table_memory__bound(&tried, unwind) + tool_memory__bound(&tried) > bytes)
			break;
		best = tried;
		best_unwind = unwind;
	}
	if (!best_unwind)
		return -ERANGE;
	*opts = best;
	*unwind_bytes = best_unwind;
	return 0;
}

uint64_t table_memory__of_map(int map_fd)
{
	char *path = format_text("/proc/self/fdinfo/%d", map_fd), *text, *told;
	uint64_t bytes = 0;
	size_t len;

	if (path && !procfs_read_path(path, &text, &len)) {
		told = strstr(text, "memlock:");
		bytes = told ? strtoull(told + strlen("memlock:"), NULL, 10) : 0;
		free(text);
	}
	free(path);
	return bytes;
}

void tables__share(struct tables *tables, const struct attacher_opts *opts)
{
	tables->capacity[TABLE_BLOCKS] = opts->max_blocks;
	tables->capacity[TABLE_STACKS] = opts->max_stacks;
	tables->capacity[TABLE_PYTHON_STACKS] = opts->max_stacks;
	tables->capacity[TABLE_COSTS] = opts->max_stacks * COSTS_A_STACK;
	tables->are_shared = opts->share_tables;
	/* Sums of all groups are kept in units, so that they are seldom written; a small part of a
	 * table. */
	tables->unit = 1;
	while (tables->unit < MAX_SHARE_UNIT && tables->unit * 4096 < opts->max_stacks &&
	       tables->unit * 4096 < opts->max_blocks)
		tables->unit *= 2;
}
