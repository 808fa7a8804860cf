/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A capture from beginning to end, and the only event loop of the program:
 * targets -> probes in place -> recording -> reports at intervals -> frozen -> final report.
 */
#ifndef LEAKSWEEP_ENGINE_CAPTURE_H
#define LEAKSWEEP_ENGINE_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "attach/attacher.h"
#include "discover/elf_allocs.h"
#include "engine/publish.h"
#include "engine/pythons.h"
#include "engine/unwinder.h"
#include "util/array.h"

struct capture_opts {
	ARRAY(pid_t) pids;
	ARRAY(const char *) comms;
	ARRAY(const char *) cgroups;
	ARRAY(const char *) containers; /* by name, id or pod (discover/cgroup_name.h) */
	bool all;
	char *const *command; /* NULL-terminated; NULL = none */

	bool per_process; /* breakpoints only in the targets; children are reached late */
	bool in_windows; /* ... and there only while session__arm; no targets but by session__add */
	uint64_t duration_ns, interval_ns; /* 0 = none */
	uint64_t min_age_ns;
	struct attacher_opts attach;
	struct elf_allocs_opts elf;
	struct unwinder_opts unwind;
	struct pythons_opts python;
	struct publish_opts publish;
	FILE *status; /* lines about what is going on; NULL = quiet */
};

struct capture_result {
	char *message;	    /* owned: one sentence when the run failed, with the way out; NULL */
	int64_t live_bytes; /* of the final report */
};

/*
 * Runs a capture to its end: duration over, targets gone, SIGINT or SIGTERM. Returns 0 or a
 * negative errno with ret->message set. Signal dispositions of the process are changed.
 */
int capture__run(const struct capture_opts *opts, struct capture_result *ret);

#endif
