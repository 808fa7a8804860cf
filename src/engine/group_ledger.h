/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the memory of a control group is made of: the ledgers of its processes, added up. */
#ifndef LEAKSWEEP_ENGINE_GROUP_LEDGER_H
#define LEAKSWEEP_ENGINE_GROUP_LEDGER_H

#include <stdint.h>

#include "engine/watch.h"
#include "model/ledger.h"

/*
 * Reads the watched processes of the group and of all below it, the largest first, until
 * `deadline_ns` (CLOCK_MONOTONIC). Pages that processes share since a fork are divided among them.
 * What others have is not explained, as far as all is no more than `most_bytes`, which the group
 * has. Returns 0 with *ret filled, not known when there is no process, or -ENOMEM.
 */
int group_ledger__read(const struct watch *watch, const char *cgroup, uint64_t most_bytes,
		       uint64_t deadline_ns, struct ledger *ret);

#endif
