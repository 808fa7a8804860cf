/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/budget.h"

#include <math.h>

#define BURST_NS (BUDGET_MINUTE_NS / 12)

/* What is planned fills a minute up to here; what is noticed late comes on top: hits between two
 * looks, the tool's own work in bursts. */
#define FULL 0.96

double budget__minute_ns(const struct budget *budget)
{
	return budget->rate * BUDGET_MINUTE_NS;
}

static double *slot_now(struct budget *budget)
{
	return &budget->spent_ns[budget->time_ns / BUDGET_SLOT_NS % BUDGET_SLOTS];
}

void budget__spend(struct budget *budget, double cost_ns)
{
	*slot_now(budget) += cost_ns;
	budget->saved_ns -= cost_ns;
}

void budget__spend_own(struct budget *budget, double cost_ns)
{
	budget__spend(budget, cost_ns);
	budget->own_paid_ns += cost_ns;
}

void budget__init(struct budget *budget, double share, unsigned int cpu_cnt, uint64_t clock_ns,
		  uint64_t own_cpu_ns)
{
	*budget = (struct budget){
		.rate = share * cpu_cnt,
		.start_rate = (double)own_cpu_ns / BUDGET_MINUTE_NS,
		.clock_ns = clock_ns,
		.own_cpu_ns = own_cpu_ns,
		.saved_ns = share * cpu_cnt * BURST_NS,
	};
	*slot_now(budget) = own_cpu_ns;
}

static double burst_ns(const struct budget *budget)
{
	return fmax(budget->rate * BURST_NS,
		    fmin(budget->least_burst_ns, budget__minute_ns(budget) / 2));
}

static void bound_saved(struct budget *budget)
{
	budget->saved_ns = fmin(budget->saved_ns, burst_ns(budget));
	budget->saved_ns = fmax(budget->saved_ns, -budget__minute_ns(budget));
}

void budget__set_share(struct budget *budget, double share, unsigned int cpu_cnt)
{
	budget->rate = share * cpu_cnt;
	bound_saved(budget);
}

/* Returns what each ns brings. */
static double fill_rate(const struct budget *budget)
{
	double taken = budget->time_ns < BUDGET_MINUTE_NS ? budget->start_rate : 0;

	return fmax(budget->rate - taken, 0);
}

/* Enters the slots up to `time_ns`; what they held is older than a minute. */
static void enter_slots(struct budget *budget, uint64_t time_ns)
{
	uint64_t last = time_ns / BUDGET_SLOT_NS;

	for (uint64_t slot = budget->time_ns / BUDGET_SLOT_NS + 1; slot <= last; slot++)
		budget->spent_ns[slot % BUDGET_SLOTS] = 0;
	budget->time_ns = time_ns;
}

/* Returns what the tool has used since the last call and has not been spent yet. */
static double take_own(struct budget *budget, uint64_t own_cpu_ns)
{
	double own_ns = own_cpu_ns > budget->own_cpu_ns ? own_cpu_ns - budget->own_cpu_ns : 0;
	double paid_ns = fmin(own_ns, budget->own_paid_ns);

	budget->own_cpu_ns = own_cpu_ns;
	budget->own_paid_ns -= paid_ns;
	return own_ns - paid_ns;
}

void budget__pass(struct budget *budget, uint64_t clock_ns, uint64_t own_cpu_ns)
{
	uint64_t step_ns = clock_ns > budget->clock_ns ? clock_ns - budget->clock_ns : 0;
	double own_ns = take_own(budget, own_cpu_ns);

	if (step_ns > BUDGET_MAX_STEP_NS)
		step_ns = BUDGET_MAX_STEP_NS;
	budget->clock_ns = clock_ns;
	enter_slots(budget, budget->time_ns + step_ns);
	budget->saved_ns = fmin(budget->saved_ns + fill_rate(budget) * step_ns, burst_ns(budget));
	budget->own_rate -= budget->own_rate * step_ns / BUDGET_MINUTE_NS;
	budget->own_rate += own_ns / BUDGET_MINUTE_NS;
	budget__spend(budget, own_ns);
	bound_saved(budget);
}

void budget__resume(struct budget *budget, uint64_t clock_ns, uint64_t own_cpu_ns)
{
	budget->clock_ns = clock_ns;
	budget->own_cpu_ns = own_cpu_ns;
	budget->own_paid_ns = 0;
}

void budget__hold(struct budget *budget, double cost_ns)
{
	budget->least_burst_ns = cost_ns;
}

double budget__spent_ns(const struct budget *budget)
{
	double spent_ns = 0;

	for (uint64_t i = 0; i < BUDGET_SLOTS; i++)
		spent_ns += budget->spent_ns[i];
	return spent_ns;
}

/*
 * Returns the room in the fullest of the minutes from now on, when `rate` is taken each ns: the
 * slots of the last minute go out of it one by one, the oldest first.
 */
static double room_ahead(const struct budget *budget, double rate)
{
	double room_ns =
		budget__minute_ns(budget) * FULL - budget->kept_ns - budget__spent_ns(budget);
	double least_ns = room_ns;
	uint64_t now = budget->time_ns / BUDGET_SLOT_NS;

	for (uint64_t i = 1; i < BUDGET_SLOTS; i++) {
		room_ns += budget->spent_ns[(now + i) % BUDGET_SLOTS] - rate * BUDGET_SLOT_NS;
		least_ns = fmin(least_ns, room_ns);
	}
	return least_ns;
}

double budget__room_ns(const struct budget *budget)
{
	return fmin(budget->saved_ns, room_ahead(budget, budget->own_rate + budget->bound_rate));
}

bool budget__has_room_for(const struct budget *budget, double rate)
{
	return room_ahead(budget, budget->own_rate + budget->bound_rate + rate) > 0;
}

double budget__free_rate(const struct budget *budget)
{
	double full = FULL * BUDGET_MINUTE_NS / (BUDGET_SLOTS * BUDGET_SLOT_NS);

	return fmax(fill_rate(budget) * full - budget->own_rate -
			    budget->kept_ns / BUDGET_MINUTE_NS,
		    0);
}
