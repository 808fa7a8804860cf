/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The order of a profile's rows: by weight, and by what they are where weights are equal, so that a
 * report does not depend on the order of a snapshot. Private to the profile. */
#ifndef LEAKSWEEP_MODEL_ROW_ORDER_H
#define LEAKSWEEP_MODEL_ROW_ORDER_H

#include "model/profile.h"

/* Everything that a comparison of rows looks at. */
struct row_order {
	const struct snapshot *snap;
	enum profile_sort sort;
	uint32_t *module_ranks; /* position of each module when sorted by path */
	uint32_t *code_ranks;	/* position of each Python function when sorted by file */
};

/* Returns 0 or -ENOMEM; to be destroyed in both cases. */
int row_order__init(struct row_order *order, const struct snapshot *snap, enum profile_sort sort);
void row_order__destroy(struct row_order *order);

/* Compares two profile_rows for qsort_r; `context` is the order. */
int compare_profile_rows(const void *a, const void *b, void *context);

/* Whether `a` stands for its group rather than `b`. */
bool bigger_row(const struct row_order *order, const struct snap_row *a, const struct snap_row *b);

/* Compares types by their names; SNAP_NONE is the last. */
int compare_types(const struct snapshot *snap, uint32_t a, uint32_t b);

static inline int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* Bigger first. */
static inline int compare_down(int64_t a, int64_t b)
{
	return a > b ? -1 : a < b;
}

#endif
