/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What hits of probes have cost a process: the traps, as calibrated, and the programs behind them,
 * as the kernel has measured them. Numbers only.
 */
#ifndef LEAKSWEEP_ENGINE_WINDOW_BILL_H
#define LEAKSWEEP_ENGINE_WINDOW_BILL_H

#include "engine/window_cost.h"

/* A real program with cold caches pays up to TRAP_COLD times what a trap costs in the tight loop
 * that calibrates it (attach/calibrate.h); nearly all of that is charged, so that no budget is
 * overrun by more than a tenth. */
#define TRAP_COLD 2
#define TRAP_CHARGED 1.8

/* What a trap costs in that loop, ns. */
struct trap_price {
	double hit_ns;
	double step_ns; /* the second one of a stepped instruction */
};

/* What a suspect's probes did for a while. */
struct window_work {
	uint64_t hits;
	double stepped; /* of them, 0 to 1: those of stepped instructions */
	/* CPU time of a run of a program behind them, the last time that it was measured; ns, 0 =
	 * it never was. */
	double program_ns;
	uint64_t busy_ns; /* CPU time that the process used */
};

/* The bill's range is what is charged, as nobody can measure how cold the caches were. */
struct window_bill window_bill__of(const struct trap_price *price, const struct window_work *work);

/*
 * Whether the kernel is to measure programs in a suspect's next window, after `window_cnt` of them:
 * in the first ones, and then now and then, as programs of the whole host run a little longer
 * meanwhile.
 */
bool window_bill__measures(uint64_t window_cnt);

#endif
