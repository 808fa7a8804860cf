/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/sweep.h"

#include "report/json_fields.h"
#include "report/render.h"

static void add_memory(struct fields *head, const struct sweep *sweep)
{
	struct fields memory, watched, overhead;

	fields__new(&memory);
	add_uint(&memory, "total_bytes", sweep->ram_bytes);
	add_uint(&memory, "available_bytes", sweep->available_bytes);
	add_fields(head, "memory", &memory);
	fields__new(&watched);
	add_uint(&watched, "processes", sweep->processes);
	add_uint(&watched, "cgroups", sweep->groups);
	add_uint(&watched, "left_out", sweep->left_out);
	add_fields(head, "watched", &watched);
	fields__new(&overhead);
	add_float(&overhead, "tool_cpu_percent", sweep->snap->overhead.tool_cpu_percent);
	add_uint(&overhead, "tool_bytes", sweep->snap->overhead.tool_bytes);
	add_fields(head, "overhead", &overhead);
}

static void add_states(struct fields *head, const struct sweep *sweep)
{
	struct fields states;

	fields__new(&states);
	for (enum growth_state state = 0; state < GROWTH_STATE_CNT; state++)
		add_uint(&states, growth_state__name(state), sweep->states[state]);
	add_fields(head, "states", &states);
	add_uint(head, "growing_total", sweep->rows.cnt);
}

static int put_head(const struct sweep *sweep, FILE *out)
{
	const struct snapshot *snap = sweep->snap;
	struct fields head;

	fields__new_document(&head, snap);
	add_host(&head, snap);
	add_memory(&head, sweep);
	add_states(&head, sweep);
	return put_fields(&head, false, out);
}

static void add_growth(struct fields *row, const struct growth_verdict *growth)
{
	struct fields fields;

	fields__new(&fields);
	add_float(&fields, "bytes_per_hour", growth->bytes_per_hour);
	add_float(&fields, "lower", growth->lower);
	add_float(&fields, "upper", growth->upper);
	add_uint(&fields, "seen_ns", growth->seen_ns);
	add_fields(row, "growth", &fields);
}

static void add_limit(struct fields *row, const struct sweep_row *item)
{
	struct fields fields;

	fields__new(&fields);
	add_known_text(&fields, "cgroup", *item->limit_cgroup ? item->limit_cgroup : NULL);
	add_uint(&fields, "bytes", item->limit_bytes);
	add_uint(&fields, "room_bytes", item->room_bytes);
	if (item->seconds_to_limit != UINT64_MAX)
		add_uint(&fields, "seconds", item->seconds_to_limit);
	else
		add_null(&fields, "seconds");
	add_fields(row, "limit", &fields);
}

static int put_row(const struct sweep_row *item, FILE *out)
{
	struct fields row;

	fields__new(&row);
	if (item->pid)
		add_int(&row, "pid", item->pid);
	else
		add_null(&row, "pid");
	add_uint(&row, "start_ns", item->start_ns);
	add_text(&row, "comm", item->comm);
	add_text(&row, "cgroup", item->cgroup);
	add_text(&row, "title", item->title);
	add_text(&row, "runtime", item->runtime);
	add_bool(&row, "service", item->is_service);
	add_uint(&row, "restarts", item->restarts);
	add_uint(&row, "anon_bytes", item->anon_bytes);
	add_growth(&row, &item->growth);
	add_limit(&row, item);
	return put_fields(&row, true, out);
}

int report_sweep_json(const struct sweep *sweep, const struct sweep_report_opts *opts, FILE *out)
{
	int err;

	err = put_head(sweep, out);
	fputs(",\n\"growing\":[", out);
	for (size_t i = 0; i < sweep->rows.cnt && (!opts->top || i < opts->top) && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_row(&sweep->rows.items[i], out);
	}
	fputs("]}\n", out);
	return err ? err : finish_output(out);
}
