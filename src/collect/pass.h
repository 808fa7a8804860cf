/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one pass over the maps has found, private to the collector: collector.c reads, pass_python.c
 * looks at what Python says, pass_build.c and pass_stack.c make the snapshot of it.
 */
#ifndef LEAKSWEEP_COLLECT_PASS_H
#define LEAKSWEEP_COLLECT_PASS_H

#include "collect/collector.h"
#include "collect/lineage.h"
#include "collect/objects.h"
#include "collect/python_stacks.h"
#include "collect/row_types.h"
#include "collect/shares.h"
#include "collect/stack_cache.h"

struct raw_row {
	uint64_t stack_id;
	struct space_info *space;
	uint32_t id; /* its place in the order in which rows were found */
	uint8_t layer;
	struct cost cost;
	uint64_t oldest_born, newest_born;
	int64_t old_bytes, old_count;	/* live blocks of at least the minimum age */
	int64_t seen_bytes, seen_count; /* live blocks found one by one */
	int64_t inherited_count,
		inherited_free_count; /* counts of this kind are in 1/65536 until the end */
	int64_t unseen_free_count;    /* blocks that were freed although nobody saw it */
	/* in the snapshot */
	uint32_t node;
	uint8_t unwind; /* enum unwind_end */
	bool chained;
	bool is_part;	    /* of an earlier row with the same stack ... */
	uint32_t next_part; /* ... that begins this list: index + 1, 0 = none */
};

/* The Python of a space. */
struct python_pass {
	const struct python_view *view;
	struct object_tally tally;
	uint64_t dead_cnt; /* recorded as live, and not in use */
	uint64_t merge_violations;
};

/* What was live in the heaps of a space. */
struct resident_pass {
	const struct resident_view *view;
	uint64_t live_bytes, used_bytes; /* struct snap_resident */
};

struct collector {
	const struct map_fds *maps;
	struct space_table *table;
	struct code_table *codes;
	struct stack_cache *stacks;
	struct python_stacks *python_stacks;

	/* of the pass that is running */
	const struct collect_opts *opts;
	ARRAY(struct raw_row) rows;
	struct hashmap row_index; /* {stack id, space << 8 | layer} -> index */
	struct hashmap purged;	  /* {space, 0} -> its group: released, not kept */
	ARRAY(uint32_t) strangers; /* those of them that are not in the table */
	struct shares_seen shares;
	struct lineage lineage;
	ARRAY(struct block_key) dead_blocks;
	uint64_t unknown_frees;
	ARRAY(struct python_pass) pythons;
	struct hashmap python_index; /* {space, 0} -> index */
	struct row_types row_types;
	ARRAY(struct resident_pass) residents; /* by space */

	/* of the snapshot that is being made */
	struct hashmap same_rows;  /* {node, process << 16 | layer << 8 | unwind} -> index */
	struct hashmap snap_procs; /* {space, 0} -> index of the process */
	struct hashmap snap_codes; /* {number of the code, 0} -> index + 1 of its function */
	struct hashmap violations; /* {stack id, space} -> 1: could not be merged */

	uint64_t purged_blocks;	      /* since the start */
	uint64_t ended_unknown_frees; /* the same */
	bool frees_unseen; /* the same: some Python's blocks are freed without anybody seeing it */
};

/* A block of the table, or a copy that fork has handed down. */
struct found_block {
	uint64_t addr;
	const struct block *block;
	int64_t bytes, count_q16; /* what it stands for */
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

/* ---- pass_python.c ---- */

/* Takes over the views of the pass's options. Returns 0 or -ENOMEM; pass__end_python is due. */
int pass__begin_python(struct collector *c);
void pass__end_python(struct collector *c);

/* Returns what is known of the Python of a space, or NULL. */
struct python_pass *pass__python(const struct collector *c, uint32_t space);

/*
 * Tells whether an object's block still is in use, as far as its pools can tell. `handed_down`: the
 * block is a copy of an ancestor's. *ret_pool is its pool, or NULL.
 */
bool pass__object_lives(struct collector *c, struct python_pass *python,
			const struct found_block *found, bool handed_down,
			const struct pool **ret_pool);

/* Counts the type of a live block with its row. Returns 0 or -ENOMEM. */
int pass__note_type(struct collector *c, const struct raw_row *row,
		    const struct python_pass *python, const struct found_block *found,
		    const struct pool *pool);

/* Tells the space's ranges where its pools are: those are arenas. */
void pass__mark_arenas(const struct python_pass *python, struct space_info *space);

/* Fills in what the snapshot says of the process's Python. Returns 0 or -ENOMEM. */
int pass__tell_python(const struct collector *c, const struct python_pass *python,
		      const struct space_info *space, struct snap_python *ret);

/* Adds the types of a row and of its parts to the snapshot's last row. Returns 0 or -ENOMEM. */
int pass__add_types(struct collector *c, struct snapshot *snap, const struct raw_row *row);

/* ---- pass_resident.c ---- */

/* Takes over the views of the pass's options. Returns 0 or -ENOMEM. */
int pass__begin_residents(struct collector *c);

/* Counts a block of malloc's that is live, if it lies in a heap of its process. */
void pass__count_heap(struct collector *c, uint32_t space, const struct found_block *found);

/* Fills in what the snapshot says of the process's resident memory. */
void pass__tell_resident(const struct collector *c, uint32_t space, struct snap_resident *ret);

/* ---- pass_stack.c ---- */

struct pass_stack {
	uint32_t node;
	uint8_t unwind; /* enum unwind_end */
	bool chained;
};

/* Adds a stack of a process to the snapshot, Python frames in their places. Returns 0 or a negative
 * errno. */
int pass__add_stack(struct collector *c, struct snapshot *snap, const struct space_info *space,
		    uint64_t stack_id, struct pass_stack *ret);

/* ---- failures.c ---- */

/* Forgets the failures of the spaces that are purged. Returns 0 or a negative errno. */
int pass__purge_failures(struct collector *c);

/* ---- pass_build.c ---- */

/* Turns modules, spaces, rows and their stacks into the snapshot's. Returns 0 or a negative errno.
 */
int pass__build(struct collector *c, struct snapshot *snap);

#endif
