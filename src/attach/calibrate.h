/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a probe costs on this host, measured on this process itself; nobody else is touched. */
#ifndef LEAKSWEEP_ATTACH_CALIBRATE_H
#define LEAKSWEEP_ATTACH_CALIBRATE_H

#include "attach/probe_link.h"

/*
 * Nanoseconds per hit with next to no program behind it, in a tight loop. That is the least a probe
 * costs: in a real program the caches are cold, up to twice as much, and the program behind the
 * probe comes on top.
 */
struct trap_costs {
	double emulated_ns;    /* an instruction that the kernel emulates */
	double stepped_ns;     /* any other: stepped out of line */
	double call_return_ns; /* a call (at an emulated instruction) and its return together */
	enum link_mode return_mode; /* what saw the return: the best that works here */
};

/*
 * Measures for at most 12 ms unless a hit takes longer than 20 us, or others run meanwhile;
 * removing the probes takes the kernel another 40 ms. Returns 0, -ENOTSUP (not known for this
 * architecture) or the negative errno of the load or of the probe that did not work.
 */
int calibrate__trap(struct trap_costs *ret);

/*
 * Lets the kernel measure how long BPF programs run (all of the host's, some 20 ns each run).
 * Returns a descriptor that the caller closes to end it, or a negative errno.
 */
int calibrate__enable_stats(void);

#endif
