/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The JSON report, schema 1. Every value is made by json-c; only the frame around the two long
 * lists is written by hand, one process and one stack a line: a tree of the whole report would hold
 * an object for each of thirty frames of ten thousand stacks.
 */
#include "report/report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#include "report/failures.h"
#include "report/json_cgroups.h"
#include "report/json_fields.h"
#include "report/json_resident.h"
#include "report/python_coverage.h"
#include "report/render.h"

/* ---- the head ---- */

static void add_loss(struct fields *head, const struct snapshot *snap)
{
	struct fields loss;

	fields__new(&loss);
	for (enum stat_id stat = 0; stat < STAT_MAX; stat++)
		add_uint(&loss, stat_name(stat), snap->stats[stat]);
	add_fields(head, "loss", &loss);
}

static void add_overhead(struct fields *head, const struct snapshot *snap)
{
	const struct snap_overhead *overhead = &snap->overhead;
	struct fields fields;

	fields__new(&fields);
	add_uint(&fields, "probe_hits", overhead->probe_hits);
	add_uint(&fields, "foreign_hits", overhead->foreign_hits);
	add_float(&fields, "ns_per_hit", overhead->ns_per_hit);
	add_float(&fields, "cpu_percent", overhead->cpu_percent);
	add_float(&fields, "tool_cpu_percent", overhead->tool_cpu_percent);
	add_uint(&fields, "tool_bytes", overhead->tool_bytes);
	add_uint(&fields, "tool_bound_bytes", overhead->tool_bound_bytes);
	add_uint(&fields, "map_bytes", overhead->map_bytes);
	add_fields(head, "overhead", &fields);
	fields__new(&fields);
	add_known_text(&fields, "mode", snap->probe_mode);
	add_known_text(&fields, "why", snap->probe_why);
	add_fields(head, "probes", &fields);
}

static void add_checks(struct fields *head, const struct snapshot *snap)
{
	struct fields checked, ended, young;

	fields__new(&checked);
	add_uint(&checked, "blocks", snap->blocks_checked);
	add_int(&checked, "unaccounted_bytes", snap->unaccounted_bytes);
	add_int(&checked, "unaccounted_count", snap->unaccounted_count);
	add_fields(head, "checked", &checked);
	fields__new(&ended);
	add_uint(&ended, "processes", snap->ended_procs);
	add_uint(&ended, "live_bytes", snap->ended_bytes);
	add_uint(&ended, "live_count", snap->ended_count);
	add_fields(head, "ended", &ended);
	add_uint(head, "reserved_bytes", snap->reserved_bytes);
	fields__new(&young);
	add_uint(&young, "min_age_ns", snap->min_age_ns);
	add_int(&young, "live_bytes", snap->young_bytes);
	add_int(&young, "live_count", snap->young_count);
	add_fields(head, "young", &young);
}

static void add_unwind(struct fields *head, const struct snapshot *snap)
{
	const struct snap_unwind *unwind = &snap->unwind;
	struct fields fields;

	fields__new(&fields);
	add_uint(&fields, "tables", unwind->tables);
	add_uint(&fields, "from_cache", unwind->from_cache);
	add_uint(&fields, "failed", unwind->failed);
	add_uint(&fields, "evicted", unwind->evicted);
	add_uint(&fields, "rows", unwind->rows);
	add_uint(&fields, "bytes", unwind->bytes);
	add_uint(&fields, "load_ns", unwind->load_ns);
	if (unwind->cache_err)
		add_text(&fields, "cache_error", strerror(-unwind->cache_err));
	else
		add_null(&fields, "cache_error");
	add_fields(head, "unwind", &fields);
}

/* Writes everything before the lists, without a closing brace. */
static int put_head(const struct profile *profile, FILE *out)
{
	const struct snapshot *snap = profile->snap;
	struct fields head;

	fields__new_document(&head, snap);
	add_bool(&head, "estimated", snap->estimated);
	add_uint(&head, "sample_bytes", snap->sample_bytes);
	add_host(&head, snap);
	add_totals(&head, "totals", &profile->total);
	if (profile->has_previous)
		add_int(&head, "delta_live_bytes", profile->delta_bytes);
	add_loss(&head, snap);
	add_overhead(&head, snap);
	add_checks(&head, snap);
	add_unwind(&head, snap);
	add_notes(&head, snap);
	return put_fields(&head, false, out);
}

/* ---- processes ---- */

static void add_coverage(struct fields *fields, const struct snap_proc *proc)
{
	struct json_object *allocators = json_object_new_array();
	struct fields coverage, allocator;

	fields__new(&coverage);
	for (size_t i = 0; i < proc->coverage.cnt && allocators && !coverage.err; i++) {
		const struct snap_coverage *item = &proc->coverage.items[i];

		fields__new(&allocator);
		add_text(&allocator, "name", item->name);
		add_text(&allocator, "path", item->path);
		add_text(&allocator, "status", status_name(item->status));
		add_text(&allocator, "reason", item->reason);
		coverage.err = append_fields(allocators, &allocator);
	}
	add_value(&coverage, "allocators", allocators);
	add_python(&coverage, &proc->python);
	add_fields(fields, "coverage", &coverage);
}

static void add_exit(struct fields *fields, const struct snap_proc *proc)
{
	bool ended = proc->state == PROC_EXITED;

	if (ended && WIFEXITED(proc->exit_code))
		add_int(fields, "exit_code", WEXITSTATUS(proc->exit_code));
	else
		add_null(fields, "exit_code");
	if (ended && WIFSIGNALED(proc->exit_code))
		add_int(fields, "exit_signal", WTERMSIG(proc->exit_code));
	else
		add_null(fields, "exit_signal");
}

static int put_process(const struct profile *profile, size_t idx, FILE *out)
{
	const struct snap_proc *proc = &profile->snap->procs.items[idx];
	struct fields fields;

	fields__new(&fields);
	add_int(&fields, "pid", proc->pid);
	if (proc->ns_pid)
		add_int(&fields, "ns_pid", proc->ns_pid);
	add_uint(&fields, "start_ns", proc->start_ns);
	add_text(&fields, "comm", proc->comm);
	add_text(&fields, "exe", proc->exe);
	add_text(&fields, "cgroup", proc->cgroup);
	add_text(&fields, "container", proc->container);
	add_uint(&fields, "rss_bytes", proc->rss_bytes);
	add_text(&fields, "state", state_name(proc->state));
	add_exit(&fields, proc);
	add_bool(&fields, "inherited", proc->inherited);
	add_bool(&fields, "late", proc->late);
	add_coverage(&fields, proc);
	add_resident(&fields, profile, idx);
	add_totals(&fields, "totals", &profile->proc_totals[idx]);
	return put_fields(&fields, true, out);
}

static int put_processes(const struct profile *profile, FILE *out)
{
	int err = 0;

	fputs(",\n\"processes\":[", out);
	for (size_t i = 0; i < profile->snap->procs.cnt && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_process(profile, i, out);
	}
	fputc(']', out);
	return err;
}

int report_json(const struct profile *profile, const struct report_opts *opts, FILE *out)
{
	int err;

	(void)opts;
	err = put_head(profile, out);
	if (!err)
		err = put_processes(profile, out);
	if (!err)
		err = json_put_cgroups(profile, out);
	if (!err)
		err = json_put_failures(profile, out);
	if (!err)
		err = profile->opts.group == GROUP_STACK ? json_put_stacks(profile, out)
							 : json_put_groups_and_stacks(profile, out);
	if (err)
		return err;
	fputs("}\n", out);
	return finish_output(out);
}
