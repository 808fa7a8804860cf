/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What somebody knows already and does not want to be told: stacks that grow, and processes.
 *
 * A pattern is compared with the whole of a name; '*' stands for any bytes, '?' for one. Before it
 * may stand what it is compared with: "comm:" a process's name, "cgroup:" the path of its control
 * group or one above it, "service:" the name of its unit or container. Without any of them it is
 * for stacks: the name of one of their functions, source files or modules, of the latter two the
 * whole path or its last part.
 */
#ifndef LEAKSWEEP_MODEL_SUPPRESS_H
#define LEAKSWEEP_MODEL_SUPPRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "model/sweep.h"
#include "model/sweep_oom.h"
#include "util/array.h"

#define MAX_SUPPRESSIONS 256
#define MAX_SUPPRESSION_LEN 256

enum suppression_kind {
	SUPPRESS_STACK = 0,
	SUPPRESS_COMM = 1,
	SUPPRESS_CGROUP = 2,
	SUPPRESS_SERVICE = 3,
};

struct suppression {
	enum suppression_kind kind;
	char *glob; /* owned */
};

struct suppressions {
	ARRAY(struct suppression) items;
};

/* Adds a pattern. Returns 0, -EINVAL (there is nothing in it), -E2BIG (longer than
 * MAX_SUPPRESSION_LEN), -ENOSPC (there are MAX_SUPPRESSIONS) or -ENOMEM. */
int suppressions__add(struct suppressions *list, const char *pattern);
void suppressions__free(struct suppressions *list);

/* Returns whether a process is suppressed by its names, or a group, whose `comm` is NULL; the name
 * of its unit or container is NULL where there is none. */
bool suppressions__has(const struct suppressions *list, const char *comm, const char *cgroup,
		       const char *service);

/*
 * Takes out of a sweep what is suppressed, and counts it: rows of processes and groups, and of the
 * other rows the stacks that grow, or that touched new memory first, one that does both once. From
 * what was kept of the code of others the same, uncounted; where there is no memory, all of it.
 * Time is bounded, whatever the names are: where a process's names take too long to compare, its
 * other stacks are told.
 */
void sweep__suppress(struct sweep *sweep, const struct suppressions *list);

/* The same for what is told of a kill: sums are still those of all processes. */
void sweep_oom__suppress(struct sweep_oom *oom, const struct suppressions *list);

#endif
