/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * First touches: where a process's new anonymous memory is first written. Keys and values of the
 * maps, shared by the kernel side (bpf/touch.bpf.c) and its reader (src/collect/touches.c).
 *
 * All pages that are added are counted; of those that are added at once, a sample is taken with the
 * probability of bpf/sample.bpf.h, and stands for bytes / probability.
 */
#ifndef LEAKSWEEP_TOUCH_H
#define LEAKSWEEP_TOUCH_H

#include <linux/types.h>

#define TOUCH_PAGE 4096ULL
#define MAX_TOUCH_MEAN                                                                             \
	(1ULL << 40) /* of touch_watch.mean_bytes: as sample_probability() allows                  \
		      */

/* How memory came to be there. */
enum touch_kind {
	TOUCH_USER = 0,	    /* the program's own access */
	TOUCH_KERNEL = 1,   /* the kernel's, for the program: read(2) into a fresh buffer */
	TOUCH_POPULATE = 2, /* without an access: MAP_POPULATE, mlock(2), MADV_POPULATE_WRITE */
	TOUCH_KINDS
};

/* touch_watches: key = space. Counters go up for as long as the space is watched. */
struct touch_watch {
	__u64 mean_bytes;	       /* one sample every so many on average; 0 = every page */
	__u64 seen_bytes[TOUCH_KINDS]; /* exact */
	__u64 adds;		       /* times that a page, or a huge one, was added */
	__u64 samples;		       /* taken, and ... */
	__u64 sampled_bytes;	       /* ... what they stand for. Of these ... */
	__u64 unsummed_bytes;	       /* ... not in touch_sums: it is full */
	__u64 unplaced_bytes;	       /* ... not in touch_pages: the address is not known */
	__u64 unkept_bytes;	       /* ... not in touch_pages: it is full */
	__u64 unsampled_bytes;	       /* populated by a call whose end was not seen */
	__u64 moves_lost;	       /* events of the ring touch_moves that found no room */
	__u64 moved_ns;		       /* CLOCK_MONOTONIC, the last mremap; 0 = none */
	__u64 last_pages;	       /* 1 + what Linux 6.1 last told; 0 = nothing yet */
};

/* touch_sums */
struct touch_sum_key {
	__u64 stack_id;
	__u32 space;
	__u32 kind; /* enum touch_kind */
};

struct touch_sum {
	__u64 bytes; /* that samples stand for, whether they still are in memory or not */
	__u64 samples;
};

/* touch_pages: the newest sample at each address. One that was touched anew is not in it. */
struct touch_page_key {
	__u64 addr; /* of the first page */
	__u32 space;
	__u32 zero;
};

struct touch_page {
	__u64 stack_id;
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 p;       /* probability that it was sampled, in 1/2^32 */
	__u64 bytes;   /* added, ... */
	__u64 span;    /* ... somewhere in so many from addr on */
	__u32 kind;    /* enum touch_kind */
	__u32 zero;
};

/* touch_moves, a ring buffer: what pages' addresses are, in the order of time. */
enum touch_move_kind {
	TOUCH_MOVED = 1,     /* mremap took the mapping to another address */
	TOUCH_DISPLACED = 2, /* a sample from before a move, when its address was touched again */
};

struct touch_move {
	__u32 kind; /* enum touch_move_kind */
	__u32 space;
	__u64 time_ns;
	__u64 addr, len;	/* from where, TOUCH_DISPLACED: which sample */
	__u64 to;		/* TOUCH_MOVED */
	struct touch_page page; /* TOUCH_DISPLACED */
};

#endif
