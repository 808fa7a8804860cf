/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_TESTS_CONTAINER_INTERNAL_H
#define LEAKSWEEP_TESTS_CONTAINER_INTERNAL_H

#include "lib/container.h"

/* ---- container_cgroup.c */

/* Makes the cgroup `name` below the test's, with a limit unless it is 0. */
void group__make(const char *name, uint64_t memory_bytes);

/* Moves the calling process into it. For a new process: fails without a word. */
bool group__enter(const char *name);

/* The cgroup's path in its hierarchy, owned by the caller. */
char *group__path(const char *name);

/* Removes all cgroups that the test has made, in every hierarchy. */
void group__remove_all(void);

/* ---- container_root.c */

/*
 * Mounts the userland's root on a tmpfs at `stage` and moves into it. For the new container's first
 * process: false = errno says why.
 */
bool root__enter(const char *stage, enum userland userland);

/* Puts the files into it that are not the host's. For the test's process. */
void root__fill(const struct container *container, const struct container_opts *opts);

/* ---- container_runc.c */

/* Deletes the containers that runc still knows. */
void runc__remove_all(void);

#endif
