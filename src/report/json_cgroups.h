/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control groups of the JSON report. Private to it. */
#ifndef LEAKSWEEP_REPORT_JSON_CGROUPS_H
#define LEAKSWEEP_REPORT_JSON_CGROUPS_H

#include <stdio.h>

#include "model/profile.h"

/*
 * Writes the list of the control groups that processes are in, one a line. Returns 0 or -ENOMEM. Of
 * each: "path" and "title", "runtime", "container", "container_id", "image", "service", "pod",
 * "pod_namespace", "pod_uid" ("" = unknown, or there is none);
 *   "anon_bytes", "file_bytes": with all groups below, as the kernel counts; null = it does not,
 *   "usage_bytes", "limit_bytes" (null = none) and "reclaimable_bytes" (of the usage: page cache)
 *     of "limit_cgroup": of this one and those above the one with the least room left,
 *   "growth_bytes_per_minute" of anon_bytes (null = seen for less than a second), and
 *     "limit_growth_bytes_per_minute" of the limit's group, so of all that share it,
 *   "seconds_to_limit": when page cache is taken back and that growth goes on; null = it does not
 *     grow,
 *   "lost_blocks", "lost_bytes", "lost_stacks": refused to "lost_cgroup" (null = nothing was) that
 *     had its share of the tables: this group, or the one above in which the memory controller
 *     counts it; all that are counted there have these same numbers,
 *   "live_bytes", "live_count": by the trace, of its own processes.
 */
int json_put_cgroups(const struct profile *profile, FILE *out);

#endif
