/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the text report. Private to its renderers: table, tree, annotate. */
#ifndef LEAKSWEEP_REPORT_TABLE_H
#define LEAKSWEEP_REPORT_TABLE_H

#include <stdio.h>

#include "model/group.h"
#include "model/profile.h"
#include "report/report.h"
#include "report/screen.h"

#define UNWIND_END_CNT (UNWIND_NO_CODE + 1)

/* What the traced processes look like as a whole. */
struct situation {
	size_t running, exited, execed, late;
	size_t probed, partial, skipped; /* allocators, counted per process */
	size_t bare;			 /* running processes without any allocator */
	size_t live_rows;		 /* rows of the profile with something live */
	size_t growing_rows;		 /* of those, rows that grew since the last interval */
	size_t stacks;			 /* of the snapshot, with something live */
	size_t ends[UNWIND_END_CNT];	 /* of those, by how they end */
	int64_t unnamed_bytes;		 /* live bytes whose first shown function has no name */
	bool folded;			 /* calls of allocators and runtimes are left out */
};

void situation__read(struct situation *situation, const struct profile *profile);

/* Writes what is live, between head and foot; there is something, unless opts->annotate is set.
 * Returns 0 or -ENOMEM. */
typedef int (*table_body_fn)(struct screen *screen, const struct profile *profile,
			     const struct report_opts *opts, const struct situation *situation);

/*
 * Writes a whole text report: head, body (or why there is none), foot. Returns 0 or a negative
 * errno, as report_fn.
 */
int table_render(const struct profile *profile, const struct report_opts *opts, table_body_fn body,
		 FILE *out);

/* Writes the first line: which report of which command, how long, where. */
void table_title(struct screen *screen, const struct snapshot *snap);

/* Writes everything above the stacks. Returns 0 or -ENOMEM. */
int table_head(struct screen *screen, const struct profile *profile,
	       const struct situation *situation);

/* Writes what is followed of the Pythons in the traced processes. */
void table_pythons(struct screen *screen, const struct snapshot *snap);

/* Writes where the resident memory of the largest processes is. Returns 0 or -ENOMEM. */
int table_residents(struct screen *screen, const struct profile *profile);

/* Writes of which process an allocator keeps resident memory, where live memory does not tell. */
void table_retained(struct screen *screen, const struct profile *profile);

/* Writes why there are no rows to show: nothing seen is never called nothing found. */
void table_no_rows(struct screen *screen, const struct profile *profile,
		   const struct situation *situation);

/* Writes the calls of a stack, at most `max` lines of them and one that tells how many are left.
 * Returns 0 or -ENOMEM. */
int table_stack(struct screen *screen, const struct profile *profile, uint32_t stack, int indent,
		size_t max);

/* Writes the calls of a row's stack, and why it ends where it does. Returns 0 or -ENOMEM. */
int table_calls(struct screen *screen, const struct profile *profile, const struct snap_row *row);

/* Writes what a row of a grouping by control groups is about, behind its numbers. */
void table_group_title(struct screen *screen, const struct profile *profile,
		       const struct profile_row *row);

/*
 * Writes below such a row what the kernel counts for the group, its limit and growth, what was lost
 * to its share of the tables, and the call that holds most. Returns 0 or -ENOMEM.
 */
int table_group(struct screen *screen, const struct profile *profile, const struct profile_row *row,
		const struct group_top *top);

/* Writes the types of a row's live blocks, one line; nothing when they were not looked at. */
void table_types(struct screen *screen, const struct profile *profile,
		 const struct profile_row *row);

/* Writes what a snapshot says in sentences. */
void table_notes(struct screen *screen, const struct snapshot *snap);

/* Writes below the list what a reader should know about it (what is folded, how stacks ended), and
 * the last line. */
void table_foot(struct screen *screen, const struct profile *profile,
		const struct situation *situation);

/* Writes the last line: what to try next. */
void table_next(struct screen *screen, const struct profile *profile,
		const struct situation *situation);

/*
 * Returns how often the counter says that something is missing: 0 for counters of work, and for
 * unknown frees while sampling, where they mean nothing.
 */
uint64_t loss_count(const struct snapshot *snap, enum stat_id stat);

/* Returns what helps against a loss, "" when nothing does. */
const char *loss_cure(const struct snapshot *snap, enum stat_id stat);

/* Returns what a loss means. */
const char *loss_meaning(enum stat_id stat);

#endif
