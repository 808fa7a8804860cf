/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what a watch and the suspects know to what is told when the kernel has killed. */
#include <errno.h>
#include <string.h>

#include "engine/sweep.h"
#include "util/clock.h"

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

/* The limit is the nearest one that was known of the group: it may be gone, and has room again. */
static struct sweep_oom *begin(struct watch *watch, const struct watch_kill *kill)
{
	const struct cgroup_name *name = NULL;
	struct host_memory host = {0};
	struct sweep_oom *oom;

	if (kill->group)
		name = watch_group__name(&watch->groups, kill->group);
	oom = sweep_oom__new(kill->group ? kill->group->path : NULL, name ? name->title : NULL,
			     kill->group ? kill->group->limit.path : NULL);
	if (!oom)
		return NULL;
	oom->time_ns = clock_ns(CLOCK_REALTIME);
	oom->kills = kill->cnt;
	if (*oom->limit_cgroup)
		oom->limit_bytes = kill->group->limit.limit;
	else if (!host_memory__read(&host))
		oom->limit_bytes = host.ram + host.swap;
	return oom;
}

int sweep__oom_of_watch(struct watch *watch, const struct watch_kill *kill,
			struct suspects *suspects, uint64_t now_ns, struct sweep_oom **ret)
{
	struct killing killing = {
		.watch = watch,
		.kill = kill,
		.suspects = suspects,
		.oom = begin(watch, kill),
	};
	int err;

	if (!killing.oom)
		return -ENOMEM;
	err = add_processes(&killing);
	for (size_t i = 0; i < killing.oom->list.cnt && !err; i++)
		err = suspects__tell_row(suspects, &killing.oom->list.items[i].row, now_ns);
	if (err)
		sweep_oom__free(killing.oom);
	else
		*ret = killing.oom;
	return err;
}
