/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/shares.h"

#define LEAST_TAKEN (MAX_GROUPS / 4 * 3)

void shares__see(struct shares_seen *seen, const struct space *space)
{
	if (space->group)
		seen->groups[(space->group - 1) & (MAX_GROUPS - 1)] = true;
}

/* The tables' sums have whole units only; what a group has beyond goes to number 0. */
static void hand_over(struct tables *tables, struct group *group)
{
	struct group *rest = &tables->groups[0];

	for (int i = 0; i < TABLE_CNT; i++) {
		uint64_t part = __sync_lock_test_and_set(&group->used[i], 0) & (tables->unit - 1);
		uint64_t before = __sync_fetch_and_add(&rest->used[i], part);

		if ((before & (tables->unit - 1)) + part >= tables->unit)
			__sync_fetch_and_add(&tables->used[i], tables->unit);
		__sync_lock_test_and_set(&group->refused[i], 0);
	}
	__sync_lock_test_and_set(&group->refused_bytes, 0);
}

/*
 * A task of the group may ask for its place at this moment, and then share it with the next group:
 * a share that is too small for once, nothing else.
 */
uint32_t shares__recycle(struct tables *tables, const struct shares_seen *seen)
{
	uint32_t taken = 0, freed = 0;

	for (uint32_t i = 1; i < MAX_GROUPS; i++)
		taken += tables->groups[i].cgroup != 0;
	for (uint32_t i = 1; taken >= LEAST_TAKEN && i < MAX_GROUPS; i++) {
		if (!tables->groups[i].cgroup || seen->groups[i])
			continue;
		hand_over(tables, &tables->groups[i]);
		__sync_lock_test_and_set(&tables->groups[i].cgroup, 0);
		freed++;
	}
	return freed;
}
