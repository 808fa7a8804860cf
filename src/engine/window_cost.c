/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/window_cost.h"

#include <math.h>

/* A probe in a real program costs up to twice what it costs in the loop that calibrates it
 * (calibrate.h); how much the program behind it adds is not known at first. */
#define FACTOR_FIRST 2.0
#define FACTOR_FIRST_SD 10.0

#define FACTOR_DRIFT 0.05 /* of the factor, from one window to the next */
#define RANGE_SDS 2.0	  /* a range is so many standard deviations to either side */
#define RANGE_SD_MIN 0.05 /* of what was measured: no range is believed to be exact */

/* Of the last window in the mean; of one that is so many times off. */
#define WEIGHT 0.3
#define WEIGHT_FAR 0.7
#define FAR 4

/* The first window of a suspect: nobody knows how often it is hit. */
#define FIRST_NS (2 * NS_PER_MS)

/* A window shows how often probes are hit when it had some hits and some time, or much time. */
#define LEAST_HITS 30
#define LEAST_NS NS_PER_MS
#define ENOUGH_NS (500 * NS_PER_MS)

#define MAX_GROWTH 4 /* of a window to the next: bursts between are not known yet */

void window_cost__init(struct window_cost *cost, double ns_per_hit, const struct window_cost *known)
{
	*cost = (struct window_cost){
		.ns_per_hit = ns_per_hit,
		.factor = known ? known->factor : FACTOR_FIRST,
		.factor_var = FACTOR_FIRST_SD * FACTOR_FIRST_SD,
		.shortest_ns = FIRST_NS,
		.longest_ns = FIRST_NS,
	};
}

double window_cost__ns(const struct window_cost *cost, uint64_t hits)
{
	return hits * cost->ns_per_hit * cost->factor;
}

/*
 * Moves the factor towards what was measured, the more the surer that is (a Kalman filter of one
 * number). That is the middle of the range when it is narrow; the wider it is, the less its middle
 * means, and one from 0 on speaks against nothing that it contains.
 */
static void learn_factor(struct window_cost *cost, double calibrated_ns, double low_ns,
			 double high_ns)
{
	double middle = (low_ns + high_ns) / 2 / calibrated_ns;
	double half = (high_ns - low_ns) / 2 / calibrated_ns, slack = half * half / middle;
	double measured = fmax(fmin(cost->factor, middle + slack), middle - slack);
	double sd = fmax(half / RANGE_SDS, middle * RANGE_SD_MIN);
	double drift = cost->factor * FACTOR_DRIFT, gain;

	cost->factor_var += drift * drift;
	gain = cost->factor_var / (cost->factor_var + sd * sd);
	cost->factor += gain * (measured - cost->factor);
	cost->factor_var *= 1 - gain;
}

static void learn_hits(struct window_cost *cost, uint64_t hits, uint64_t open_ns)
{
	double now = (double)hits * NS_PER_SEC / open_ns, off = now - cost->hits_per_sec;
	bool is_far = now > FAR * cost->hits_per_sec || now < cost->hits_per_sec / FAR;
	double weight = is_far ? WEIGHT_FAR : WEIGHT;

	if (!cost->knows_hits) {
		cost->knows_hits = true;
		cost->hits_per_sec = now;
		cost->hits_var = now * now / 4;
	} else {
		cost->hits_per_sec += weight * off;
		cost->hits_var = (1 - weight) * (cost->hits_var + weight * off * off);
	}
	/* The next one is to show as much again. */
	cost->shortest_ns = fmin(fmax(LEAST_HITS * NS_PER_SEC / fmax(now, 1), LEAST_NS), ENOUGH_NS);
}

double window_cost__learn(struct window_cost *cost, const struct window_bill *bill,
			  uint64_t open_ns)
{
	double calibrated_ns = bill->hits * cost->ns_per_hit, cost_ns;
	double low_ns = bill->lost_low * bill->busy_ns, high_ns = bill->lost_high * bill->busy_ns;
	bool shows_hits = (bill->hits >= LEAST_HITS && open_ns >= LEAST_NS) || open_ns >= ENOUGH_NS;
	uint64_t longer_ns = MAX_GROWTH * (open_ns > FIRST_NS ? open_ns : FIRST_NS);

	cost->longest_ns = longer_ns;
	if (shows_hits)
		learn_hits(cost, bill->hits, open_ns);
	else if (bill->hits < LEAST_HITS)
		cost->shortest_ns = longer_ns;
	if (bill->busy_ns && calibrated_ns > 0 && high_ns > 0 && high_ns >= low_ns)
		learn_factor(cost, calibrated_ns, low_ns, high_ns);
	cost_ns = window_cost__ns(cost, bill->hits);
	if (!bill->busy_ns)
		return cost_ns;
	return fmax(fmin(cost_ns, high_ns), low_ns);
}

double window_cost__rate(const struct window_cost *cost)
{
	double hits_per_sec = cost->hits_per_sec + sqrt(cost->hits_var);

	return hits_per_sec * cost->ns_per_hit * cost->factor / NS_PER_SEC;
}

uint64_t window_cost__length_ns(const struct window_cost *cost, double cost_ns, uint64_t max_ns)
{
	double rate = window_cost__rate(cost);
	double most_ns = cost->longest_ns < max_ns ? cost->longest_ns : max_ns;
	double least_ns = cost->shortest_ns < max_ns ? cost->shortest_ns : max_ns;

	if (!cost->knows_hits)
		return least_ns;
	return fmax(rate * most_ns > cost_ns ? cost_ns / rate : most_ns, least_ns);
}
