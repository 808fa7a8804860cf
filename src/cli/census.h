/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_CLI_CENSUS_H
#define LEAKSWEEP_CLI_CENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "python/census.h"

/*
 * The subcommand `census`. Returns the exit status: 0, 1 failure (no such process, not a Python
 * that is known ...), 2 usage.
 */
int cmd_census(int argc, char **argv);

enum census_sort {
	CENSUS_BY_BYTES,
	CENSUS_BY_COUNT,
	CENSUS_BY_GROWTH,
};

/* A type in one census, and what became of it since the one before. */
struct census_line {
	const char *type; /* borrowed from either */
	uint64_t cnt, bytes, large_bytes;
	int64_t cnt_change, bytes_change;
};

/* What is to be shown. Borrowed. */
struct census_view {
	pid_t pid;
	const char *comm, *version; /* of the process; of its Python */
	const struct census *census;
	bool has_changes;	   /* there was a census before */
	uint64_t taken_at_ns;	   /* since the epoch */
	uint64_t since_ns;	   /* time from the one before to this one */
	struct census_line *lines; /* in order */
	size_t line_cnt, shown_cnt;
};

/*
 * Lists the types of a census and how they changed from `old` (NULL = there is none before), only
 * those that changed with `only_changes`. *ret_lines is the caller's. Returns 0 or -ENOMEM.
 */
int census_lines(const struct census *census, const struct census *old, bool only_changes,
		 enum census_sort sort, struct census_line **ret_lines, size_t *ret_cnt);

/* Render it. Return 0 or a negative errno. */
int census_table(const struct census_view *view, FILE *out);
int census_json(const struct census_view *view, FILE *out);

#endif
