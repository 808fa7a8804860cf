/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control groups as reports show them: by which name processes are summed up, what the kernel
 * counts for all groups of one name, where they take memory, and when they reach their limit. Pure.
 */
#ifndef LEAKSWEEP_MODEL_GROUP_H
#define LEAKSWEEP_MODEL_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "model/profile.h"
#include "model/snapshot.h"

/* Bytes a minute below which growth is noise: caches of the kernel's own counters, timers. */
#define GROUP_LEAST_GROWTH 65536

/* Whether a grouping is one by control groups: cgroup, container or service. */
bool group__is_cgroups(enum profile_group group);

/* By what a process goes under such a grouping. */
struct group_name {
	enum group_name_kind { NAME_CGROUP = 1, NAME_CONTAINER = 2, NAME_SERVICE = 3 } kind;
	const char *text; /* borrowed from the snapshot: path, container's id, or unit */
};

/* Returns the name of a process (index) under a grouping that group__is_cgroups. */
struct group_name group__name(const struct snapshot *snap, uint32_t proc, enum profile_group group);

uint64_t group_name__hash(struct group_name name);
bool group_name__same(struct group_name a, struct group_name b);

/* Returns what people call it: the container's title, the unit, or the path, "[no cgroup]" when
 * there is none. Borrowed from the snapshot. */
const char *group__title(const struct snapshot *snap, uint32_t proc, enum profile_group group);

/*
 * Sums up all groups that go by the same name as the process. Groups below another of these are in
 * its numbers already, and groups that share their losses have them once; of usage and limit, the
 * group with the least room counts. Text is borrowed
 * from the first one. Returns how many there are; *ret is untouched when there is none.
 */
uint32_t group__sum(const struct snapshot *snap, uint32_t proc, enum profile_group group,
		    struct snap_group *ret);

/* Returns what counts against a group's limit: its usage without what the kernel can take back. */
uint64_t snap_group__used_bytes(const struct snap_group *group);

/* Whether the group was refused anything for it had its share of the tables. */
bool snap_group__has_losses(const struct snap_group *group);

/* Whether the group's memory grows by more than noise. */
bool snap_group__is_growing(const struct snap_group *group);

/*
 * Tells in how many seconds a group that goes on growing reaches its limit, 0 when it has: page
 * cache counts as room, and the growth is of all that share the limit. Returns false when it does
 * not grow, has no limit, all that share it do not grow, or would take more than a hundred years.
 */
bool snap_group__seconds_to_limit(const struct snap_group *group, uint64_t *ret);

/* Which call of a group holds most: the first that is shown of its stacks. */
struct group_top {
	const struct snap_row *row; /* the biggest of its rows; NULL = nothing is live */
	int64_t live_bytes;	    /* of all stacks of the group that it is the first call of */
};

/*
 * Finds that call for each row of a profile that is grouped by control groups. *ret is owned, one a
 * row. Returns 0 or -ENOMEM.
 */
int group__tops(const struct profile *profile, struct group_top **ret);

#endif
