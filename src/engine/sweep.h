/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sweep from beginning to end: all processes are watched, who grows is told at intervals, until a
 * time or a signal ends it.
 */
#ifndef LEAKSWEEP_ENGINE_SWEEP_H
#define LEAKSWEEP_ENGINE_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/suspects.h"
#include "engine/watch.h"
#include "model/sweep_oom.h"
#include "model/suppress.h"
#include "report/sweep.h"

struct sweep_opts {
	uint64_t interval_ns, duration_ns; /* the latter 0 = until a signal */
	bool once;			   /* one report, at the end */
	ARRAY(const char *) cgroups;	   /* none = the whole host */
	const char *path;		   /* NULL = to `fd` */
	int fd;
	sweep_report_fn report;
	struct sweep_report_opts render;
	const struct suppressions *suppressions;
	struct suspects_opts suspects;
	bool rereads; /* SIGHUP asks for other options, and ends nothing */
};

struct sweeper;

struct sweep_result {
	char *message;	      /* owned: one sentence when it failed, NULL = there is none */
	double fastest_lower; /* of the last report, bytes per hour; 0 = nothing grows */
	bool is_too_early;    /* the last report knows of no process whether it grows */
};

/*
 * Begins a sweep. `opts` is borrowed until there are others. Returns 0 or a negative errno with an
 * owned sentence. Signal dispositions and the limit of open files of the process are changed.
 */
int sweeper__new(const struct sweep_opts *opts, struct sweeper **ret, char **ret_message);
void sweeper__free(struct sweeper *sweeper);

/*
 * Sweeps until it is over: SIGINT, SIGTERM, SIGHUP or the duration, each with a last report.
 * SIGUSR1 asks for one now, and when the kernel has killed a process for memory what was known of
 * its group is told at once, with `once` in that report. The first comes within 30 s, however long
 * the interval. Signals that are ignored stay so. A report that `path` cannot take is told on
 * stderr, unless it is the last one. Returns 0, a negative errno, or 1: SIGHUP has come, and the
 * options say that it asks for others (sweeper__change); the sweep goes on when this is called
 * again.
 */
int sweeper__run(struct sweeper *sweeper, struct sweep_result *ret);

/*
 * Goes on with other options, all of which count from now on; durations and intervals go by the
 * sweep's beginning. What is known of processes stays, but for those that are not watched any more.
 * Returns 0 or a negative errno with an owned sentence: then the old ones stay.
 */
int sweeper__change(struct sweeper *sweeper, const struct sweep_opts *opts, char **ret_message);

/*
 * Tells what a watch knows, without times and cost. Bounded waits: files of /proc. Returns 0 or a
 * negative errno; *ret is the caller's.
 */
int sweep__of_watch(struct watch *watch, struct sweep **ret);

/* Fills in what a row says of its group, which owns the text; NULL = it has none. Returns 0 or
 * -ENOMEM. */
int sweep__name_group(struct watch *watch, struct watch_group *group, struct sweep_row *row);

/*
 * Tells what is known of all processes that share a limit with those that the kernel has killed.
 * Returns 0 or a negative errno; *ret is the caller's.
 */
int sweep__oom_of_watch(struct watch *watch, const struct watch_kill *kill,
			struct suspects *suspects, uint64_t now_ns, struct sweep_oom **ret);

/*
 * Lists the processes of a watch that grow, or have gained enough to be suspected of it, the
 * fastest first, without those that are suppressed. Returns how many: `max` at most.
 */
size_t sweep__suspicions(struct watch *watch, const struct suppressions *suppressions,
			 struct suspicion *ret, size_t max);

#endif
