/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What windows of one suspect cost, learnt from those it had: how often its probes are hit, and by
 * how much a hit costs more than was calibrated.
 */
#ifndef LEAKSWEEP_ENGINE_WINDOW_COST_H
#define LEAKSWEEP_ENGINE_WINDOW_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "util/clock.h"

/*
 * What a window has shown. Its true cost is known as a range of what the target has lost: at least
 * lost_low and at most lost_high of the CPU time busy_ns that the target used while it was open,
 * its probes included. Nothing measured: busy_ns 0.
 */
struct window_bill {
	uint64_t hits;
	uint64_t busy_ns;
	double lost_low, lost_high;   /* 0 to 1 */
	double lost_least, lost_most; /* that are sure, where the range is what is charged */
};

struct window_cost {
	double ns_per_hit;		  /* as calibrated */
	double factor, factor_var;	  /* of a hit's true cost to it: mean and its variance */
	double hits_per_sec, hits_var;	  /* while a window is open: exponential mean, variance */
	bool knows_hits;		  /* those two are known */
	uint64_t shortest_ns, longest_ns; /* that the next window may be */
};

/* `known` = what another suspect's windows have shown, to begin with its factor; may be NULL. */
void window_cost__init(struct window_cost *cost, double ns_per_hit,
		       const struct window_cost *known);

/* Returns what so many hits cost, ns of CPU time. */
double window_cost__ns(const struct window_cost *cost, uint64_t hits);

/*
 * Learns from a window that was open for `open_ns` and returns what it cost, ns of CPU time: by its
 * hits, within what the target has lost. One of a moment says nothing of how often probes are hit;
 * the next one is longer then, however often they are thought to be hit, or nothing would ever be
 * learnt.
 */
double window_cost__learn(struct window_cost *cost, const struct window_bill *bill,
			  uint64_t open_ns);

/* Returns what an open window costs each ns, rather too much than too little; 0 = not known. */
double window_cost__rate(const struct window_cost *cost);

/* Returns how long a window may be to cost `cost_ns`, at most `max_ns`. */
uint64_t window_cost__length_ns(const struct window_cost *cost, double cost_ns, uint64_t max_ns);

#endif
