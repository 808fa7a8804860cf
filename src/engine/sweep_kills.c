/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what a watch and the suspects know to what is told when the kernel has killed. */
#include <errno.h>
#include <string.h>

#include "engine/sweep.h"
#include "util/clock.h"

/* What was last seen is seconds old. Who had so much of a limit has reached it since; who had less
 * than the other was far below it. */
#define NEAR 0.9
#define FAR 0.5

struct killing {
	struct watch *watch;
	const struct watch_kill *kill;
	const struct suspects *suspects;
	struct sweep_oom *oom;
};

static bool shares_limit(const struct sweep_oom *oom, const struct watch_group *group)
{
	return sweep_limit__has(oom->limit_cgroup, group ? group->path : "");
}

static int add(struct killing *killing, struct watch_group *group, struct sweep_row *row,
	       enum oom_fate fate)
{
	int err = sweep__name_group(killing->watch, group, row);

	if (err)
		return err;
	if (suspects__was_killed(killing->suspects, row->pid, row->start_ns))
		fate = OOM_KILLED;
	return sweep_oom__add(killing->oom, row, fate);
}

static int add_living(struct killing *killing, struct watched *item)
{
	struct sweep_row row = {
		.pid = item->pid,
		.start_ns = item->start_ns,
		.comm = item->comm,
		.first_pid = item->first.pid,
		.first_start_ns = item->first.start_ns,
		.anon_bytes = item->anon_bytes,
	};

	/* One that was found only then has most likely come after the kill. */
	if (!item->growth || item->found_ns >= killing->kill->time_ns ||
	    !shares_limit(killing->oom, item->group))
		return 0;
	row.restarts = item->growth->restarts;
	life__judge(item->life, item->growth, watch__noise_bytes(), &row.growth);
	return add(killing, item->group, &row, OOM_THERE);
}

static int add_gone(struct killing *killing, const struct watch_gone *gone)
{
	bool was_killed = watch_kills__was_killed(killing->watch, gone);
	struct sweep_row row = {
		.pid = gone->pid,
		.start_ns = gone->start_ns,
		.comm = (char *)gone->comm,
		.first_pid = gone->first.pid,
		.first_start_ns = gone->first.start_ns,
		.restarts = gone->restarts,
		.anon_bytes = gone->anon_bytes,
		.growth = gone->growth,
	};

	if (!shares_limit(killing->oom, gone->group) || !watch_kill__has_met(killing->kill, gone))
		return 0;
	return add(killing, gone->group, &row, was_killed ? OOM_KILLED : OOM_GONE);
}

static int add_processes(struct killing *killing)
{
	const struct watch_kills *kills = &killing->watch->kills;
	int err = 0;

	for (size_t i = 0; i < kills->gone.cnt && !err; i++)
		err = add_gone(killing, &kills->gone.items[i]);
	for (size_t i = 0; i < killing->watch->items.cnt && !err; i++)
		err = add_living(killing, &killing->watch->items.items[i]);
	return err;
}

/* A group that is watched counts for all below it. */
static void add_shmem(struct watch_group *group, void *target)
{
	struct killing *killing = target;
	const struct watch_group *above = watch_groups__above(&killing->watch->groups, group);

	if (shares_limit(killing->oom, group) &&
	    !(above && above->sample_cnt && shares_limit(killing->oom, above)))
		sweep_oom__add_shmem(killing->oom, watch_group__recent_shmem(group));
}

struct limit {
	const char *cgroup; /* NULL = the host */
	uint64_t bytes;
	bool is_doubtful;
};

static struct sweep_oom *begin(struct watch *watch, const struct watch_kill *kill,
			       const struct limit *limit)
{
	const struct cgroup_name *name = NULL;
	struct host_memory host = {0};
	struct sweep_oom *oom;

	if (kill->group)
		name = watch_group__name(&watch->groups, kill->group);
	oom = sweep_oom__new(kill->group ? kill->group->path : NULL, name ? name->title : NULL,
			     limit->cgroup);
	if (!oom)
		return NULL;
	oom->time_ns = clock_ns(CLOCK_REALTIME);
	oom->kills = kill->cnt;
	oom->is_limit_doubtful = limit->is_doubtful;
	if (limit->cgroup)
		oom->limit_bytes = limit->bytes;
	else if (!host_memory__read(&host))
		oom->limit_bytes = host.ram + host.swap;
	return oom;
}

