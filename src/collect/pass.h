/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one pass over the maps has found, private to the collector: collector.c reads, pass_build.c
 * makes the snapshot of it. */
#ifndef LEAKSWEEP_COLLECT_PASS_H
#define LEAKSWEEP_COLLECT_PASS_H

#include "collect/collector.h"
#include "collect/lineage.h"
#include "collect/stack_cache.h"

struct raw_row {
	uint64_t stack_id;
	struct space_info *space;
	uint8_t layer;
	struct cost cost;
	uint64_t oldest_born, newest_born;
	int64_t old_bytes, old_count;	/* live blocks of at least the minimum age */
	int64_t seen_bytes, seen_count; /* live blocks found one by one */
	int64_t inherited_count,
		inherited_free_count; /* counts of this kind are in 1/65536 until the end */
};

struct collector {
	const struct map_fds *maps;
	struct space_table *table;
	struct stack_cache *stacks;

	/* of the pass that is running */
	const struct collect_opts *opts;
	ARRAY(struct raw_row) rows;
	struct hashmap row_index; /* {stack id, space << 8 | layer} -> index */
	struct hashmap purged;	  /* {space, 0} -> 1: released, not kept */
	struct lineage lineage;
	ARRAY(struct block_key) dead_blocks;
	uint64_t unknown_frees;

	uint64_t purged_blocks;	      /* since the start */
	uint64_t ended_unknown_frees; /* the same */
};

/* Whether the space's processes are in the report. */
static inline bool pass_keeps(const struct collector *c, const struct space_info *space)
{
	if (space->state == PROC_RUNNING)
		return true;
	return space->state == PROC_EXITED && (c->opts->keep_ended || space->is_root);
}

/* A block may be younger than the moment of the report, which is taken before the tables are read.
 */
static inline uint64_t pass_age_ns(const struct collector *c, uint64_t born_ns)
{
	return c->opts->now_ns > born_ns ? c->opts->now_ns - born_ns : 0;
}

/* Turns modules, spaces, rows and their stacks into the snapshot's. Returns 0 or a negative errno. */
int pass__build(struct collector *c, struct snapshot *snap);

#endif
