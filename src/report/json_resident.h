/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where resident memory is, in the JSON report. */
#ifndef LEAKSWEEP_REPORT_JSON_RESIDENT_H
#define LEAKSWEEP_REPORT_JSON_RESIDENT_H

#include "report/json_fields.h"

/* Adds "resident" of process number `proc`: null when it was not looked at. */
void add_resident(struct fields *fields, const struct profile *profile, size_t proc);

#endif
