/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_CLI_DOCTOR_H
#define LEAKSWEEP_CLI_DOCTOR_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/host_allocs.h"
#include "engine/host_check.h"

/*
 * The subcommand `doctor`. Returns the exit status: 0 tracing works here, 1 it does not (or
 * failure), 2 usage.
 */
int cmd_doctor(int argc, char **argv);

/* What it has found. Borrowed. */
struct diagnosis {
	const struct host_check *check;
	const struct host_allocs *allocs;
	const char *summary; /* one sentence */
	bool verbose;
};

/* Render it. Return 0 or a negative errno when not everything could be written. */
int doctor_table(const struct diagnosis *diagnosis, FILE *out);
int doctor_json(const struct diagnosis *diagnosis, FILE *out);

#endif
