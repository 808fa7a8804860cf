/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control groups of the traced processes, over a run: their names, looked up once, their memory
 * at the first sight of each, from which growth is told, and what they were refused in the tables.
 */
#ifndef LEAKSWEEP_ENGINE_GROUPS_H
#define LEAKSWEEP_ENGINE_GROUPS_H

#include <stdint.h>

#include "include/maps.h"
#include "model/snapshot.h"

struct groups;

/* Returns the groups of this host, or NULL (no memory). Without mounted hierarchies groups have
 * names, but no figures. */
struct groups *groups__new(void);
void groups__free(struct groups *groups);

/*
 * The same for hierarchies mounted elsewhere: v2's, and v1's of the memory controller; either may
 * be NULL. Names are looked up below `root`. All is copied.
 */
struct groups *groups__new_at(const char *unified, const char *memory, const char *root);

/*
 * Takes the first sample of a process's group (as proc_cgroup; "" = none, which is ignored) unless
 * it is known. `now_ns` is CLOCK_MONOTONIC. Returns 0 or -ENOMEM.
 */
int groups__note(struct groups *groups, const char *cgroup, uint64_t now_ns);

/*
 * Adds the group of each process to the snapshot, and says of each process which one it is in.
 * `tables` may be NULL: nothing was refused. Groups that no process of the snapshot is in any more
 * are forgotten once their directory has gone. Returns 0 or -ENOMEM.
 */
int groups__add(struct groups *groups, struct snapshot *snap, const struct tables *tables,
		uint64_t now_ns);

#endif
