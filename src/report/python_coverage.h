/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is followed of a Python, summed up. */
#ifndef LEAKSWEEP_REPORT_PYTHON_COVERAGE_H
#define LEAKSWEEP_REPORT_PYTHON_COVERAGE_H

#include <stdbool.h>

#include "model/snapshot.h"
#include "report/json_fields.h"

/*
 * Tells how many of the blocks in use that the trace should have seen were seen, in percent of
 * them. Returns false when nobody looked.
 */
bool python_coverage__percent(const struct snap_python *python, double *ret_percent);

/* Frames and objects together: the worse of two that are probed or partial, and partial when only
 * one of them is skipped. */
enum coverage_status python_coverage__status(const struct snap_python *python);

/* Adds the member "python" to a process's coverage. */
void add_python(struct fields *coverage, const struct snap_python *python);

#endif
