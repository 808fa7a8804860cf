/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processes of a sweep that grow: their code is looked at, in windows of time or all the time,
 * as far as a budget of CPU time goes (engine/window_plan.h), for who keeps the memory
 * (model/cohort.h). BPF programs are loaded when the first suspect comes; where they cannot be, a
 * sweep goes on without, and says so.
 */
#ifndef LEAKSWEEP_ENGINE_SUSPECTS_H
#define LEAKSWEEP_ENGINE_SUSPECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "model/sweep.h"

#define MAX_SUSPECTS 8 /* each takes up to 8 MiB */

struct suspects_opts {
	double budget;	       /* share of each CPU, 0.01 = 1 %; 0 = only first touches are told */
	const char *cache_dir; /* of unwind tables and sites; NULL = none */
	uint64_t cache_bytes;
};

/* A process that grows, or may do so. */
struct suspicion {
	pid_t pid;
	uint64_t start_ns; /* since boot */
	pid_t first_pid;   /* of its service, as sweep_row.first_pid */
	uint64_t first_start_ns;
	double growth_per_hour; /* bytes */
	double growth_high;	/* the most that it may be; below 0 = not known */
	uint64_t anon_bytes;	/* now */
};

struct suspects;

/* `opts` is borrowed. NULL: no memory. */
struct suspects *suspects__new(const struct suspects_opts *opts);
void suspects__free(struct suspects *suspects);

/* Goes on with another budget, from now on; all else of `opts` has to be as it was. */
void suspects__change(struct suspects *suspects, const struct suspects_opts *opts);

/*
 * Tells who grows now, the fastest first: those that are not known are taken up as far as there is
 * room, in the place of others that are not told any more. Returns 0 or a negative errno.
 */
int suspects__tell(struct suspects *suspects, const struct suspicion *list, size_t cnt,
		   uint64_t now_ns);

/*
 * Does what is due: opens and closes windows, reads what they tell. *ret_due_ns is when it has to
 * be called again at the latest (CLOCK_MONOTONIC). Returns 0 or a negative errno.
 */
int suspects__work(struct suspects *suspects, uint64_t now_ns, uint64_t *ret_due_ns);

/* Whether the kernel has chosen one of them to be killed for memory since this was true the last
 * time. */
bool suspects__saw_kill(struct suspects *suspects, uint64_t now_ns);

/* Whether the kernel has told that it kills this process; of others than suspects it tells nothing.
 */
bool suspects__was_killed(const struct suspects *suspects, pid_t pid, uint64_t start_ns);

/*
 * Gives a row that is no report's what is known of its process's code by now, though it may have
 * ended, or of the one before it in its service; nothing if there is nothing. Returns 0 or a
 * negative errno.
 */
int suspects__tell_row(struct suspects *suspects, struct sweep_row *row, uint64_t now_ns);

/*
 * To be called before something that takes longer than some milliseconds: probes are not left
 * alone. `is_long`: it may take any time, as what waits for others does; without, exact tracing
 * goes on, to be looked at late. Returns 0 or -ENOMEM.
 */
int suspects__pause(struct suspects *suspects, bool is_long, uint64_t now_ns);

/* The next report is the last one: its source lines are all read, whatever the budget. */
void suspects__end(struct suspects *suspects);

/*
 * Adds to a sweep what is known of the code of its processes, where that is nothing what was known
 * of the one before it in its service, and a note if nothing can be. Waits for files of debug
 * information. Returns 0 or a negative errno.
 */
int suspects__report(struct suspects *suspects, struct sweep *sweep, uint64_t now_ns);

#endif
