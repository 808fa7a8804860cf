/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real programs on a child of our own that calls malloc and free a known number of times. */
#ifndef LEAKSWEEP_ENGINE_HOST_TRIAL_H
#define LEAKSWEEP_ENGINE_HOST_TRIAL_H

#include <stdint.h>

#include "attach/features.h"

struct host_trial {
	int load_err;	    /* why the programs could not be loaded and attached, negative errno */
	int mmap_err;	    /* why system calls on memory cannot be followed */
	int probe_err;	    /* why the child could not be probed */
	uint64_t pair_cnt;  /* malloc and free pairs that the child made; 0 = the trial did not get
			       that far */
	uint64_t alloc_cnt; /* of which were recorded */
	uint64_t free_cnt;
	double bare_ns, probed_ns; /* for a pair without and with probes */
};

/* Takes about 1.5 s. Fills in all of *ret; the errors are in it. */
void host_trial__run(const struct features *features, struct host_trial *ret);

#endif
