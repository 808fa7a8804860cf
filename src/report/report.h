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
	bool ascii;	      /* the terminal's locale is not UTF-8: branches are drawn in ASCII */
};

/* Writes the report. Returns 0 or a negative errno (a failed write is -EIO or the stream's errno).
 */
typedef int (*report_fn)(const struct profile *profile, const struct report_opts *opts, FILE *out);

int report_table(const struct profile *profile, const struct report_opts *opts, FILE *out);
int report_tree(const struct profile *profile, const struct report_opts *opts, FILE *out);
int report_json(const struct profile *profile, const struct report_opts *opts, FILE *out);
int report_folded(const struct profile *profile, const struct report_opts *opts, FILE *out);

/* The known --format names, the default first. */
#define REPORT_NAMES "table, tree, json, folded"

/* Returns the renderer of a --format name, or NULL. */
report_fn report__by_name(const char *name);

/* Returns REPORT_NAMES. */
const char *report__names(void);

#endif
