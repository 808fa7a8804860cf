/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which code of a process keeps its memory: what a sweep's table says below a row. Private to the
 * renderers of a sweep. */
#ifndef LEAKSWEEP_REPORT_SWEEP_CODE_H
#define LEAKSWEEP_REPORT_SWEEP_CODE_H

#include "model/profile.h"
#include "model/sweep.h"
#include "report/screen.h"

/*
 * Writes what is known of a row's code, which is there: the verdict in a sentence, the stacks that
 * grow with their evidence, what the memory is made of, how it was looked at. `profile` is of the
 * sweep's snapshot. Returns 0 or -ENOMEM.
 */
int sweep_put_code(struct screen *screen, const struct profile *profile,
		   const struct sweep_row *row);

/* Writes the same of what was kept of a row's code, which is there, and how long ago that was, and
 * whose. Returns 0 or -ENOMEM. */
int sweep_put_kept(struct screen *screen, const struct sweep_row *row);

/* Returns the confidence of a verdict in whole thousandths, 0 to 0.999: nothing is certain. */
double sweep_confidence(const struct cohort_verdict *verdict);

#endif
