/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Renderers of a sweep: pure functions of what it knows. */
#ifndef LEAKSWEEP_REPORT_SWEEP_H
#define LEAKSWEEP_REPORT_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "model/sweep.h"
#include "report/report.h"

struct sweep_report_opts {
	struct report_opts screen;
	size_t top; /* rows to show, 0 = all */
	bool brief; /* a table may be one line when nothing grows */
};

/* Writes a sweep. Returns 0 or a negative errno, as report_fn. */
typedef int (*sweep_report_fn)(const struct sweep *sweep, const struct sweep_report_opts *opts,
			       FILE *out);

int report_sweep_table(const struct sweep *sweep, const struct sweep_report_opts *opts, FILE *out);

/*
 * One object, in the style of the other reports: "leaksweep", "mode" ("sweep"), "started_at",
 * "duration_ns", "interval" (0 = final), "host", "notes" (why no code is looked at), and
 *   "event": null, or "oom": told between reports, for what was killed; its "interval" is 0
 *   "memory": {"total_bytes", "available_bytes"} of the host
 *   "watched": {"processes", "cgroups", "left_out"}, the last for want of room in the tool's list
 *   "overhead": {"tool_cpu_percent", "tool_bytes", "budget_percent", "spent_percent"}: the last
 *     two of each CPU, what looking at code may take, and took in the last minute with all that
 *     the tool does itself; null = no code is looked at
 *   "states": processes by state: {"too_early", "flat", "warming_up", "growing", "shrinking"}
 *   "suppressed": {"rows" (of "growing"), "stacks" (of those that are left)}: counted, not told
 *   "growing_total": rows there are, "growing": the first --top of them, the fastest first:
 *     "pid" (null = a control group that grows by more than its processes tell), "start_ns",
 *     "comm", "cgroup", "title", "runtime", "service" (title and runtime are a unit's or a
 *     container's), "restarts" of the service since the sweep began, "anon_bytes" (swap included),
 *     "shmem": null (a process), or {"bytes", "bytes_per_hour" (0 = they do not grow)} of the
 *       group's shared memory and files of tmpfs,
 *     "growth": {"bytes_per_hour", "lower", "upper" (95 % bounds), "seen_ns" (the time it is of)}
 *       of "anon_bytes", of a group with "shmem",
 *     "limit": {"cgroup" (null = the host's memory), "bytes", "room_bytes" (page cache and swap
 *       that may be used counted as room), "bytes_per_hour" (of all rows that share it: a group's
 *       counts in the place of those below it), "seconds" (until it is used up at that rate; null
 *       = not within 100 years)},
 *     "known": null or what was told of the code of the service's process before this one, as long
 *       as nothing of its own is known to grow: {"pid", "start_ns" (whose it was), "ago_ns" (since
 *       that was told last, or that process ended), "code" (as the next, with frames only of the
 *       first 8 sites that grow and of the first 8 touches)},
 *     "code": null (a group, or nobody looks), or which code keeps its memory:
 *       "look": "waits" (others come first), "windows" (now and then), "exact" (all the time),
 *       "refused", "off" (no budget); "obstacle" (why, or what is not seen; "" = nothing),
 *       "watched_ns" (since it was looked at first), "traced_ns" (of that), "windows",
 *       "lost_percent" (of one CPU, taken by that), "untold_bytes" (allocated at stacks that there
 *       was no room for),
 *       "suppressed": {"stacks", "bytes_per_hour", "upper"}: growing ones that are left out below,
 *       and what they keep, at most; --fail-over leaves it out, too,
 *       "ledger": null or what its anonymous memory is made of: {"ago_ns" (0 = when the rest was
 *       told, else it could not be read again), "anon_bytes", "parts" (by name, they add up to it),
 *       "largest_free_bytes" and "free_count" (chunks in malloc's heaps); of
 *       no part, and of a group added up over processes that may share them: "huge_bytes",
 *       "file_bytes", "shared_bytes", "swapped_bytes"; "allocator" (whose memory is in "mapped",
 *       null = not known), "unread_pools" (a Python's are in "mapped")},
 *       "cause": null or what most of its growth is, or live of it: {"name": "live" (blocks,
 *       mappings), "mapped" (with what its allocator keeps free there), "retained" (free in whole
 *       pages), "fragmented" (free between blocks), "huge_pages", "stacks", "files" (written
 *       pages), "unexplained" (or swapped out); "bytes", "seen_ns" (the time it grew in)},
 *       "sites": all its stacks, growing ones first: {"verdict" ("growing", "bounded": a cache that
 *       turned over, "startup", "churn", "unknown"), "doubt" (why unknown: "too_few", "too_young",
 *       "mixed", "resized", "process": the process grows less, "minor": far more; else null),
 *       "layer", "rate" (null unless growing: {"bytes_per_hour", "lower", "upper"}), "confidence"
 *       (that it is growing, 0 to 0.999), "evidence" (as in model/cohort.h; of "contents" those in
 *       model/imprint.h), "frames" (leaf first, as in other reports)},
 *       "grown_bytes" (since it was looked at first; 0 = not watched for this) and "touches": where
 *       that was first touched, which need not be who keeps it: {"kind" ("user", "kernel" for the
 *       program, "populate"), "bytes" and "error_bytes" (one standard error), "samples", "frames"}
 *   "oom": a list of what the kernel's OOM killer did and was not told yet: {"at" (when that was
 *     noticed), "kills", "cgroup" (of those that were killed, null = not known), "title", "limit":
 *     {"cgroup" (null = the host's memory), "bytes", "certain" (that it was this one that was
 *     reached)}, "processes" and "anon_bytes" of all that share it, those that are gone by then
 *     included, "shmem_bytes" (shared memory and files of tmpfs of the groups that share it),
 *     "list" of the first 64 of them that are not suppressed, those that were killed first, then
 *     by their memory: {"pid", "start_ns", "comm", "cgroup", "title", "restarts", "fate" ("killed",
 *     "gone", "there"), "anon_bytes" (when it was last looked at), "state" (as of "states"),
 *     "growth" (as above, null unless it grew), "known" (as above, of its own code or, if "pid"
 *     says so, of the one before it)}}
 */
int report_sweep_json(const struct sweep *sweep, const struct sweep_report_opts *opts, FILE *out);

/* Returns the renderer of a --format name, or NULL. */
sweep_report_fn sweep_report__by_name(const char *name);

#define SWEEP_REPORT_NAMES "table, json"

#endif
