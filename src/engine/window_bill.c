/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/window_bill.h"

#include <math.h>

/* Of a program that was never measured: one that does nothing, one that walks a deep stack. */
#define PROGRAM_LEAST_NS 300.0
#define PROGRAM_MOST_NS 6000.0

#define MEASURED_FIRST 4
#define MEASURED_EACH 8

/* Returns what share of its CPU time a process has lost: more than all it cannot. */
static double lost(const struct window_work *work, double ns_per_hit)
{
	return fmin((double)work->hits * ns_per_hit / (double)work->busy_ns, 1);
}

struct window_bill window_bill__of(const struct trap_price *price, const struct window_work *work)
{
	double trap_ns = price->hit_ns + price->step_ns * work->stepped;
	double least_ns = work->program_ns > 0 ? work->program_ns : PROGRAM_LEAST_NS;
	double most_ns = work->program_ns > 0 ? work->program_ns : PROGRAM_MOST_NS;
	struct window_bill bill = {.hits = work->hits, .busy_ns = work->busy_ns};

	if (!work->busy_ns)
		return bill;
	bill.lost_least = lost(work, trap_ns + least_ns);
	bill.lost_most = lost(work, TRAP_COLD * trap_ns + most_ns);
	bill.lost_low = bill.lost_high = lost(work, TRAP_CHARGED * trap_ns + most_ns);
	return bill;
}

bool window_bill__measures(uint64_t window_cnt)
{
	return window_cnt < MEASURED_FIRST || window_cnt % MEASURED_EACH == 0;
}
