/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Renderers: pure functions of a profile. Only this folder formats for people. */
#ifndef LEAKSWEEP_REPORT_REPORT_H
#define LEAKSWEEP_REPORT_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "model/profile.h"

struct report_opts {
	bool color;	      /* only when stdout is a terminal */
	unsigned int columns; /* width to fit, 0 = no limit */
	bool root_first;      /* tree: from the program's start down, instead of from the leaves */
	const char *annotate; /* report_annotate: which source files, see source_path__matches */
	bool ascii;	      /* the terminal's locale is not UTF-8: branches are drawn in ASCII */
};

/* Writes the report. Returns 0 or a negative errno (a failed write is -EIO or the stream's errno).
 */
typedef int (*report_fn)(const struct profile *profile, const struct report_opts *opts, FILE *out);

int report_table(const struct profile *profile, const struct report_opts *opts, FILE *out);
int report_tree(const struct profile *profile, const struct report_opts *opts, FILE *out);
int report_json(const struct profile *profile, const struct report_opts *opts, FILE *out);
int report_folded(const struct profile *profile, const struct report_opts *opts, FILE *out);

/*
 * One line a source line, or a function that has none, summed up over all processes (those of one
 * control group, whose name is before it, when grouped by them):
 * "app/cache.py:42: size=1.2 GiB, count=310000, average=4.1 KiB", with differences where there is a
 * previous profile. Grouped by GROUP_LINE it also tells what has gone since then. An empty line
 * ends the list of an interval.
 */
int report_lines(const struct profile *profile, const struct report_opts *opts, FILE *out);

/* Source text with what each line holds; of opts->annotate, which is not NULL. */
int report_annotate(const struct profile *profile, const struct report_opts *opts, FILE *out);

/* The known --format names, the default first. */
#define REPORT_NAMES "table, tree, json, folded, lines"

/* Returns the renderer of a --format name, or NULL. */
report_fn report__by_name(const char *name);

/* Returns REPORT_NAMES. */
const char *report__names(void);

#endif
