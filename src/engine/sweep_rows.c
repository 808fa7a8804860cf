/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what a watch knows to the rows of a report. */
#include <errno.h>
#include <unistd.h>

#include "engine/sweep.h"
#include "util/clock.h"

/*
 * The kernel counts pages per CPU and adds a batch of them up at a time (percpu_counter, lib/): one
 * thread's memory is seen in steps of one batch, that of threads on several CPUs in several.
 */
#define LEAST_BATCH_PAGES 32
#define BATCHES 2

/* A group is told when its processes explain less than this part of its growth. */
#define EXPLAINED 0.5

static uint64_t noise_bytes(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF), page = sysconf(_SC_PAGESIZE);
	long batch = 2 * cpus > LEAST_BATCH_PAGES ? 2 * cpus : LEAST_BATCH_PAGES;

	return (uint64_t)(BATCHES * batch * page);
}

struct build {
	struct watch *watch;
	struct sweep *sweep;
	uint64_t noise_bytes;
	int err;
};

/* The nearest of all limits: the groups' above it, and what the host has left. */
static int add_limit(const struct build *build, const struct watch_group *group,
		     struct sweep_row *row)
{
	struct cgroup_memory memory;
	int err = -ENOENT;

	row->limit_bytes = build->sweep->ram_bytes;
	row->room_bytes = build->sweep->available_bytes;
	if (group)
		err = watch_group__limit(&build->watch->groups, group, &memory);
	if (!err && cgroup_memory__room(&memory) < row->room_bytes) {
		row->limit_bytes = memory.limit;
		row->room_bytes = cgroup_memory__room(&memory);
		row->limit_cgroup = memory.path;
	} else if (!err) {
		cgroup_memory__free(&memory);
	}
	row->seconds_to_limit = growth__seconds_to(row->room_bytes, row->growth.bytes_per_hour);
	return err == -ENOMEM ? err : 0;
}

static int add_row(const struct build *build, struct watch_group *group, struct sweep_row *row)
{
	const struct cgroup_name *name = NULL;
	int err;

	if (group) {
		name = watch_group__name(&build->watch->groups, group);
		if (!name)
			return -ENOMEM;
		row->cgroup = group->path;
		row->title = name->title;
		row->runtime = (char *)cgroup_runtime__name(name->runtime);
		row->is_service = cgroup_name__is_service(name);
	}
	err = add_limit(build, group, row);
	if (!err)
		err = sweep__add(build->sweep, row);
	free(row->limit_cgroup);
	return err;
}

static int add_process(struct build *build, struct watched *item)
{
	struct sweep_row row = {.pid = item->pid, .start_ns = item->start_ns, .comm = item->comm};
	int err;

	growth__judge(item->growth, build->noise_bytes, &row.growth);
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
	group->told_per_hour = 0;
}

static void add_group(struct watch_group *group, void *target)
{
	struct build *build = target;
	struct sweep_row row = {.anon_bytes = group->anon_bytes};

	if (build->err || group->fd < 0)
		return;
	growth__judge(&group->growth, build->noise_bytes, &row.growth);
	if (row.growth.state == GROWTH_GROWING &&
	    group->told_per_hour < EXPLAINED * row.growth.lower)
		build->err = add_row(build, group, &row);
}

int sweep__of_watch(struct watch *watch, struct sweep **ret)
{
	struct build build = {.watch = watch, .noise_bytes = noise_bytes()};
	struct host_memory host;

	build.err = host_memory__read(&host);
	if (build.err)
		return build.err;
	build.sweep = sweep__new();
	if (!build.sweep)
		return -ENOMEM;
	build.sweep->ram_bytes = host.ram;
	build.sweep->available_bytes = host.available;
	build.sweep->groups = watch->groups.cnt;
	build.sweep->left_out = watch->left_out;
	watch_groups__each(&watch->groups, forget_told, NULL);
	for (size_t i = 0; i < watch->items.cnt && !build.err; i++)
		if (watch->items.items[i].growth)
			build.err = add_process(&build, &watch->items.items[i]);
	watch_groups__each(&watch->groups, add_group, &build);
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

	*ret = (struct suspicion){.pid = item->pid, .start_ns = item->start_ns, .growth_high = -1};
	growth__judge(item->growth, noise_bytes(), &verdict);
	switch (verdict.state) {
	case GROWTH_GROWING:
		ret->growth_per_hour = verdict.bytes_per_hour;
		ret->growth_high = verdict.upper;
		return true;
	case GROWTH_TOO_EARLY:
	case GROWTH_WARMING:
		gained = growth__gained(item->growth, &ns);
		/* A compiler has come and gone by then. */
		if (gained < NOISE_CNT * noise_bytes() || ns < SETTLED_NS)
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

size_t sweep__suspicions(const struct watch *watch, struct suspicion *ret, size_t max)
{
	struct suspicion suspicion;
	size_t cnt = 0, at;

	for (size_t i = 0; i < watch->items.cnt; i++) {
		if (!watch->items.items[i].growth ||
		    !is_suspicious(&watch->items.items[i], &suspicion))
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
