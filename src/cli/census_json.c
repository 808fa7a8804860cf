/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The same for programs, one line a census. Schema 1; fields are only added:
 *
 * {"leaksweep":{"version":..,"schema":1},"mode":"census","taken_at":"RFC 3339","elapsed_ns":N,
 *  "process":{"pid":N,"comm":..,"python":..},
 *  "totals":{"count":N,"bytes":N,"pool_bytes":N,"pool_free_bytes":N,"torn":N,"swapped_bytes":N},
 *  "since_ns":N|null,
 *  "types":[{"type":..,"count":N,"bytes":N,"malloc_bytes":N,
 *            "count_change":N|null,"bytes_change":N|null}],
 *  "types_left_out":N}
 *
 * Bytes are those of the objects of the type with what belongs to them; malloc_bytes lie outside
 * the pools. Changes are those of the last since_ns; null when there was no census before.
 */
#include <errno.h>

#include "cli/census.h"
#include "report/json_fields.h"
#include "report/render.h"

static void add_process(struct fields *root, const struct census_view *view)
{
	struct fields process;

	fields__new(&process);
	add_int(&process, "pid", view->pid);
	add_text(&process, "comm", view->comm);
	add_text(&process, "python", view->version);
	add_fields(root, "process", &process);
}

static void add_census_totals(struct fields *root, const struct census *census)
{
	struct fields totals;

	fields__new(&totals);
	add_uint(&totals, "count", census->cnt);
	add_uint(&totals, "bytes", census->bytes);
	add_uint(&totals, "pool_bytes", census->pool_bytes);
	add_uint(&totals, "pool_free_bytes", census->pool_free_bytes);
	add_uint(&totals, "torn", census->torn);
	add_uint(&totals, "swapped_bytes", census->swapped_bytes);
	add_fields(root, "totals", &totals);
}

static void add_change(struct fields *fields, const char *name, bool is_known, int64_t change)
{
	if (is_known)
		add_int(fields, name, change);
	else
		add_null(fields, name);
}

static struct json_object *new_types(const struct census_view *view)
{
	struct json_object *types = json_object_new_array();

	for (size_t i = 0; types && i < view->shown_cnt; i++) {
		const struct census_line *line = &view->lines[i];
		struct fields type;

		fields__new(&type);
		add_text(&type, "type", line->type);
		add_uint(&type, "count", line->cnt);
		add_uint(&type, "bytes", line->bytes);
		add_uint(&type, "malloc_bytes", line->large_bytes);
		add_change(&type, "count_change", view->has_changes, line->cnt_change);
		add_change(&type, "bytes_change", view->has_changes, line->bytes_change);
		if (append_fields(types, &type)) {
			json_object_put(types);
			return NULL;
		}
	}
	return types;
}

int census_json(const struct census_view *view, FILE *out)
{
	char time[RFC3339_MAX];
	struct fields root;
	int err;

	fields__new(&root);
	add_tool(&root);
	add_text(&root, "mode", "census");
	add_text(&root, "taken_at", format_rfc3339(view->taken_at_ns, true, time));
	add_uint(&root, "elapsed_ns", view->census->elapsed_ns);
	add_process(&root, view);
	add_census_totals(&root, view->census);
	add_change(&root, "since_ns", view->has_changes, (int64_t)view->since_ns);
	add_value(&root, "types", new_types(view));
	add_uint(&root, "types_left_out", view->line_cnt - view->shown_cnt);
	err = put_fields(&root, true, out);
	fputc('\n', out);
	return err ? err : finish_output(out);
}
