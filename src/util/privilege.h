/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tool may, and gives up when it does not need it. */
#ifndef LEAKSWEEP_UTIL_PRIVILEGE_H
#define LEAKSWEEP_UTIL_PRIVILEGE_H

#include <stdbool.h>

/*
 * Whether perf events are for CAP_SYS_ADMIN only, and CAP_PERFMON is not enough: so it is on
 * kernels of Debian and Ubuntu while kernel.perf_event_paranoid is over 2, a level that only they
 * have.
 */
bool perf_wants_sys_admin(void);

/* Whether tracefs has to be mounted for the tool alone, which CAP_SYS_ADMIN does. */
bool tracefs_wants_sys_admin(void);

/* Gives up a capability (linux/capability.h) of the calling thread. Returns 0 or a negative errno.
 */
int capability__drop(int capability);

#endif
