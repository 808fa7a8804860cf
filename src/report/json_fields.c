/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/json_fields.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

#include "report/render.h"

#define JSON_FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

void fields__new(struct fields *fields)
{
	fields->object = json_object_new_object();
	fields->err = fields->object ? 0 : -ENOMEM;
}

void add_value(struct fields *fields, const char *name, struct json_object *value)
{
	if (!value)
		fields->err = -ENOMEM;
	if (!fields->err && !json_object_object_add_ex(fields->object, name, value,
						       JSON_C_OBJECT_ADD_KEY_IS_NEW |
							       JSON_C_OBJECT_ADD_CONSTANT_KEY))
		return;
	fields->err = -ENOMEM;
	json_object_put(value);
}

void add_null(struct fields *fields, const char *name)
{
	if (!fields->err && json_object_object_add(fields->object, name, NULL))
		fields->err = -ENOMEM;
}

void add_int(struct fields *fields, const char *name, int64_t value)
{
	add_value(fields, name, json_object_new_int64(value));
}

void add_uint(struct fields *fields, const char *name, uint64_t value)
{
	add_value(fields, name, json_object_new_uint64(value));
}

void add_bool(struct fields *fields, const char *name, bool value)
{
	add_value(fields, name, json_object_new_boolean(value));
}

void add_float(struct fields *fields, const char *name, double value)
{
	char text[48];
	int64_t thousandths;

	if (!isfinite(value) || fabs(value) > 1e15)
		value = 0;
	thousandths = value * 1000 + (value < 0 ? -0.5 : 0.5);
	snprintf(text, sizeof(text), "%s%" PRId64 ".%03" PRId64, thousandths < 0 ? "-" : "",
		 imaxabs(thousandths) / 1000, imaxabs(thousandths) % 1000);
	add_value(fields, name, json_object_new_double_s(value, text));
}

struct json_object *new_text(const char *raw)
{
	char *text = text_utf8(raw ? raw : "");
	struct json_object *value = text ? json_object_new_string(text) : NULL;

	free(text);
	return value;
}

void add_text(struct fields *fields, const char *name, const char *raw)
{
	add_value(fields, name, new_text(raw));
}

void add_known_text(struct fields *fields, const char *name, const char *raw)
{
	if (raw)
		add_text(fields, name, raw);
	else
		add_null(fields, name);
}

void add_cost(struct fields *fields, const struct cost *cost)
{
	add_int(fields, "live_bytes", cost->live_bytes);
	add_int(fields, "live_count", cost->live_count);
	add_int(fields, "alloc_bytes", cost->alloc_bytes);
	add_int(fields, "alloc_count", cost->alloc_count);
	add_int(fields, "free_bytes", cost->free_bytes);
	add_int(fields, "free_count", cost->free_count);
	add_int(fields, "inherited_bytes", cost->inherited_bytes);
	add_int(fields, "inherited_count", cost->inherited_count);
}

void add_fields(struct fields *outer, const char *name, struct fields *inner)
{
	if (inner->err)
		outer->err = inner->err;
	add_value(outer, name, inner->object);
}

void add_totals(struct fields *fields, const char *name, const struct cost *cost)
{
	struct fields totals;

	fields__new(&totals);
	add_cost(&totals, cost);
	add_fields(fields, name, &totals);
}

int append_value(struct json_object *array, struct json_object *value)
{
	if (value && !json_object_array_add(array, value))
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

int append_fields(struct json_object *array, struct fields *fields)
{
	if (!fields->err)
		return append_value(array, fields->object);
	json_object_put(fields->object);
	return fields->err;
}

int put_fields(struct fields *fields, bool close, FILE *out)
{
	const char *text = NULL;
	size_t len = 0;
	int err = fields->err;

	if (!err)
		text = json_object_to_json_string_length(fields->object, JSON_FLAGS, &len);
	if (text && len >= 2)
		fwrite(text, 1, len - !close, out);
	else if (!err)
		err = -ENOMEM;
	json_object_put(fields->object);
	return err;
}

void add_tool(struct fields *root)
{
	struct fields tool;

	fields__new(&tool);
	add_text(&tool, "version", LEAKSWEEP_VERSION);
	add_int(&tool, "schema", 1);
	add_fields(root, "leaksweep", &tool);
}

void fields__new_document(struct fields *root, const struct snapshot *snap)
{
	char started_at[RFC3339_MAX];

	fields__new(root);
	add_tool(root);
	add_text(root, "mode", snap->mode);
	add_text(root, "started_at", format_rfc3339(snap->started_at_ns, true, started_at));
	add_uint(root, "duration_ns", snap->duration_ns);
	add_uint(root, "interval", snap->interval);
}

void add_host(struct fields *head, const struct snapshot *snap)
{
	struct fields host;

	fields__new(&host);
	add_text(&host, "hostname", snap->hostname);
	add_text(&host, "kernel", snap->kernel);
	add_text(&host, "arch", snap->arch);
	add_uint(&host, "cpus", snap->cpus);
	add_fields(head, "host", &host);
}

void add_notes(struct fields *root, const struct snapshot *snap)
{
	struct json_object *notes = json_object_new_array();

	for (size_t i = 0; i < snap->notes.cnt && notes && !root->err; i++)
		root->err = append_value(notes, new_text(snap->notes.items[i]));
	add_value(root, "notes", notes);
}
