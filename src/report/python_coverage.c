// SPDX-License-Identifier: GPL-2.0-or-later
#include "report/python_coverage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report/render.h"
#include "util/format.h"

bool python_coverage__percent(const struct snap_python *python, double *ret_percent)
{
	double seen = python->seen_cnt, all = seen + (double)python->missed_cnt;

	if (!python->was_scanned || python->objects == COVERAGE_SKIPPED)
		return false;
	*ret_percent = all > 0 ? 100 * seen / all : 100;
	return true;
}

enum coverage_status python_coverage__status(const struct snap_python *python)
{
	if (python->frames == COVERAGE_PROBED && python->objects == COVERAGE_PROBED)
		return COVERAGE_PROBED;
	if (python->frames == COVERAGE_SKIPPED && python->objects == COVERAGE_SKIPPED)
		return COVERAGE_SKIPPED;
	return COVERAGE_PARTIAL;
}

/* The reasons of both, each once. */
static void add_reason(struct fields *fields, const struct snap_python *python)
{
	const char *frames = python->frames_reason ? python->frames_reason : "";
	const char *objects = python->objects_reason ? python->objects_reason : "";
	char *text;

	if (!*frames || !*objects || !strcmp(frames, objects)) {
		add_text(fields, "reason", *frames ? frames : objects);
		return;
	}
	text = format_text("%s; %s", frames, objects);
	if (text)
		add_text(fields, "reason", text);
	else
		fields->err = -ENOMEM;
	free(text);
}

static void add_part(struct fields *fields, const char *name, enum coverage_status status,
		     const char *reason)
{
	struct fields part;

	fields__new(&part);
	add_text(&part, "status", status_name(status));
	add_text(&part, "reason", reason);
	add_fields(fields, name, &part);
}

static void add_scan(struct fields *fields, const struct snap_python *python)
{
	double percent;

	add_bool(fields, "was_scanned", python->was_scanned);
	if (python_coverage__percent(python, &percent)) /* never rounded up: 100 means all */
		add_float(fields, "coverage_percent", (double)(int64_t)(percent * 1000) / 1000);
	else
		add_null(fields, "coverage_percent");
	if (!python->was_scanned)
		return;
	add_uint(fields, "live_count", python->live_cnt);
	add_uint(fields, "live_bytes", python->live_bytes);
	add_uint(fields, "seen_count", python->seen_cnt);
	add_uint(fields, "seen_bytes", python->seen_bytes);
	add_uint(fields, "old_count", python->old_cnt);
	add_uint(fields, "old_bytes", python->old_bytes);
	add_uint(fields, "missed_count", python->missed_cnt);
	add_uint(fields, "missed_bytes", python->missed_bytes);
	add_uint(fields, "dead_count", python->dead_cnt);
	add_uint(fields, "pool_free_bytes", python->pool_free_bytes);
	add_uint(fields, "arena_bytes", python->arena_bytes);
	add_uint(fields, "torn_pools", python->torn_cnt);
}

void add_python(struct fields *coverage, const struct snap_python *python)
{
	struct fields fields;

	fields__new(&fields);
	add_known_text(&fields, "version", python->version);
	if (!python->version) {
		add_text(&fields, "status", status_name(COVERAGE_SKIPPED));
		add_text(&fields, "reason", "no Python was found in this process");
		add_fields(coverage, "python", &fields);
		return;
	}
	add_text(&fields, "status", status_name(python_coverage__status(python)));
	add_reason(&fields, python);
	add_part(&fields, "frames", python->frames, python->frames_reason);
	add_part(&fields, "objects", python->objects, python->objects_reason);
	add_uint(&fields, "alloc_sites", python->alloc_sites);
	add_uint(&fields, "free_sites", python->free_sites);
	add_bool(&fields, "has_frees", python->has_frees);
	add_scan(&fields, python);
	add_uint(&fields, "merge_violations", python->merge_violations);
	add_fields(coverage, "python", &fields);
}
