/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether memory grows: from samples of one process or control group to a rate with its bounds.
 * Pure: times and sizes are passed in.
 *
 * What counts is the floor: of each stretch of time (a slot) the least sample is kept, what memory
 * always comes back down to. Three series of slots see the same samples, two of the last minutes,
 * one of everything. When a series is full, its slots are merged in pairs up to a longest spacing;
 * then the oldest one goes.
 */
#ifndef LEAKSWEEP_MODEL_GROWTH_H
#define LEAKSWEEP_MODEL_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

#define GROWTH_SLOTS 24
#define GROWTH_SERIES 3

enum growth_state {
	GROWTH_TOO_EARLY,
	GROWTH_FLAT,	/* or up and down, or up by single steps */
	GROWTH_WARMING, /* it grew, and does so ever less */
	GROWTH_GROWING,
	GROWTH_SHRINKING,
	GROWTH_STATE_CNT,
};

struct growth_slot {
	uint64_t at_ns, bytes;
};

struct growth_series {
	uint64_t spacing_ns; /* of its slots */
	uint64_t begun_ns;   /* the last slot, which is still open */
	uint64_t left_bytes; /* the highest of the slots that have gone */
	uint32_t cnt;
	struct growth_slot slots[GROWTH_SLOTS]; /* by time */
};

/* Zero-initialise. 1.3 KiB. */
struct growth {
	uint64_t last_ns;     /* as it was passed in */
	uint64_t clock_ns;    /* time that has passed forwards, from sample to sample */
	uint64_t last_bytes;  /* as it was kept */
	int64_t offset_bytes; /* between what is passed in and what is kept */
	uint32_t restarts;
	bool begun, is_broken;
	struct growth_series series[GROWTH_SERIES]; /* shortest first */
};

struct growth_verdict {
	enum growth_state state;
	/* When growing or shrinking; 95 % bounds. Else what was measured last, 0 if too early. */
	double bytes_per_hour, lower, upper;
	uint64_t seen_ns; /* the time that the rate is of */
};

/*
 * Takes a sample: anonymous memory at a time of any clock. Samples may be unevenly spaced. A clock
 * that goes back stands still until it goes on.
 */
void growth__add(struct growth *growth, uint64_t now_ns, uint64_t bytes);

/* The next sample is of another process that does the same work: it goes on from where the last one
 * was, without a step, and the time until then does not count. */
void growth__restart(struct growth *growth);

/* Returns the most that the floor was at, 0 = nothing was seen. */
uint64_t growth__highest(const struct growth *growth);

/*
 * Judges what was seen. `noise_bytes` is what a size may be wrong by: less than that in a third of
 * the time is no growth.
 */
void growth__judge(const struct growth *growth, uint64_t noise_bytes, struct growth_verdict *ret);

/* Returns the bytes that it has gained since its first sample, 0 if none; *ret_ns is that time. */
uint64_t growth__gained(const struct growth *growth, uint64_t *ret_ns);

/* Returns "too_early", "flat", "warming_up", "growing" or "shrinking". */
const char *growth_state__name(enum growth_state state);

/* Returns the seconds until `room_bytes` are used up at a rate, UINT64_MAX = not within years. */
uint64_t growth__seconds_to(uint64_t room_bytes, double bytes_per_hour);

#endif
