/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what a watch knows to the rows of a report. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/group_ledger.h"
#include "engine/sweep.h"
#include "util/clock.h"

/* A group is told when its processes explain less than this part of its growth. */
#define EXPLAINED 0.5

#define GROUP_LEDGERS_NS (100 * NS_PER_MS) /* of all groups of a report */

struct build {
	struct watch *watch;
	struct sweep *sweep;
	struct host_memory host;
	uint64_t noise_bytes;
	uint64_t ledgers_until_ns; /* of groups */
	ARRAY(struct watch_group *) groups;
	int err;
};

/* The nearest of all limits: the groups' above it, and what the host has left. Growth includes what
 * is swapped out, so the swap that may still be used is room. */
static int add_limit(const struct build *build, const struct watch_group *group,
		     struct sweep_row *row)
{
	const struct host_memory *host = &build->host;
	struct cgroup_memory memory;
	int err = -ENOENT;

	row->limit_bytes = host->ram + host->swap;
	row->room_bytes = host->available + host->swap_free;
	if (group)
		err = watch_group__limit(&build->watch->groups, group, host->swap_free, &memory);
	if (!err && cgroup_memory__room(&memory) < row->room_bytes) {
		row->limit_bytes = memory.limit + memory.swap + memory.swap_room;
		row->room_bytes = cgroup_memory__room(&memory);
		row->limit_cgroup = memory.path;
	} else if (!err) {
		cgroup_memory__free(&memory);
	}
	return err == -ENOMEM ? err : 0;
}

int sweep__name_group(struct watch *watch, struct watch_group *group, struct sweep_row *row)
{
	const struct cgroup_name *name;

	if (!group)
		return 0;
	name = watch_group__name(&watch->groups, group);
	if (!name)
		return -ENOMEM;
	row->cgroup = group->path;
	row->title = name->title;
	row->runtime = (char *)cgroup_runtime__name(name->runtime);
	row->is_service = cgroup_name__is_service(name);
	return 0;
}

static int add_row(const struct build *build, struct watch_group *group, struct sweep_row *row)
{
	int err = sweep__name_group(build->watch, group, row);

	if (err)
		return err;
	err = add_limit(build, group, row);
	if (!err)
		err = sweep__add(build->sweep, row);
	free(row->limit_cgroup);
	return err;
}

static int add_process(struct build *build, struct watched *item)
{
	struct sweep_row row = {.pid = item->pid,
				.start_ns = item->start_ns,
				.comm = item->comm,
				.first_pid = item->first.pid,
				.first_start_ns = item->first.start_ns};
	int err;

	life__judge(item->life, item->growth, build->noise_bytes, &row.growth);
	if (row.growth.state == GROWTH_GROWING) {
		err = watch__refresh(build->watch, item);
		if (err)
			return err == -ENOMEM ? err : 0;
		if (item->group)
			item->group->told_per_hour += row.growth.bytes_per_hour;
		row.anon_bytes = item->anon_bytes;
		row.restarts = item->growth->restarts;
		err = add_row(build, item->group, &row);
		if (err)
			return err;
	}
	build->sweep->processes++;
	build->sweep->states[row.growth.state]++;
	return 0;
}

static void forget_told(struct watch_group *group, void *target)
{
	(void)target;
	group->told_per_hour = group->told_shmem_per_hour = 0;
}

static void list_group(struct watch_group *group, void *target)
{
	struct build *build = target;

	if (!build->err)
		build->err = array_push(&build->groups, group);
}

/* Whoever is below another group has the longer path. */
static int compare_depths(const void *a, const void *b)
{
	size_t left = strlen((*(struct watch_group *const *)a)->path);
	size_t right = strlen((*(struct watch_group *const *)b)->path);

	return left > right ? -1 : left < right;
}

/* A process of it has just ended, which one slope does not tell: what it has gained is not there.
 */
static bool has_fallen(const struct growth_verdict *growth, uint64_t bytes)
{
	double hours = (double)growth->seen_ns / (3600 * NS_PER_SEC);

	return (double)bytes < growth->lower * hours;
}

/* Whether it grows by more than was told of what is below it. */
static bool is_news(const struct growth_verdict *growth, uint64_t bytes, double told_per_hour)
{
	return growth->state == GROWTH_GROWING && !has_fallen(growth, bytes) &&
	       told_per_hour < EXPLAINED * growth->lower;
}

static int add_group(const struct build *build, struct watch_group *group)
{
	struct sweep_row row = {.anon_bytes = group->anon_bytes, .shmem_bytes = group->shmem_bytes};
	struct growth_verdict shmem;
	bool is_shmem_news;
	int err;

	if (!group->is_read)
		return 0;
	growth__judge(&group->growth, build->noise_bytes, &row.growth);
	growth__judge(&group->shmem_growth, build->noise_bytes, &shmem);
	is_shmem_news = is_news(&shmem, group->shmem_bytes, group->told_shmem_per_hour);
	if (!is_shmem_news &&
	    !is_news(&row.growth, watch_group__bytes(group), group->told_per_hour))
		return 0;
	if (shmem.state == GROWTH_GROWING)
		row.shmem_per_hour = group->told_shmem_per_hour = shmem.bytes_per_hour;
	if (row.growth.state != GROWTH_GROWING) /* its processes go up and down meanwhile */
		row.growth = shmem;
	group->told_per_hour = row.growth.bytes_per_hour;
	err = group_ledger__read(build->watch, group->path, group->anon_bytes,
				 build->ledgers_until_ns, &row.ledger);
	return err ? err : add_row(build, group, &row);
}

