/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that was asked for and refused, in the text reports and in JSON. */
#ifndef LEAKSWEEP_REPORT_FAILURES_H
#define LEAKSWEEP_REPORT_FAILURES_H

#include <stdio.h>

#include "model/profile.h"
#include "report/screen.h"

/* Writes what was refused and whom the OOM killer chose, with stacks; nothing when there was
 * nothing. Returns 0 or -ENOMEM. */
int table_failures(struct screen *screen, const struct profile *profile);

/* Writes the member "failures", behind others; nothing when there was nothing. Returns 0 or
 * -ENOMEM. */
int json_put_failures(const struct profile *profile, FILE *out);

/* Returns the name that JSON uses; "unknown" for a value out of range. */
const char *failure_name(enum failure_kind kind);

#endif
