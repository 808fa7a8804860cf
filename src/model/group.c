/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/hash.h"

#define SECONDS_PER_MINUTE 60
#define MAX_SECONDS (100ULL * 366 * 24 * 3600)

/* ---- names ---- */

bool group__is_cgroups(enum profile_group group)
{
	return group == GROUP_CGROUP || group == GROUP_CONTAINER || group == GROUP_SERVICE;
}

static struct group_name name_of(const struct snap_group *group, enum profile_group by)
{
	const struct group_name container = {NAME_CONTAINER, group->container_id};
	const struct group_name service = {NAME_SERVICE, group->service};

	if (by == GROUP_CONTAINER && *container.text)
		return container;
	if (by != GROUP_CGROUP && *service.text)
		return service;
	if (by != GROUP_CGROUP && *container.text)
		return container;
	return (struct group_name){NAME_CGROUP, group->path};
}

static const struct snap_group *group_of(const struct snapshot *snap, uint32_t proc)
{
	uint32_t group = snap->procs.items[proc].group;

	return group == SNAP_NONE ? NULL : &snap->groups.items[group];
}

struct group_name group__name(const struct snapshot *snap, uint32_t proc, enum profile_group group)
{
	const struct snap_group *known = group_of(snap, proc);

	if (known)
		return name_of(known, group);
	return (struct group_name){NAME_CGROUP, snap->procs.items[proc].cgroup};
}

uint64_t group_name__hash(struct group_name name)
{
	return hash_mix(name.kind, hash_text(name.text));
}

bool group_name__same(struct group_name a, struct group_name b)
{
	return a.kind == b.kind && !strcmp(a.text, b.text);
}

const char *group__title(const struct snapshot *snap, uint32_t proc, enum profile_group group)
{
	struct group_name name = group__name(snap, proc, group);

	if (name.kind == NAME_CONTAINER)
		return group_of(snap, proc)->title;
	return *name.text ? name.text : "[no cgroup]";
}

/* ---- sums ---- */

static bool is_below(const char *path, const char *above)
{
	size_t len = strlen(above);

	while (len && above[len - 1] == '/')
		len--;
	return !strncmp(path, above, len) && path[len] == '/' && path[len + 1];
}

/* Whether another group of the same name has its numbers, too. */
static bool is_counted(const struct snapshot *snap, const struct snap_group *group,
		       enum profile_group by)
{
	struct group_name name = name_of(group, by);

	for (size_t i = 0; i < snap->groups.cnt; i++) {
		const struct snap_group *other = &snap->groups.items[i];

		if (other->is_measured && is_below(group->path, other->path) &&
		    group_name__same(name, name_of(other, by)))
			return true;
	}
	return false;
}

uint64_t snap_group__used_bytes(const struct snap_group *group)
{
	return group->usage_bytes > group->reclaimable_bytes
		       ? group->usage_bytes - group->reclaimable_bytes
		       : 0;
}

static uint64_t room_of(const struct snap_group *group)
{
	uint64_t used = snap_group__used_bytes(group);

	return group->limit_bytes > used ? group->limit_bytes - used : 0;
}

/* Takes over which limit counts, and all that is told of it. */
static void take_limit(struct snap_group *sum, const struct snap_group *group)
{
	sum->limit_bytes = group->limit_bytes;
	sum->usage_bytes = group->usage_bytes;
	sum->reclaimable_bytes = group->reclaimable_bytes;
	sum->limit_path = group->limit_path;
	sum->limit_growth_per_min = group->limit_growth_per_min;
}

static void add_memory(struct snap_group *sum, const struct snap_group *group)
{
	bool is_tighter =
		group->limit_bytes && (!sum->limit_bytes || room_of(group) < room_of(sum));

	if (is_tighter)
		take_limit(sum, group);
	else if (!sum->limit_bytes)
		sum->usage_bytes += group->usage_bytes;
	sum->anon_bytes += group->anon_bytes;
	sum->file_bytes += group->file_bytes;
	sum->growth_per_min += group->growth_per_min;
	if (!sum->is_measured || group->measured_ns < sum->measured_ns)
		sum->measured_ns = group->measured_ns;
	sum->is_measured = true;
}

bool snap_group__has_losses(const struct snap_group *group)
{
	return group->lost_blocks || group->lost_stacks;
}

/* Whether one of the groups before it, of the same name, has the same losses. */
static bool is_lost_before(const struct snapshot *snap, size_t item, enum profile_group by)
{
	const struct snap_group *group = &snap->groups.items[item];
	const char *path = *group->lost_path ? group->lost_path : group->path;
	struct group_name name = name_of(group, by);

	for (size_t i = 0; i < item; i++) {
		const struct snap_group *other = &snap->groups.items[i];

		if (!strcmp(*other->lost_path ? other->lost_path : other->path, path) &&
		    group_name__same(name, name_of(other, by)))
			return true;
	}
	return false;
}

static void add_losses(struct snap_group *sum, const struct snap_group *group)
{
	if (!snap_group__has_losses(sum))
		sum->lost_path = group->lost_path;
	else if (strcmp(sum->lost_path, group->lost_path) != 0)
		sum->lost_path = "";
	sum->lost_blocks += group->lost_blocks;
	sum->lost_bytes += group->lost_bytes;
	sum->lost_stacks += group->lost_stacks;
}

uint32_t group__sum(const struct snapshot *snap, uint32_t proc, enum profile_group group,
		    struct snap_group *ret)
{
	struct group_name name = group__name(snap, proc, group);
	struct snap_group sum = {0};
	uint32_t cnt = 0;

