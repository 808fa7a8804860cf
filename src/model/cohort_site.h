/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What cohort.c remembers of sites and of time, and cohort_judge.c reads. Private to them. */
#ifndef LEAKSWEEP_MODEL_COHORT_SITE_H
#define LEAKSWEEP_MODEL_COHORT_SITE_H

#include "model/cohort.h"
#include "util/hashmap.h"

#define MAX_EPOCHS 48	/* even */
#define MAX_WINDOWS 256 /* whose begin and end are remembered for what is told late */

/* Some windows that follow each other. When there are too many epochs, each two become one. */
struct cohort_epoch {
	uint64_t begin_ns;	/* of the first */
	double low_ns, high_ns; /* the process worked in them and was seen, at least, at most */
};

/* What a site did in an epoch. The last three are of followed blocks, halved with their sample. */
struct site_epoch {
	double born, bytes;
	double followed, died; /* in its own window, or known without one */
	double again;	       /* ended later */
};

struct cohort_site {
	uint64_t stack;
	uint32_t layer;
	uint64_t first_ns; /* birth */
	uint64_t limit;	   /* blocks are followed whose address hashes to no more */
	size_t live;	   /* blocks remembered */
	/* On the cohort's work clock: begin of the first window with births, end of the last, and
	 * the longest time between two of those. */
	uint64_t first_work_ns, last_work_ns, pause_ns;
	/* Numbers of the last window with births, and with blocks that outlived it; 0 = none. */
	uint64_t last_window, outlived_window;
	uint64_t windows, outlived_windows; /* with births; with blocks that outlived it */
	double exposed_ns; /* sum over followed blocks, of the time in their own windows */
	struct site_epoch epochs[MAX_EPOCHS];
	struct imprints imprints;
};

struct cohort_block {
	uint64_t addr, bytes, born_ns;
	uint64_t until_ns;     /* end of its window */
	uint64_t alive_window; /* number of the last one in which it was told to be alive */
	uint32_t site;
};

struct cohort {
	uint8_t key[SIPHASH_BYTES];
	size_t max_blocks, max_sites;
	struct hashmap block_index; /* {addr, 0} -> index */
	ARRAY(struct cohort_block) blocks;
	ARRAY(struct cohort_site *) sites; /* each is owned: there is much to it */
	struct hashmap site_index;	   /* {stack, layer} -> index */
	ARRAY(uint64_t) fresh;		   /* addresses born in the window that is open */
	struct cohort_epoch epochs[MAX_EPOCHS];
	size_t epoch_cnt, epoch_windows; /* windows of an epoch, and of the last one so far: */
	size_t last_windows;
	struct cohort_window windows[MAX_WINDOWS]; /* a ring */
	uint64_t window_cnt;
	bool has_birth;		    /* anybody allocated in the last window, ... */
	uint64_t window_ns;	    /* ... which is so long */
	uint64_t work_ns;	    /* of all windows before it in which anybody did */
	uint64_t traced_ns;	    /* of all windows ... */
	uint64_t first_ns, last_ns; /* ... in this time */
	size_t next_due;	    /* site */
	uint64_t untold_bytes;
};

/* Returns the epoch that a time lies in, the last one that begins before. There is one. */
size_t cohort__epoch_at(const struct cohort *cohort, uint64_t time_ns);

/* Returns the work clock: the length of all windows so far in which anybody allocated. */
uint64_t cohort__work_ns(const struct cohort *cohort);

#endif
