/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the anonymous memory of a process is made of: parts that add up to it, to the byte, and what
 * a change of them means. Pure.
 */
#ifndef LEAKSWEEP_MODEL_LEDGER_H
#define LEAKSWEEP_MODEL_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "model/heap_walk.h"

enum ledger_part {
	LEDGER_HEAP_USED = 1, /* in blocks in glibc's heaps */
	LEDGER_HEAP_CACHED,   /* free there, in fast bins and caches of threads */
	LEDGER_HEAP_HOLES,    /* free there, in less than whole pages */
	LEDGER_HEAP_PAGES,    /* free there, in whole pages */
	LEDGER_HEAP_TOP,      /* free at the heaps' ends */
	LEDGER_HEAP_UNREAD,   /* of heaps: not gone over */
	LEDGER_BIG_BLOCKS,    /* glibc's blocks that have a mapping each */
	LEDGER_OBJECTS,	      /* pymalloc's blocks in use */
	LEDGER_OBJECTS_FREE,  /* the rest of its pools */
	LEDGER_MAPPED, /* mapped by the program, or by an allocator that cannot be told from it */
	LEDGER_OTHER_HEAP, /* brk(2)'s memory, which an allocator other than glibc's has */
	LEDGER_HUGE_ZEROS, /* zeros in huge pages: most was never touched; but for heaps and pools
			    */
	LEDGER_THREAD_STACKS,
	LEDGER_MAIN_STACK,
	LEDGER_FILES,	    /* written pages of private mappings of files, with zero data */
	LEDGER_UNEXPLAINED, /* not looked at */
	LEDGER_PART_CNT,
};

struct ledger {
	bool is_known;
	bool has_unread_pools; /* of a Python: they are in LEDGER_MAPPED */
	uint64_t anon_bytes;   /* in memory: the sum of all parts */
	uint64_t part_bytes[LEDGER_PART_CNT];
	/* Of these: what counts for others, who have the same pages since a fork. */
	uint64_t others_bytes[LEDGER_PART_CNT];
	uint64_t largest_free_bytes; /* free chunk in glibc's heaps, but for their ends */
	uint64_t free_cnt;	     /* such chunks */
	/* Beside the sum: */
	uint64_t huge_bytes;		   /* of anon_bytes: in huge pages, touched or not */
	uint64_t file_bytes, shared_bytes; /* in memory, and of files, or shared */
	uint64_t swapped_bytes;
	uint64_t cache_key; /* of glibc: the second word of each block in a thread's cache, all over
			       the process; 0 = not known */
	const char *allocator; /* whose memory is in LEDGER_MAPPED, too: static text, NULL = none
				  that is known by its name */
};

/* Puts bytes into a part, and into the sum. */
void ledger__put(struct ledger *ledger, enum ledger_part part, uint64_t bytes);

/* Of what was put into all parts since a ledger was as `before`, no more than `own_bytes` count for
 * this process. */
void ledger__share(struct ledger *ledger, const struct ledger *before, uint64_t own_bytes);

/* Moves bytes from one part to another, no more than there are, and of what counts for others in
 * proportion. Returns how many. */
uint64_t ledger__move(struct ledger *ledger, enum ledger_part from, enum ledger_part to,
		      uint64_t bytes);

/* Divides what LEDGER_HEAP_UNREAD holds as the heaps were found. */
void ledger__divide_heaps(struct ledger *ledger, const struct heap_sums *heaps);

/* Adds a process's ledger to that of a group, without what counts for others. What is beside the
 * sum is added up as it is. A group's allocator is that of its processes, if they have the same. */
void ledger__add(struct ledger *group, const struct ledger *process);

/* Return a short name for people, "heap blocks", "thread stacks", and the one of a field for
 * programs, "heap_used", "thread_stacks"; "?" for a value out of range. */
const char *ledger_part__name(enum ledger_part part);
const char *ledger_part__field(enum ledger_part part);

/* What an allocator has of the program's blocks, what it keeps though it is free, and of that what
 * lies between blocks. */
uint64_t ledger__live(const struct ledger *ledger);
uint64_t ledger__kept(const struct ledger *ledger);
uint64_t ledger__fragmented(const struct ledger *ledger);

enum ledger_cause {
	LEDGER_CAUSE_NONE,	 /* it did not grow, or no part is to blame for most of that */
	LEDGER_CAUSE_LIVE,	 /* blocks, objects, mappings: a leak or a cache */
	LEDGER_CAUSE_MAPPED,	 /* mappings, an allocator's with what it keeps free in them */
	LEDGER_CAUSE_RETAINED,	 /* free in whole pages or at ends of heaps */
	LEDGER_CAUSE_FRAGMENTED, /* free between blocks */
	LEDGER_CAUSE_HUGE_PAGES, /* for what was not touched, or holds zeros */
	LEDGER_CAUSE_STACKS,
	LEDGER_CAUSE_FILES,	  /* pages of files that were written, and zero data */
	LEDGER_CAUSE_UNEXPLAINED, /* not looked at, or swapped out */
	LEDGER_CAUSE_CNT,
};

/* Returns one word, as reports have it; "?" for a value out of range. */
const char *ledger_cause__name(enum ledger_cause cause);

struct ledger_verdict {
	enum ledger_cause cause;
	uint64_t bytes; /* by which that grew */
};

/*
 * Judges a change of anonymous memory with what is swapped out: the cause whose bytes grew most, if
 * that is at least `least_bytes`. Other than LEDGER_CAUSE_LIVE and LEDGER_CAUSE_MAPPED it is one
 * that explains more than half of what all of it grew by; failing that, what is live, mapped or
 * unexplained is told if it grew by `least_bytes`. Both ledgers are known, `before` all zeros =
 * what there is now is to be judged. Heaps or pools that one of them tells apart and the other does
 * not are compared as a whole. Where pools were not read, mappings have grown by no more than what
 * cannot be free in pools; the rest is unexplained.
 */
struct ledger_verdict ledger__judge(const struct ledger *before, const struct ledger *now,
				    uint64_t least_bytes);

#endif
