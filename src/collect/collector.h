/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Turns the maps and what is known of the spaces into a snapshot. */
#ifndef LEAKSWEEP_COLLECT_COLLECTOR_H
#define LEAKSWEEP_COLLECT_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/attacher.h"
#include "collect/codes.h"
#include "collect/failures.h"
#include "collect/python_view.h"
#include "collect/resident_view.h"
#include "collect/space_table.h"
#include "model/snapshot.h"

struct collect_opts {
	uint64_t now_ns;       /* CLOCK_MONOTONIC */
	uint64_t looked_ns;    /* before the pools of `pythons` were looked at */
	uint64_t min_age_ns;   /* 0 = all live blocks */
	uint64_t sample_bytes; /* as the capture was configured */
	bool is_filtered; /* blocks were left out on purpose: frees of unknown ones mean nothing */
	bool is_final;	  /* recording is frozen: sums and blocks must agree, and are checked */
	bool keep_ended; /* processes that ended stay in the report with what they held (a command's
			    end) */
	const struct python_view *pythons; /* one a space at most, in any order */
	size_t python_cnt;
	const struct resident_view *residents; /* one a space at most, in any order */
	size_t resident_cnt;
	const struct failure_limit *failure_limits; /* in any order */
	size_t failure_limit_cnt;
};

struct collector;

/*
 * `maps`, `table` and `codes` are borrowed and must outlive it; `hash_seed` as attacher__hash_seed;
 * `codes` may be NULL. What purged spaces had in `codes` is freed. Of all stacks together it keeps
 * `max_frames`, and as many of Python's. NULL: no memory.
 */
struct collector *collector__new(const struct map_fds *maps, uint64_t hash_seed,
				 struct space_table *table, struct code_table *codes,
				 uint64_t max_frames);
void collector__free(struct collector *collector);

/* Whether stacks were left out because there were too many frames. */
bool collector__is_full(const struct collector *collector);

/*
 * Reads the frames that the kernel side has stored under `id`. Returns 0, -ENOENT or another
 * negative errno.
 */
int collector__begun_stack(struct collector *collector, uint64_t id, struct stack_frames *ret);

/* Replaces the frames of stack `id`, which the kernel side could not finish. Returns 0 or -ENOMEM.
 */
int collector__finish_stack(struct collector *collector, uint64_t id,
			    const struct stack_frames *frames);

/*
 * Fills rows, processes, modules, statistics and checks of `snap`. Ended spaces that nobody
 * inherits from and that are not kept are purged from the maps and from the table. Returns 0 or a
 * negative errno.
 */
int collector__fill(struct collector *collector, const struct collect_opts *opts,
		    struct snapshot *snap);

/* Fills in processes and modules only: nothing is read but stacks that are new. Same contract. */
int collector__fill_processes(struct collector *collector, const struct collect_opts *opts,
			      struct snapshot *snap);

/*
 * Adds the failures of the processes in `snap`, which collector__fill has just filled with options
 * that still live, in the order of their times. Returns 0 or a negative errno.
 */
int collector__read_failures(struct collector *collector, struct snapshot *snap);

/* Somebody else has removed so many entries from the table of blocks. */
void collector__note_removed(struct collector *collector, uint64_t cnt);

/* Returns the id under which a stack and all equal ones are counted. */
uint64_t collector__same_stack(const struct collector *collector, uint64_t id);

/*
 * Adds a stack that some program of the kernel side has told of, of a process in `snap`, to it, as
 * collector__read_failures does. Returns 0 with *ret_node set, -ENOENT (no such space) or another
 * negative errno.
 */
int collector__add_stack(struct collector *collector, struct snapshot *snap, uint32_t space,
			 uint64_t stack_id, uint32_t *ret_node);

/*
 * Makes room between snapshots: once many processes have ended (512, or half of `max_procs`), or
 * the block table of `max_blocks` is half full and some have, purges what they left, as
 * collector__fill does. Cheap when there is nothing to do. Returns 0 or a negative errno.
 */
int collector__make_room(struct collector *collector, const struct collect_opts *opts,
			 uint32_t max_blocks, uint32_t max_procs);

#endif
