/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A profile is a snapshot as somebody wants to see it: filtered, grouped, sorted, named. Renderers
 * are pure functions of it, so live, replayed and compared output share them.
 */
#ifndef LEAKSWEEP_MODEL_PROFILE_H
#define LEAKSWEEP_MODEL_PROFILE_H

#include "model/cost.h"
#include "model/snapshot.h"

struct symbol;

enum profile_sort { SORT_BYTES = 0, SORT_COUNT = 1, SORT_GROWTH = 2 };
enum profile_group { GROUP_STACK = 0, GROUP_FUNCTION = 1, GROUP_PROCESS = 2, GROUP_CGROUP = 3 };

struct profile_opts {
	enum profile_sort sort;
	enum profile_group group;
	uint32_t top; /* rows to show, 0 = all */
};

/*
 * One line of a report. For GROUP_STACK it is one process's stack; for the others the sum of all
 * rows that share a leaf function, a process or a cgroup, and `row` is the biggest of them.
 */
struct profile_row {
	const struct snap_row *row;
	struct cost cost;
	int64_t delta_bytes,
		delta_count; /* live, against the previous profile; all of it when there was none */
	uint64_t oldest_ns, newest_ns;
	uint32_t rows;	/* how many rows of the snapshot it sums up */
	uint32_t procs; /* how many processes they belong to */
};

struct profile {
	const struct snapshot *snap;  /* borrowed */
	const struct symbol *symbols; /* borrowed, one per frame of the snapshot */
	struct profile_opts opts;
	ARRAY(struct profile_row) rows; /* sorted; all of them, renderers show opts.top */
	struct cost total;		/* of every row of the snapshot */
	struct cost *proc_totals;	/* one per process of the snapshot */
	int64_t delta_bytes;		/* of the total live bytes against the previous profile */
	bool has_previous;
};

/*
 * Builds a profile. `snap` and `symbols` are borrowed and must outlive it. `previous` may be NULL;
 * when given, rows are matched to its rows by process identity, layer and frames (module identity +
 * offset), or by the group's key. Returns NULL when out of memory.
 */
struct profile *profile__new(const struct snapshot *snap, const struct symbol *symbols,
			     const struct profile_opts *opts, const struct profile *previous);
void profile__free(struct profile *profile);

#endif
