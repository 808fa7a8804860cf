/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What short looks at the allocations of one process tell about who keeps memory. In windows of
 * time every birth and death of a block is seen, between them nothing. The blocks seen born are
 * cohorts, which are remembered: one that dies in a later window, or whose address is given out
 * again there, has ended. Beside it some blocks are read from outside (model/imprint.h). Pure: time
 * and events are passed in; memory is bounded (a block takes about 100 bytes, a site 6 KiB), beyond
 * that blocks are sampled by their addresses.
 *
 * Order of calls: cohort__open with a window that is over, its births and deaths, cohort__close;
 * then, at any time, cohort__due and cohort__look; cohort__judge when a verdict is wanted.
 */
#ifndef LEAKSWEEP_MODEL_COHORT_H
#define LEAKSWEEP_MODEL_COHORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/imprint.h"
#include "util/array.h"

struct cohort;

/* A time in which everything was traced. All times are of one clock. */
struct cohort_window {
	uint64_t begin_ns, end_ns;
	/* Of this time the process could not use, for the probes took it: at least, at most. */
	uint64_t lost_low_ns, lost_high_ns;
	uint64_t hits, lost_hits; /* events of it that were told, and that were not */
};

struct cohort_birth {
	uint64_t addr, bytes, time_ns;
	uint64_t stack; /* any number that stands for it */
	uint32_t layer; /* enum layer */
};

/*
 * Returns an empty cohort or NULL (no memory). `key` is secret: it chooses the sample and hashes
 * contents. No more than `max_blocks` blocks are remembered, at most 4096 of one site, and no more
 * than `max_sites` sites: one that has no block left makes place for a new one. It should be room
 * for some tens of blocks a site.
 */
struct cohort *cohort__new(const uint8_t key[static SIPHASH_BYTES], size_t max_blocks,
			   size_t max_sites);
void cohort__free(struct cohort *cohort);

/* Adds a window; it must begin no earlier than the last one ended. Returns 0 or -EINVAL. */
int cohort__open(struct cohort *cohort, const struct cohort_window *window);

/*
 * A block was born, or has died, in the order in which it happened at each address. They are put to
 * the window that their time lies in, which need not be the last one; what was told from between
 * windows is in nobody's rate, but still tells that an earlier block ended. Returns 0 or -ENOMEM.
 */
int cohort__birth(struct cohort *cohort, const struct cohort_birth *birth);
void cohort__death(struct cohort *cohort, uint64_t addr, uint64_t time_ns);

/*
 * The same in sums, where blocks that a window outlives are told one by one only: `cnt` blocks of
 * `bytes` in all were born in the last window and died there. Returns 0 or -ENOMEM.
 */
int cohort__churn(struct cohort *cohort, uint64_t stack, uint32_t layer, uint64_t cnt,
		  uint64_t bytes);

/*
 * And for the deaths: each block that still is there is told, by its address and the time of its
 * birth; then those that were not told have died in the last window. cohort__alive returns whether
 * the block is remembered.
 */
bool cohort__alive(struct cohort *cohort, uint64_t addr, uint64_t born_ns);
void cohort__end_others(struct cohort *cohort);

/* Whether the block born at that time at the address is remembered. */
bool cohort__follows(const struct cohort *cohort, uint64_t addr, uint64_t born_ns);

/* The last window's events are told: its survivors may be read. */
void cohort__close(struct cohort *cohort);

/*
 * A look from elsewhere, as a census of Python's pools, found no block in use at `addr` at
 * `time_ns`: one that was born before has ended, though no window saw it.
 */
void cohort__forget(struct cohort *cohort, uint64_t addr, uint64_t time_ns);

/* A block to read: `len` bytes at `addr`, and behind them `tail_len` at `tail_addr`, as
 * imprint__look wants them. */
struct cohort_read {
	uint64_t addr, tail_addr;
	uint32_t len, tail_len;
	uint32_t site, slot; /* for cohort__look */
	uint32_t layer;	     /* of the site */
};

/*
 * Fills `ret` with at most `max` blocks that should be read now, the sites in turn, and returns how
 * many. The caller reads those whose pages are private and in memory, and tells what it read by
 * cohort__look before it tells anything else.
 */
size_t cohort__due(struct cohort *cohort, uint64_t now_ns, struct cohort_read *ret, size_t max);
void cohort__look(struct cohort *cohort, const struct cohort_read *read, const void *data,
		  size_t len, uint64_t now_ns);

/* The same for a block that its allocator says to be free: it has ended, and nobody has used it
 * again. */
void cohort__gone(struct cohort *cohort, const struct cohort_read *read, uint64_t now_ns);

enum cohort_state {
	COHORT_UNKNOWN = 0,
	COHORT_GROWING = 1,
	COHORT_BOUNDED = 2, /* what it allocates ends, and lived for a while: a cache, a pool */
	COHORT_STARTUP = 3, /* it kept what it allocated, and allocates no more */
	COHORT_CHURN = 4,   /* what it allocates ends at once */
	COHORT_STATE_CNT,
};

/* Why a site is unknown. */
enum cohort_doubt {
	COHORT_CERTAIN = 0,
	COHORT_TOO_FEW = 1,   /* blocks or windows */
	COHORT_TOO_YOUNG = 2, /* a cache might still be filling */
	COHORT_MIXED = 3,     /* some end, some stay */
	COHORT_RESIZED = 4,   /* they end, and those that follow are ever larger */
	COHORT_PROCESS = 5,   /* it would grow more than its process does */
	COHORT_MINOR = 6,     /* or so much less that it does not matter */
	COHORT_DOUBT_CNT,
};

/* Return one word, as reports have it; "unknown" for a value out of range. */
const char *cohort_state__name(enum cohort_state state);
const char *cohort_doubt__name(enum cohort_doubt doubt);

/* What is known of a site: one stack of one layer. */
struct cohort_verdict {
	uint64_t stack;
	uint32_t layer;
	enum cohort_state state;
	enum cohort_doubt doubt; /* of COHORT_UNKNOWN */
	/* Bytes per hour; 0 unless growing. The bounds hold the true rate with 95 %. */
	double rate, rate_low, rate_high;
	double confidence; /* that a growing site does not end what it allocates, 0 to 1 */
	/* The evidence. */
	uint64_t watched_ns; /* since its first birth */
	double born, bytes;  /* seen: blocks, and bytes of them */
	double outlived;     /* share of what was born that outlived its window */
	uint64_t life_ns; /* mean life by the deaths in their own windows, 0 = too few died there */
	double followed;  /* older half of the survivors ... */
	double again;	  /* ... and how many of these were seen to end */
	double expected;  /* how many groups of them, had it been a cache of a quarter of the age */
	double others_again; /* share of others' blocks of this size that were; -1 = no others */
	struct imprint_sums contents; /* of the older half */
};

struct cohort_verdicts {
	ARRAY(struct cohort_verdict) items; /* growing ones first, by their lower bound */
};

/*
 * Judges all sites. `growth_high` is the most that the process may have grown by in bytes per hour,
 * negative = not known. Returns 0 or -ENOMEM; *ret is freed with cohort_verdicts__free.
 */
int cohort__judge(const struct cohort *cohort, uint64_t now_ns, double growth_high,
		  struct cohort_verdicts *ret);
void cohort_verdicts__free(struct cohort_verdicts *verdicts);

/* Bytes seen born at sites for which there was no place. */
uint64_t cohort__untold_bytes(const struct cohort *cohort);

#endif
