/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for children that may not end: who hangs in a file system does not hear signals. */
#ifndef LEAKSWEEP_UTIL_CHILD_H
#define LEAKSWEEP_UTIL_CHILD_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Waits for the end of a child until `until_ns` (CLOCK_MONOTONIC); 0 = only looks. Returns 0 with
 * its status as waitpid(2) tells it, -ETIMEDOUT (it runs) or another negative errno.
 */
int child__wait(pid_t pid, uint64_t until_ns, int *ret_status);

#endif
