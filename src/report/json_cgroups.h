/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control groups of the JSON report. Private to it. */
#ifndef LEAKSWEEP_REPORT_JSON_CGROUPS_H
#define LEAKSWEEP_REPORT_JSON_CGROUPS_H

#include <stdio.h>

#include "model/profile.h"

/* Writes the list of control groups, one a line. Returns 0 or -ENOMEM. */
int json_put_cgroups(const struct profile *profile, FILE *out);

#endif
