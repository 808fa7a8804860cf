/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live Python objects by type, with their bytes: the objects themselves, what belongs to them (a
 * list's items, a dict's table) and what is larger than pymalloc takes, found through the objects
 * that refer to it.
 */
#ifndef LEAKSWEEP_PYTHON_CENSUS_H
#define LEAKSWEEP_PYTHON_CENSUS_H

#include <stdint.h>

#include "python/pools.h"
#include "python/process.h"
#include "util/array.h"

struct census_row {
	char *type; /* owned; "app.Session", "dict of app.Session", "(not an object)" */
	uint64_t cnt;
	uint64_t bytes;	      /* that the objects occupy, with what belongs to them */
	uint64_t large_bytes; /* of these, in blocks that malloc gave out */
};

struct census {
	ARRAY(struct census_row) rows; /* largest first */
	uint64_t cnt, bytes;	       /* of all rows */
	uint64_t pool_bytes;	       /* blocks in use in pools; the rest of `bytes` is malloc's */
	uint64_t pool_free_bytes;      /* kept by pymalloc */
	uint64_t torn;		       /* blocks that changed while they were read */
	uint64_t swapped_bytes;	       /* of anonymous memory: swapped out, not looked at */
	uint64_t elapsed_ns;
};

/* Returns 0 or a negative errno; free with census__free. */
int census__take(const struct python_process *process, struct census *ret);
void census__free(struct census *census);

/* What changed from `old` to `census`, as rows of signed differences, the largest growth first. */
struct census_change {
	const char *type; /* borrowed from either */
	int64_t cnt, bytes;
};

/* Returns the number of changes in *ret_changes (owned by the caller), or -ENOMEM. */
int census__compare(const struct census *old, const struct census *census,
		    struct census_change **ret_changes, size_t *ret_cnt);

#endif
