/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/json_resident.h"

static const char *kept_name(enum heaps_kept kept)
{
	switch (kept) {
	case HEAPS_KEPT_AT_LEAST:
		return "at_least";
	case HEAPS_KEPT_WHOLE:
		return "whole";
	case HEAPS_KEPT_UNKNOWN:
		break;
	}
	return "unknown";
}

struct part {
	const char *name;
	uint64_t now, before;
};

static void add_parts(struct fields *fields, const struct snap_resident *now,
		      const struct snap_resident *before)
{
	const struct part parts[] = {
		{"total_bytes", now->total_bytes, before->total_bytes},
		{"objects_bytes", now->objects_bytes, before->objects_bytes},
		{"objects_kept_bytes", now->objects_kept_bytes, before->objects_kept_bytes},
		{"heaps_bytes", now->heaps_bytes, before->heaps_bytes},
		{"heaps_live_bytes", now->heaps_live_bytes, before->heaps_live_bytes},
		{"heaps_used_bytes", now->heaps_used_bytes, before->heaps_used_bytes},
		{"mapped_bytes", now->mapped_bytes, before->mapped_bytes},
		{"files_bytes", now->files_bytes, before->files_bytes},
		{"files_dirty_bytes", now->files_dirty_bytes, before->files_dirty_bytes},
		{"stacks_bytes", now->stacks_bytes, before->stacks_bytes},
		{"shared_bytes", now->shared_bytes, before->shared_bytes},
		{"unread_bytes", now->unread_bytes, before->unread_bytes},
		{"swapped_bytes", now->swapped_bytes, before->swapped_bytes},
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		add_int(fields, parts[i].name, (int64_t)(parts[i].now - parts[i].before));
}

static void add_retained(struct fields *fields, const struct profile *profile, size_t proc)
{
	struct retained retained;
	struct fields inner;

	if (!profile->residents_before ||
	    !resident__is_retained(&profile->snap->procs.items[proc].resident,
				   profile->proc_totals[proc].live_bytes,
				   &profile->residents_before[proc], &retained)) {
		add_null(fields, "retained");
		return;
	}
	fields__new(&inner);
	add_uint(&inner, "pymalloc_bytes", retained.pymalloc_bytes);
	add_uint(&inner, "heaps_bytes", retained.heaps_bytes);
	add_fields(fields, "retained", &inner);
}

void add_resident(struct fields *fields, const struct profile *profile, size_t proc)
{
	const struct snap_resident *now = &profile->snap->procs.items[proc].resident;
	static const struct snap_resident none;
	struct fields resident, change;

	if (!now->is_known) {
		add_null(fields, "resident");
		return;
	}
	fields__new(&resident);
	add_parts(&resident, now, &none);
	add_uint(&resident, "thread_heaps", now->thread_heaps);
	add_text(&resident, "heaps_kept", kept_name(now->heaps_kept));
	if (now->heaps_kept != HEAPS_KEPT_UNKNOWN)
		add_uint(&resident, "heaps_kept_bytes", now->heaps_kept_bytes);
	else
		add_null(&resident, "heaps_kept_bytes");
	if (profile->residents_before && profile->residents_before[proc].resident.is_known) {
		fields__new(&change);
		add_parts(&change, now, &profile->residents_before[proc].resident);
		add_fields(&resident, "change", &change);
	} else {
		add_null(&resident, "change");
	}
	add_retained(&resident, profile, proc);
	add_fields(fields, "resident", &resident);
}
