/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that was refused, and processes that the kernel killed for theirs: told when it happens,
 * and kept for the report with the limit that was behind it. The stacks and counts are in the map
 * `failures`; what is here is what only that moment could tell.
 */
#ifndef LEAKSWEEP_ENGINE_FAILURES_H
#define LEAKSWEEP_ENGINE_FAILURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collect/failures.h"
#include "collect/space_table.h"
#include "include/events.h"
#include "model/snapshot.h"

struct failures;

/* NULL: no memory. */
struct failures *failures__new(void);
void failures__free(struct failures *failures);

/*
 * Takes EV_FAILURE and EV_OOM_KILL; other events are none of its business. To be called at once, as
 * long as /proc shows the process as it was. `table` is borrowed for the call. Returns 0 or
 * -ENOMEM.
 */
int failures__apply(struct failures *failures, const struct event *event,
		    const struct space_table *table);

/*
 * Returns the next line to print, owned, without newline and safe for a terminal; NULL = nothing
 * now (or no memory). To be called until then after every batch of events, and when the time of
 * failures__wait_ms is over: a refusal's line waits some milliseconds for the MemoryError that it
 * leads to, which is then the only one. At most 10 lines a second, none twice, then one that counts
 * the rest. `now_ns`: CLOCK_MONOTONIC; UINT64_MAX at the end, when nothing waits any more.
 */
char *failures__next_line(struct failures *failures, uint64_t now_ns);

/* Returns when failures__next_line should be asked again if nothing else happens: a timeout as
 * epoll_wait takes it, -1 = no need. */
int failures__wait_ms(const struct failures *failures, uint64_t now_ns);

/*
 * Whether a process has been chosen by the OOM killer since this was true the last time: what it
 * holds is worth a report now. At most once a second; a later call tells of what came meanwhile.
 */
bool failures__wants_report(struct failures *failures, uint64_t now_ns);

/* Whether the kernel has told that it kills this process. */
bool failures__was_killed(const struct failures *failures, pid_t pid, uint64_t start_ns);

/*
 * Returns what the collector is to be given (collect_opts.failure_limits), borrowed until the next
 * call here. What belongs to spaces that are not in `table` any more is forgotten.
 */
const struct failure_limit *failures__limits(struct failures *failures,
					     const struct space_table *table, size_t *ret_cnt);

/*
 * Adds the kills to a snapshot, after the collector has filled it, in the order of their time among
 * its other failures. A process that is not in it any more is added. Returns 0 or -ENOMEM.
 */
int failures__tell(const struct failures *failures, struct snapshot *snap);

#endif
