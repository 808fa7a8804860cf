/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A heap of glibc's malloc, gone over from its first chunk to its last by the sizes that are
 * written in front of each: what is in blocks, what is free and how it lies. Pure: the bytes are
 * passed in, window by window; they are another process's and may say anything.
 *
 * Formats: malloc/malloc.c and malloc/arena.c of glibc 2.28 to 2.42 on 64-bit machines. A chunk
 * begins with the size of the one before it (if that is free) and its own size; the lowest bit of
 * the size says that the one before is in use. Chunks in fast bins and in the caches of threads
 * look as if they were in use: the former are known by the link to the next one of their size,
 * the latter are counted in the cache's head, which is a chunk of the heap, too. Not told: blocks
 * of more than 1 KiB in caches (glibc 2.42, where a tunable asks for it).
 */
#ifndef LEAKSWEEP_MODEL_HEAP_WALK_H
#define LEAKSWEEP_MODEL_HEAP_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_LOOKAHEAD_BYTES 4096
#define HEAP_FAST_BINS 10 /* NFASTBINS */

enum heap_part {
	HEAP_USED,   /* in blocks of the program's, with malloc's own records */
	HEAP_CACHED, /* free, kept for the next blocks of the same size */
	HEAP_HOLES,  /* free, but not in whole pages: no call can give it back */
	HEAP_PAGES,  /* free in whole pages: malloc_trim(3) would give it back */
	HEAP_TOP,    /* free at the heap's end */
	HEAP_UNREAD,
	HEAP_PART_CNT,
};

/* Zero-initialise to begin. All of it is bytes but the last three. */
struct heap_sums {
	uint64_t size[HEAP_PART_CNT];	  /* addresses */
	uint64_t resident[HEAP_PART_CNT]; /* of these, in memory */
	uint64_t largest_free;
	uint64_t cache; /* size of what the heads of threads' caches count: part of HEAP_USED yet */
	uint64_t free_cnt;  /* chunks of HEAP_HOLES and HEAP_PAGES */
	uint64_t cache_key; /* as in struct heap_walk; 0 = not known */
	bool is_late;	    /* there was no time for some of HEAP_UNREAD */
};

struct heap_span {
	uint64_t start, end; /* addresses */
};

/* A part of a heap. */
struct heap_window {
	uint64_t start, end;	/* whole pages, but the end may be the heap's */
	const uint8_t *bytes;	/* and HEAP_LOOKAHEAD_BYTES more; 0 where nothing is in memory */
	const uint8_t *present; /* a byte a page: whether it is in memory */
	uint64_t page_bytes;
};

enum heap_walk_state { HEAP_WALK_FIRST, HEAP_WALK_ON, HEAP_WALK_DONE, HEAP_WALK_BROKEN };

struct heap_place {
	uint64_t start, end; /* addresses */
	uint64_t first;	     /* where the first chunk should be: it may be behind that */
	bool is_main;	     /* else a thread's */
};

struct heap_walk {
	struct heap_place place;
	const struct heap_span *spans; /* borrowed: all heaps of the process, by address */
	size_t span_cnt;
	enum heap_walk_state state;
	struct heap_sums sums;
	uint64_t top;	       /* its address, once it is found */
	uint64_t cached_block; /* address of a block in a thread's cache; 0 = none was found */
	uint64_t cache_key;    /* the second word of such blocks, all over the process; set by the
				  caller once it is known: they may look as if in a fast bin */
	uint64_t fast_size[HEAP_FAST_BINS], fast_resident[HEAP_FAST_BINS];
	/* The chunk that is being gone over, or what is left where the walk has ended. */
	uint64_t at, size, resident, resident_pages;
	uint64_t counted; /* address up to which pages are counted */
	uint64_t cache;	  /* if it is the head of a cache: size of the blocks in that */
	int fast_bin;	  /* it looks as if it were in one; -1 = not */
	unsigned int fence_cnt;
};

void heap_walk__begin(struct heap_walk *walk, const struct heap_place *place,
		      const struct heap_span *spans, size_t span_cnt);

/* Whether the bytes of a window are needed, or only which of its pages are in memory. */
bool heap_walk__needs(const struct heap_walk *walk, const struct heap_window *window);

/* Takes the next window; they follow one another without a gap. */
void heap_walk__take(struct heap_walk *walk, const struct heap_window *window);

/*
 * Adds what was found to *sums, once all windows were taken; what was not is HEAP_UNREAD. `heads`
 * are the first chunks in the arena's fast bins: an empty one has no chunks, whatever looks so.
 * NULL = not known.
 */
void heap_walk__finish(struct heap_walk *walk, const uint64_t heads[HEAP_FAST_BINS],
		       struct heap_sums *sums);

/* Moves what is in caches from HEAP_USED to HEAP_CACHED, once all heaps are in the sums. */
void heap_sums__settle(struct heap_sums *sums);

#endif