static int build(struct killing *killing, const struct limit *limit)
{
	int err;

	killing->oom = begin(killing->watch, killing->kill, limit);
	if (!killing->oom)
		return -ENOMEM;
	watch_groups__each(&killing->watch->groups, add_shmem, killing);
	err = add_processes(killing);
	if (!err)
		return 0;
	sweep_oom__free(killing->oom);
	killing->oom = NULL;
	return err;
}

static bool is_part(uint64_t bytes, double part, uint64_t whole)
{
	return (double)bytes >= part * (double)whole;
}

/* What a group's limit says of a kill that no counter tells about. */
static enum oom_limit guess_by(const struct killing *killing, const struct cgroup_memory *memory)
{
	uint64_t cache = memory->reclaimable < memory->usage ? memory->reclaimable : memory->usage,
		 used = memory->usage - cache;
	struct cgroup_memory now;

	if (sweep_oom__bytes(killing->oom) > used)
		used = sweep_oom__bytes(killing->oom);
	if (is_part(used, NEAR, memory->limit))
		return OOM_LIMIT_GROUP;
	if (!watch_group__limit(&killing->watch->groups, killing->kill->group, 0, &now)) {
		uint64_t peak = strcmp(now.path, memory->path) ? 0 : now.peak;

		cgroup_memory__free(&now);
		if (peak)
			return is_part(peak, NEAR, memory->limit) ? OOM_LIMIT_LIKELY
								  : OOM_LIMIT_HOST;
	}
	return is_part(used, FAR, memory->limit) ? OOM_LIMIT_LIKELY : OOM_LIMIT_UNKNOWN;
}

/* It is the nearest limit that was known of the group, which may have gone with its last process,
 * unless it was far below that. */
static int guess(struct killing *killing)
{
	const struct watch_group *group = killing->kill->group;
	struct limit limit = {.is_doubtful = !group};
	enum oom_limit guessed;
	int err;

	if (!group || !group->limit.path)
		return build(killing, &limit);
	limit = (struct limit){.cgroup = group->limit.path, .bytes = group->limit.limit};
	err = build(killing, &limit);
	if (err)
		return err;
	guessed = guess_by(killing, &group->limit);
	killing->oom->is_limit_doubtful = guessed == OOM_LIMIT_LIKELY;
	if (guessed == OOM_LIMIT_GROUP || guessed == OOM_LIMIT_LIKELY)
		return 0;
	sweep_oom__free(killing->oom);
	limit = (struct limit){.is_doubtful = guessed == OOM_LIMIT_UNKNOWN};
	return build(killing, &limit);
}

static int find_limit(struct killing *killing)
{
	const struct watch_kill *kill = killing->kill;
	const struct limit limit = {.cgroup = kill->limit_path, .bytes = kill->limit_bytes};
	int err;

	if (kill->limit == OOM_LIMIT_UNKNOWN)
		return guess(killing);
	err = build(killing, &limit);
	if (!err && kill->limit == OOM_LIMIT_LIKELY)
		killing->oom->is_limit_doubtful =
			!is_part(sweep_oom__bytes(killing->oom), NEAR, kill->limit_bytes);
	return err;
}

int sweep__oom_of_watch(struct watch *watch, const struct watch_kill *kill,
			struct suspects *suspects, uint64_t now_ns, struct sweep_oom **ret)
{
	struct killing killing = {.watch = watch, .kill = kill, .suspects = suspects};
	int err = find_limit(&killing);

	if (err)
		return err;
	for (size_t i = 0; i < killing.oom->list.cnt && !err; i++)
		err = suspects__tell_row(suspects, &killing.oom->list.items[i].row, now_ns);
	if (err)
		sweep_oom__free(killing.oom);
	else
		*ret = killing.oom;
	return err;
}
