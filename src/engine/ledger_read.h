/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger of a process that runs: its mappings as resident_read.h tells them apart, and glibc's
 * heaps gone over. The process is neither stopped nor changed.
 */
#ifndef LEAKSWEEP_ENGINE_LEDGER_READ_H
#define LEAKSWEEP_ENGINE_LEDGER_READ_H

#include <stdint.h>
#include <sys/types.h>

#include "model/ledger.h"
#include "python/pools.h"

/*
 * Reads until `deadline_ns` (CLOCK_MONOTONIC) at most: what was not reached is told as not read or
 * not explained. `scan` is of the process's Python pools just before, NULL = none: without it they
 * are LEDGER_MAPPED, and the ledger of what seems to be a Python says so. Returns 0, -ETIME
 * (nothing was reached), -ESRCH, -EPERM, -ENOMEM or another negative errno; *ret is untouched then.
 */
int ledger__read(pid_t pid, const struct pool_scan *scan, uint64_t deadline_ns, struct ledger *ret);

#endif
