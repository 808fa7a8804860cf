/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What reports at intervals say of resident memory, against what the kernel says. */
#ifndef LEAKSWEEP_TESTS_RESIDENT_H
#define LEAKSWEEP_TESTS_RESIDENT_H

#include "lib/harness.h"

#define MIB (1 << 20)

/* Waits until two more reports are on the tool's output: what the second one tells is from now on.
 */
void await_reports(struct child *tool);

/* Rss of /proc/PID/smaps_rollup, bytes. */
int64_t rollup_bytes(int pid);

/* Fails unless the two differ by less than 5 %. */
void assert_near(const char *what, int64_t got, int64_t want);

/* Fails unless the parts of a process's "resident" add up, and to what the kernel says. Returns it.
 */
struct json_object *assert_resident(const struct report *report, int pid, int64_t rss_bytes);

/* Returns what a member is, in bytes; fails when it is not there. */
int64_t resident_number(struct json_object *resident, const char *name);

/* The size in "1.2 MiB" behind the last `before` of a text, in bytes; fails when there is none. */
int64_t size_behind(const char *text, const char *before);

#endif
