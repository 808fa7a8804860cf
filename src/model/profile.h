/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A profile is a snapshot as somebody wants to see it: filtered, grouped, sorted, named. Renderers
 * are pure functions of it, so live, replayed and compared output share them.
 */
#ifndef LEAKSWEEP_MODEL_PROFILE_H
#define LEAKSWEEP_MODEL_PROFILE_H

#include "model/call.h"
#include "model/cost.h"
#include "model/fold.h"
#include "model/resident.h"
#include "model/snapshot.h"

enum profile_sort { SORT_BYTES = 0, SORT_COUNT = 1, SORT_GROWTH = 2 };
enum profile_group {
	GROUP_STACK = 0,
	GROUP_FUNCTION = 1,
	GROUP_PROCESS = 2,
	GROUP_CGROUP = 3,
	GROUP_LINE = 4,
	GROUP_FILE = 5,
	GROUP_TYPE = 6,	     /* of Python objects; what has none goes by its layer */
	GROUP_CONTAINER = 7, /* else service, else cgroup */
	GROUP_SERVICE = 8,   /* else container, else cgroup */
};

struct profile_opts {
	enum profile_sort sort;
	enum profile_group group;
	uint32_t top;	 /* rows to show, 0 = all */
	bool all_frames; /* show the frames of allocators and runtimes too */
};

/*
 * One line of a report. For GROUP_STACK it is one process's stack, or those that differ in nothing
 * but an interpreter's machine code between and below Python frames (unless all frames are shown),
 * `row` being the biggest; for the others the sum of all rows that share a process, a cgroup
 * (container, service), or the function, line or file of the first call that is shown of their
 * stacks, and `row` is the biggest of them. A stack without line or file goes by its function.
 * GROUP_TYPE divides rows: each type gets its share of what is live, and the layer the rest of the
 * cost.
 */
struct profile_row {
	const struct snap_row *row;
	uint32_t type; /* GROUP_TYPE: index in the snapshot's types, SNAP_NONE = the rest of the
			  row's layer */
	struct cost cost;
	int64_t delta_bytes,
		delta_count; /* live, against the previous profile; all of it when there was none */
	uint32_t first_type, type_cnt; /* in the profile's type_shares, largest first; not for
					  GROUP_TYPE */
	uint64_t oldest_ns, newest_ns;
	uint32_t rows;	/* how many rows of the snapshot it sums up */
	uint32_t procs; /* how many processes they belong to */
};

/* Whether people want to see the row: something of it is live. */
static inline bool profile_row__is_live(const struct profile_row *row)
{
	return row->cost.live_count > 0 || row->cost.live_bytes != 0;
}

struct profile {
	const struct snapshot *snap;  /* borrowed */
	const struct symbol *symbols; /* borrowed, one per frame of the snapshot */
	struct profile_opts opts;
	ARRAY(struct snap_type_share) type_shares;
	ARRAY(struct profile_row) rows; /* sorted; all of them, renderers show opts.top */
	struct cost total;		/* of every row of the snapshot */
	struct cost *proc_totals;	/* one per process of the snapshot */
	int64_t delta_bytes;		/* of the total live bytes against the previous profile */
	bool has_previous;
	/* One per process of the snapshot: of the previous profile; NULL = there was none. */
	struct resident_before *residents_before;
	struct folding folding;
	/* When grouped otherwise, and compared with a previous profile: the same by stacks. Else
	 * NULL: profile__new makes it at any time. */
	struct profile *stacks;
};

/*
 * Builds a profile. `snap` and `symbols` are borrowed and must outlive it. `previous` may be NULL;
 * when given, rows are matched to its rows by process identity, layer and frames (module identity +
 * offset), or by the group's key. Returns NULL when out of memory.
 */
struct profile *profile__new(const struct snapshot *snap, const struct symbol *symbols,
			     const struct profile_opts *opts, const struct profile *previous);
void profile__free(struct profile *profile);

/* Whether a grouping by line or file finds what it goes by. */
bool call__has_source(const struct call_info *call, enum profile_group group);

/* Leaves of a call what a grouping by function, line or file tells it from others by; nothing is
 * left out for the others. The line of a Python function is its first. */
void call__reduce(struct call_info *call, enum profile_group group);

/*
 * Returns the first call that a grouping by line or file finds what it goes by, in stacks of
 * Python: below the functions of an extension module that has no debug information stands the line
 * that called it. In other stacks, or if there is none, the first call that is to be shown.
 */
struct call profile__source(const struct profile *profile, uint32_t stack,
			    enum profile_group group);

/*
 * Returns the first call of a stack that is to be shown, when grouped by line or file the one that
 * it goes by; its node is 0 when the stack was lost.
 */
struct call profile__begin(const struct profile *profile, uint32_t stack);

/* Returns the next one to be shown; its node is 0 behind the last one. */
struct call profile__next(const struct profile *profile, struct call call);

#endif
