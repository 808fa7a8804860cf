/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Children that do one job, and may not end: who hangs in a file system does not hear signals. */
#ifndef LEAKSWEEP_UTIL_CHILD_H
#define LEAKSWEEP_UTIL_CHILD_H

#include <stdint.h>
#include <sys/types.h>

/* Forks. In the child all signals are blocked, as no handler of the parent's may run there. Returns
 * as fork(2), but a negative errno. */
pid_t child__fork(void);

/*
 * Waits for the end of a child until `until_ns` (CLOCK_MONOTONIC); 0 = only looks. Returns 0 with
 * its status as waitpid(2) tells it, -ETIMEDOUT (it runs) or another negative errno.
 */
int child__wait(pid_t pid, uint64_t until_ns, int *ret_status);

/*
 * Leaves a child that does not end to itself: it is waited for once it has ended, by the next calls
 * of either function. Of more than a few dozen at once some stay zombies.
 */
void child__leave(pid_t pid);
void child__reap_left(void);

/* For use in the child: when memory gets short on the host, it goes first. Opens a file. */
void child__offer_to_oom_killer(void);

#endif
