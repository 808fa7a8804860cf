/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/json_cgroups.h"

#include <errno.h>
#include <stdlib.h>

#include "model/group.h"
#include "report/json_fields.h"

static void add_names(struct fields *fields, const struct snap_group *group)
{
	add_text(fields, "path", group->path);
	add_text(fields, "title", group->title);
	add_text(fields, "runtime", group->runtime);
	add_text(fields, "container", group->container);
	add_text(fields, "container_id", group->container_id);
	add_text(fields, "image", group->image);
	add_text(fields, "service", group->service);
	add_text(fields, "pod", group->pod);
	add_text(fields, "pod_namespace", group->pod_namespace);
	add_text(fields, "pod_uid", group->pod_uid);
}

static void add_known_uint(struct fields *fields, const char *name, bool is_known, uint64_t value)
{
	if (is_known)
		add_uint(fields, name, value);
	else
		add_null(fields, name);
}

static void add_growth(struct fields *fields, const char *name, bool is_known, double per_min)
{
	if (is_known)
		add_float(fields, name, per_min);
	else
		add_null(fields, name);
}

static void add_memory(struct fields *fields, const struct snap_group *group)
{
	const char *limit_cgroup = *group->limit_path ? group->limit_path : group->path;
	uint64_t seconds = 0;
	bool reaches_limit = snap_group__seconds_to_limit(group, &seconds);

	add_known_uint(fields, "anon_bytes", group->is_measured, group->anon_bytes);
	add_known_uint(fields, "file_bytes", group->is_measured, group->file_bytes);
	add_known_uint(fields, "usage_bytes", group->is_measured, group->usage_bytes);
	add_known_uint(fields, "limit_bytes", group->limit_bytes, group->limit_bytes);
	add_known_uint(fields, "reclaimable_bytes", group->limit_bytes, group->reclaimable_bytes);
	add_known_text(fields, "limit_cgroup", group->limit_bytes ? limit_cgroup : NULL);
	add_growth(fields, "growth_bytes_per_minute", group->measured_ns, group->growth_per_min);
	add_growth(fields, "limit_growth_bytes_per_minute",
		   group->measured_ns && group->limit_bytes, group->limit_growth_per_min);
	add_known_uint(fields, "seconds_to_limit", reaches_limit, seconds);
}

static int put_cgroup(const struct snap_group *group, const struct cost *cost, FILE *out)
{
	const char *lost_cgroup = *group->lost_path ? group->lost_path : group->path;
	struct fields fields;

	fields__new(&fields);
	add_names(&fields, group);
	add_memory(&fields, group);
	add_uint(&fields, "lost_blocks", group->lost_blocks);
	add_uint(&fields, "lost_bytes", group->lost_bytes);
	add_uint(&fields, "lost_stacks", group->lost_stacks);
	add_known_text(&fields, "lost_cgroup", snap_group__has_losses(group) ? lost_cgroup : NULL);
	add_int(&fields, "live_bytes", cost->live_bytes);
	add_int(&fields, "live_count", cost->live_count);
	return put_fields(&fields, true, out);
}

int json_put_cgroups(const struct profile *profile, FILE *out)
{
	const struct snapshot *snap = profile->snap;
	struct cost *costs = calloc(snap->groups.cnt + 1, sizeof(*costs));
	int err = 0;

	if (!costs)
		return -ENOMEM;
	for (size_t i = 0; i < snap->procs.cnt; i++)
		if (snap->procs.items[i].group != SNAP_NONE)
			cost__add(&costs[snap->procs.items[i].group], &profile->proc_totals[i]);
	fputs(",\n\"cgroups\":[", out);
	for (size_t i = 0; i < snap->groups.cnt && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_cgroup(&snap->groups.items[i], &costs[i], out);
	}
	fputc(']', out);
	free(costs);
	return err;
}