/* The deepest ones first: what is told of a group and below it explains the growth of those above.
 */
static int add_groups(struct build *build)
{
	watch_groups__each(&build->watch->groups, list_group, build);
	if (build->groups.cnt)
		qsort(build->groups.items, build->groups.cnt, sizeof(*build->groups.items),
		      compare_depths);
	for (size_t i = 0; i < build->groups.cnt && !build->err; i++) {
		struct watch_group *group = build->groups.items[i], *above;

		build->err = add_group(build, group);
		above = group->told_per_hour > 0 ? watch_groups__above(&build->watch->groups, group)
						 : NULL;
		if (!above)
			continue;
		above->told_per_hour += group->told_per_hour;
		above->told_shmem_per_hour += group->told_shmem_per_hour;
	}
	array_free(&build->groups);
	return build->err;
}

int sweep__of_watch(struct watch *watch, struct sweep **ret)
{
	struct build build = {
		.watch = watch,
		.noise_bytes = watch__noise_bytes(),
		.ledgers_until_ns = clock_ns(CLOCK_MONOTONIC) + GROUP_LEDGERS_NS,
	};

	build.err = host_memory__read(&build.host);
	if (build.err)
		return build.err;
	build.sweep = sweep__new();
	if (!build.sweep)
		return -ENOMEM;
	build.sweep->ram_bytes = build.host.ram;
	build.sweep->available_bytes = build.host.available;
	build.sweep->groups = watch->groups.cnt;
	build.sweep->left_out = watch->left_out;
	watch_groups__each(&watch->groups, forget_told, NULL);
	for (size_t i = 0; i < watch->items.cnt && !build.err; i++)
		if (watch->items.items[i].growth)
			build.err = add_process(&build, &watch->items.items[i]);
	if (!build.err)
		build.err = add_groups(&build);
	if (!build.err)
		build.err = sweep__find_times(build.sweep);
	sweep__sort(build.sweep);
	if (build.err)
		sweep__free(build.sweep);
	else
		*ret = build.sweep;
	return build.err;
}

/* ---- suspicions ---- */

/* What is gained before it is suspected, in bytes that it may be wrong by. */
#define NOISE_CNT 4
#define SETTLED_NS (8 * NS_PER_SEC)

static bool is_suspicious(const struct watched *item, struct suspicion *ret)
{
	struct growth_verdict verdict;
	uint64_t gained, ns;

	*ret = (struct suspicion){
		.pid = item->pid,
		.start_ns = item->start_ns,
		.first_pid = item->first.pid,
		.first_start_ns = item->first.start_ns,
		.growth_high = -1,
		.anon_bytes = item->anon_bytes,
	};
	life__judge(item->life, item->growth, watch__noise_bytes(), &verdict);
	switch (verdict.state) {
	case GROWTH_GROWING:
		ret->growth_per_hour = verdict.bytes_per_hour;
		ret->growth_high = verdict.upper;
		return true;
	case GROWTH_TOO_EARLY:
	case GROWTH_WARMING:
		gained = growth__gained(item->life ? &item->life->own : item->growth, &ns);
		/* A compiler has come and gone by then. */
		if (gained < NOISE_CNT * watch__noise_bytes() || ns < SETTLED_NS)
			return false;
		ret->growth_per_hour = (double)gained / (double)ns * 3600 * NS_PER_SEC;
		return true;
	case GROWTH_FLAT:
	case GROWTH_SHRINKING:
	case GROWTH_STATE_CNT:
		break;
	}
	return false;
}

/* Looking at its code would be for nothing. */
static bool is_suppressed(struct watch *watch, const struct suppressions *suppressions,
			  const struct watched *item)
{
	const struct cgroup_name *name = NULL;

	if (!suppressions->items.cnt)
		return false;
	if (item->group)
		name = watch_group__name(&watch->groups, item->group);
	return suppressions__has(suppressions, item->comm, item->group ? item->group->path : NULL,
				 name && cgroup_name__is_service(name) ? name->title : NULL);
}

size_t sweep__suspicions(struct watch *watch, const struct suppressions *suppressions,
			 struct suspicion *ret, size_t max)
{
	struct suspicion suspicion;
	size_t cnt = 0, at;

	for (size_t i = 0; i < watch->items.cnt; i++) {
		if (!watch->items.items[i].growth ||
		    !is_suspicious(&watch->items.items[i], &suspicion) ||
		    is_suppressed(watch, suppressions, &watch->items.items[i]))
			continue;
		at = cnt < max ? cnt++ : max;
		for (; at && ret[at - 1].growth_per_hour < suspicion.growth_per_hour; at--)
			if (at < max)
				ret[at] = ret[at - 1];
		if (at < max)
			ret[at] = suspicion;
	}
	return cnt;
}
