/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the memory that a process has gained was first touched: samples of the kernel side
 * (include/touch.h) whose pages it still has. That is who asked for new memory, not who keeps it:
 * an allocator hands old memory to one and new memory to another. Only what comes by mappings of
 * its own (large blocks, buffers, arenas) is told for good.
 */
#ifndef LEAKSWEEP_COLLECT_TOUCHES_H
#define LEAKSWEEP_COLLECT_TOUCHES_H

#include <stdint.h>
#include <sys/types.h>

#include "collect/collector.h"
#include "include/touch.h"
#include "util/array.h"

#define TOUCH_NOT_SCALED INT64_MIN

struct touch_read_opts {
	/* What the process's anonymous memory (with what is swapped out) has grown by since it is
	 * watched; rows are scaled to it, both ways; nothing when it has shrunk. Or
	 * TOUCH_NOT_SCALED. */
	int64_t growth_bytes;
	uint64_t limit_ns; /* for looking pages up, some 1 us each; 0 = no limit */
};

/* All touches of one kind from one stack. */
struct touch_row {
	uint64_t stack_id;	/* for collector__add_stack, or STACK_LOST */
	uint32_t kind;		/* enum touch_kind */
	uint64_t touched_bytes; /* ever, whether they still are there or not */
	uint64_t held_bytes;	/* that the process still has, in memory or swapped out */
	uint64_t bytes;		/* the same, scaled to the growth */
	uint64_t error_bytes;	/* of `bytes`, by chance: one standard error */
	uint64_t samples;	/* whose pages it still has */
};

struct touch_report {
	ARRAY(struct touch_row) rows;		 /* the largest `bytes` first */
	struct touch_watch counters;		 /* exact counts and losses */
	uint64_t touched_bytes, held_bytes;	 /* of all rows */
	uint64_t error_bytes;			 /* of held_bytes: one standard error */
	uint64_t pages_checked, pages_unchecked; /* samples; what was not looked up in time is told
						    by the others */
	uint64_t moves_lost;			 /* samples of pages that moved then are missing */
};

struct touches;

/* Both are borrowed; the collector may be NULL: equal stacks that it has finished then are several
 * rows. NULL and errno on failure. */
struct touches *touches__new(const struct map_fds *maps, struct collector *collector);
void touches__free(struct touches *touches);

/*
 * Reads what is known of a watched space, which is process `pid`, and frees the room of what it has
 * no longer. Call it now and then: the kernel side has room for 65536 samples of all spaces
 * (counters.unkept_bytes tells when that was too few: choose a larger mean). Returns 0, -ENOENT
 * (not watched), -ESRCH or another negative errno; *ret is for touch_report__free in all cases.
 */
int touches__read(struct touches *touches, uint32_t space, pid_t pid,
		  const struct touch_read_opts *opts, struct touch_report *ret);
void touch_report__free(struct touch_report *report);

/* Reads what was counted of a watched space so far. Returns 0 or a negative errno (-ENOENT: it is
 * not watched). */
int touches__count(const struct touches *touches, uint32_t space, struct touch_watch *ret);

/* Forgets all samples of a space that is not watched any more. Returns 0 or a negative errno. */
int touches__forget(struct touches *touches, uint32_t space);

#endif
