/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much kernel memory the tables may take: what the kernel allocates for an entry of a hash map
 * (struct htab_elem and the value, kernel/bpf/hashtab.c, in an object of kmalloc's size classes)
 * and for its buckets, rings at their size. An upper bound: entries are allocated when they are
 * needed.
 */
#ifndef LEAKSWEEP_ATTACH_TABLE_MEMORY_H
#define LEAKSWEEP_ATTACH_TABLE_MEMORY_H

#include <stdint.h>

#include "attach/attacher.h"
#include "include/maps.h"

/* Room of tables that goes by that of others. */
#define COSTS_A_STACK 4ULL
#define SPACES_A_PROC 2

#define MIN_MEMORY (140ULL << 20)
#define THREAD_MEMORY (24U << 10) /* of one that allocates, at most */

/* Entries and bytes that a user gets who asks for nothing else. */
#define DEFAULT_BLOCKS (1U << 21)
#define DEFAULT_STACKS (1U << 16)
#define DEFAULT_PROCS (1U << 15)
#define DEFAULT_RING_BYTES (8U << 20)
#define DEFAULT_UNWIND_BYTES (128ULL << 20)

/* Returns bytes, at most, with all tables full; `unwind_bytes` are those of unwind tables. */
uint64_t table_memory__bound(const struct attacher_opts *opts, uint64_t unwind_bytes);

/*
 * Makes all tables, and unwind tables, smaller or larger in proportion, so that their bound and the
 * tool's own (attach/tool_memory.h) together are at most `bytes`. Returns 0, or -ERANGE below
 * MIN_MEMORY (nothing is changed).
 */
int table_memory__fit(uint64_t bytes, struct attacher_opts *opts, uint64_t *unwind_bytes);

/* Returns the bytes that the kernel says a map takes up, 0 when it does not tell. Before 6.4 that
 * is its bound (commit 90a5527d7686, "bpf: add new map ops ->map_mem_usage"). */
uint64_t table_memory__of_map(int map_fd);

/* Says how large the tables are that control groups share (include/maps.h), before loading. */
void tables__share(struct tables *tables, const struct attacher_opts *opts);

#endif
