/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which control group a process belongs to, and its share of the tables (include/maps.h). */
#ifndef LEAKSWEEP_SHARE_BPF_H
#define LEAKSWEEP_SHARE_BPF_H

#include "maps.bpf.h"

#define MAX_GROUP_TRIES 16

static __always_inline struct group *group_at(__u32 group)
{
	return &tables.groups[group & (MAX_GROUPS - 1)];
}

/* Whether the group may have one more entry. Signed: an entry that is given back twice, as two
 * sides that delete it at once may do, must not look like a full table. */
static __always_inline bool has_room(__u32 group, enum table table)
{
	__s64 capacity = tables.capacity[table], used = tables.used[table],
	      own = group_at(group)->used[table];

	if (!tables.are_shared)
		return true;
	return used < capacity && own < TABLE_SHARE * (capacity - used);
}

static __always_inline void room_taken(__u32 group, enum table table)
{
	__u64 unit = tables.unit, used = __sync_fetch_and_add(&group_at(group)->used[table], 1);

	if (!((used + 1) & (unit - 1)))
		__sync_fetch_and_add(&tables.used[table], unit);
}

static __always_inline void room_refused(__u32 group, enum table table)
{
	__sync_fetch_and_add(&group_at(group)->refused[table], 1);
}

static __always_inline __u64 cgroup_of(struct task_struct *task)
{
	struct cgroup_subsys_state *css;
	struct css_set *set;
	__u32 memory;

	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return 0;
	memory = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	set = BPF_CORE_READ(task, cgroups);
	if (bpf_probe_read_kernel(&css, sizeof(css),
				  (void *)set + bpf_core_field_offset(struct css_set, subsys) +
					  memory * sizeof(css)))
		return 0;
	return BPF_CORE_READ(css, cgroup, kn, id);
}

/* Returns the number of the task's group, made on first sight; 0 = one of those that share. */
static __noinline __u32 group_of(struct task_struct *task)
{
	__u64 cgroup = cgroup_of(task), found;
	__u32 group = cgroup * 0x9e3779b1 >> 8;

	for (int i = 0; i < MAX_GROUP_TRIES && cgroup; i++, group++) {
		group &= MAX_GROUPS - 1;
		if (!group)
			continue;
		found = __sync_val_compare_and_swap(&group_at(group)->cgroup, 0, cgroup);
		if (!found || found == cgroup)
			return group;
	}
	return 0;
}

/* The group of a space, told by the first task that runs in it, for good: what the space has in the
 * tables is given back to the group that it was taken from. */
static __always_inline __u32 space_group(__u32 id, struct task_struct *task)
{
	struct space *space = bpf_map_lookup_elem(&spaces, &id);

	if (!space)
		return 0;
	if (!space->group)
		__sync_val_compare_and_swap(&space->group, 0, group_of(task) + 1);
	return space->group - 1;
}

#endif
