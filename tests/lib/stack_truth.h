/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole stacks: what a leaker tells in STACK lines (leakers/whole_stacks.h) against a report. */
#ifndef LEAKSWEEP_TESTS_STACK_TRUTH_H
#define LEAKSWEEP_TESTS_STACK_TRUTH_H

#include "lib/harness.h"

/*
 * Fails unless every STACK line is in the report to the byte, every malloc row of the processes
 * that have such lines is one of theirs, and no stack was lost or cut but those that say so.
 * Returns how many rows there were.
 */
size_t assert_stacks(const struct report *report, struct child *leaker);

/* run__trace or run__command with assert_stacks. Returns the run. */
struct run check_stacks(const char *const *leaker_args, const char *const *tool_args);
struct run check_stacks_of_command(const char *const *leaker_args, const char *const *tool_args);

/* Skips the test when a leaker could not be built here. */
void need_leaker(const char *name);

#endif
