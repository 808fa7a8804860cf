/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much CPU time may be spent now. Numbers only: clock and counters are passed in.
 *
 * Two things bound it, and the tighter one counts. A bucket fills with the budget's share of each
 * CPU and holds a few seconds' worth, which spreads what is spent. A sliding minute of fixed slots
 * has to have room for it, now and in each minute to come, in which what cannot be put off - the
 * tool's own work, exact tracing - goes on as it did.
 *
 * A clock that jumps is not believed: no step counts for more than BUDGET_MAX_STEP_NS, as a jump
 * forward would else let a minute's worth be spent twice, and the sliding minute is longer by one
 * such step. A step backward counts for nothing. So time has to be passed in at least that often,
 * or some of the budget is lost.
 *
 * No more is ever owed than a minute's worth: the sliding minute bounds the rest.
 */
#ifndef LEAKSWEEP_ENGINE_BUDGET_H
#define LEAKSWEEP_ENGINE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "util/clock.h"

#define BUDGET_MINUTE_NS (60 * NS_PER_SEC)
#define BUDGET_MAX_STEP_NS NS_PER_SEC
#define BUDGET_SLOT_NS (250 * NS_PER_MS)
/* A minute, one step, and the slot that has begun. */
#define BUDGET_SLOTS ((BUDGET_MINUTE_NS + BUDGET_MAX_STEP_NS) / BUDGET_SLOT_NS + 1)

struct budget {
	double rate;		       /* ns of CPU time that may be spent each ns */
	double start_rate;	       /* what the start-up takes of it in the first minute */
	uint64_t time_ns;	       /* passed since the start, as far as the clock is believed */
	uint64_t clock_ns, own_cpu_ns; /* as last passed in */
	double saved_ns;	       /* in the bucket; below 0 = owed */
	double least_burst_ns;	       /* the bucket holds this at least */
	double spent_ns[BUDGET_SLOTS]; /* by time_ns / BUDGET_SLOT_NS, of the last minute */
	double own_rate;    /* what the tool's own work takes each ns: mean of a minute */
	double own_paid_ns; /* of own CPU time that is still to come, spent already */
	double bound_rate;  /* what exact tracing takes each ns; set by who decides it */
	double kept_ns;	    /* of a minute, that what is planned leaves; set by who needs it */
};

/*
 * Begins with what the tool has used until now, `own_cpu_ns`, as spent: to be called when the
 * programs are loaded. That is a part of the first minute, and what is left is spread over it.
 * `share` is that of one CPU per CPU, 0.01 = 1 %; 0 = nothing may be spent.
 */
void budget__init(struct budget *budget, double share, unsigned int cpu_cnt, uint64_t clock_ns,
		  uint64_t own_cpu_ns);

/* Changes what may be spent from now on; what was spent stays so. */
void budget__set_share(struct budget *budget, double share, unsigned int cpu_cnt);

/*
 * Lets time pass up to `clock_ns` (any clock, ns) and spends what the tool has used since the last
 * call; `own_cpu_ns` is its CPU time since its start, children included.
 */
void budget__pass(struct budget *budget, uint64_t clock_ns, uint64_t own_cpu_ns);

/*
 * The same after a time in which nobody let it pass, and nothing of the budget was used: what the
 * tool has used meanwhile is not owed.
 */
void budget__resume(struct budget *budget, uint64_t clock_ns, uint64_t own_cpu_ns);

/* Makes the bucket hold `cost_ns` at least, half a minute's worth at most: what costs more than it
 * holds would never have room. */
void budget__hold(struct budget *budget, double cost_ns);

/* Spends now; a negative cost gives back what was spent too much. */
void budget__spend(struct budget *budget, double cost_ns);

/* The same for CPU time of the tool itself, which budget__pass does not spend once more. */
void budget__spend_own(struct budget *budget, double cost_ns);

/* Returns what may be spent now, ns of CPU time; 0 or less = nothing. */
double budget__room_ns(const struct budget *budget);

/* Whether something that takes `rate` more each ns from now on, and cannot be put off, has room in
 * each minute to come. */
bool budget__has_room_for(const struct budget *budget, double rate);

/* Returns what is left each ns for others than the tool's own work, 0 or more. */
double budget__free_rate(const struct budget *budget);

/* Returns what one minute's budget is, and what was spent in the last minute; ns of CPU time. */
double budget__minute_ns(const struct budget *budget);
double budget__spent_ns(const struct budget *budget);

#endif