	for (size_t i = 0; i < snap->groups.cnt; i++) {
		const struct snap_group *item = &snap->groups.items[i];

		if (!group_name__same(name, name_of(item, group)))
			continue;
		if (!cnt++)
			sum = (struct snap_group){
				.path = item->path,
				.title = item->title,
				.runtime = item->runtime,
				.container = item->container,
				.container_id = item->container_id,
				.image = item->image,
				.service = item->service,
				.pod = item->pod,
				.pod_namespace = item->pod_namespace,
				.pod_uid = item->pod_uid,
				.limit_path = item->limit_path,
				.lost_path = item->lost_path,
			};
		if (snap_group__has_losses(item) && !is_lost_before(snap, i, group))
			add_losses(&sum, item);
		if (item->is_measured && !is_counted(snap, item, group))
			add_memory(&sum, item);
	}
	if (cnt)
		*ret = sum;
	return cnt;
}

/* ---- growth ---- */

bool snap_group__is_growing(const struct snap_group *group)
{
	return group->is_measured && group->measured_ns &&
	       group->growth_per_min >= GROUP_LEAST_GROWTH;
}

bool snap_group__seconds_to_limit(const struct snap_group *group, uint64_t *ret)
{
	uint64_t room = room_of(group);
	double seconds = 0;

	if (!snap_group__is_growing(group) || !group->limit_bytes)
		return false;
	if (room && !(group->limit_growth_per_min >= GROUP_LEAST_GROWTH))
		return false;
	if (room)
		seconds = room / group->limit_growth_per_min * SECONDS_PER_MINUTE;
	if (seconds > MAX_SECONDS)
		return false;
	*ret = seconds;
	return true;
}

/* ---- the first call ---- */

struct top_finder {
	const struct profile *profile;
	uint32_t *proc_rows;  /* per process: the profile's row, SNAP_NONE = none */
	struct hashmap names; /* {hash of a name, probe} -> row */
	struct hashmap calls; /* {row, call} -> sum */
	ARRAY(struct top_sum {
		uint32_t row;
		struct group_top top;
	})
	sums;
};

/* Returns the place of a process's name among the rows, or where it belongs. */
static uint64_t *find_name(const struct top_finder *finder, uint32_t proc, uint64_t *ret_probe)
{
	enum profile_group group = finder->profile->opts.group;
	const struct snapshot *snap = finder->profile->snap;
	struct group_name name = group__name(snap, proc, group);
	uint64_t *found;

	for (*ret_probe = 0;
	     (found = hashmap__find(&finder->names, group_name__hash(name), *ret_probe));
	     ++*ret_probe) {
		uint32_t known = finder->profile->rows.items[*found].row->proc;

		if (group_name__same(name, group__name(snap, known, group)))
			return found;
	}
	return NULL;
}

static int map_procs(struct top_finder *finder)
{
	const struct profile *profile = finder->profile;
	const struct snapshot *snap = profile->snap;
	uint64_t probe, *found;

	for (size_t i = 0; i < profile->rows.cnt; i++) {
		uint32_t proc = profile->rows.items[i].row->proc;
		struct group_name name = group__name(snap, proc, profile->opts.group);

		find_name(finder, proc, &probe);
		found = hashmap__insert(&finder->names, group_name__hash(name), probe, NULL);
		if (!found)
			return -ENOMEM;
		*found = i;
	}
	for (size_t i = 0; i < snap->procs.cnt; i++) {
		found = find_name(finder, i, &probe);
		finder->proc_rows[i] = found ? *found : SNAP_NONE;
	}
	return 0;
}

static int add_top(struct top_finder *finder, const struct snap_row *row)
{
	struct call begin = profile__begin(finder->profile, row->stack);
	uint32_t at = finder->proc_rows[row->proc];
	uint64_t call = UINT64_MAX, *found;
	struct group_top *top;
	bool is_new;

	if (at == SNAP_NONE || row->cost.live_bytes <= 0)
		return 0;
	if (begin.node)
		call = (uint64_t)finder->profile->snap->nodes.items[begin.node].frame << 32 |
		       begin.idx;
	found = hashmap__insert(&finder->calls, at, call, &is_new);
	if (!found || (is_new && array_push(&finder->sums, ((struct top_sum){.row = at}))))
		return -ENOMEM;
	if (is_new)
		*found = finder->sums.cnt - 1;
	top = &finder->sums.items[*found].top;
	if (!top->row || row->cost.live_bytes > top->row->cost.live_bytes)
		top->row = row;
	top->live_bytes += row->cost.live_bytes;
	return 0;
}

int group__tops(const struct profile *profile, struct group_top **ret)
{
	struct top_finder finder = {.profile = profile};
	struct group_top *tops = calloc(profile->rows.cnt + 1, sizeof(*tops));
	int err = -ENOMEM;

	finder.proc_rows = calloc(profile->snap->procs.cnt + 1, sizeof(*finder.proc_rows));
	if (!tops || !finder.proc_rows)
		goto cleanup;
	err = map_procs(&finder);
	for (size_t i = 0; i < profile->snap->rows.cnt && !err; i++)
		err = add_top(&finder, &profile->snap->rows.items[i]);
	for (size_t i = 0; i < finder.sums.cnt && !err; i++) {
		const struct top_sum *sum = &finder.sums.items[i];

		if (sum->top.live_bytes > tops[sum->row].live_bytes)
			tops[sum->row] = sum->top;
	}
cleanup:
	hashmap__free(&finder.names);
	hashmap__free(&finder.calls);
	array_free(&finder.sums);
	free(finder.proc_rows);
	if (err)
		free(tops);
	else
		*ret = tops;
	return err;
}
