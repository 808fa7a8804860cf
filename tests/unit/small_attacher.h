/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An attacher with small tables, for tests of what real programs see. Takes root. */
#ifndef LEAKSWEEP_TESTS_UNIT_SMALL_ATTACHER_H
#define LEAKSWEEP_TESTS_UNIT_SMALL_ATTACHER_H

#include "attach/attacher.h"
#include "attach/features.h"

/* Opens one that is as `opts` but for the sizes. Returns 0 or a negative errno. */
static inline int small_attacher__open(struct attacher_opts opts, struct attacher **ret)
{
	struct features features;

	opts.max_blocks = 1 << 12;
	opts.max_stacks = 1 << 13;
	opts.max_procs = 1 << 10;
	opts.ring_bytes = 1 << 20;
	features__probe_best(&features);
	return attacher__open(&opts, &features, ret);
}

#endif
