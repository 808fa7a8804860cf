/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the resident memory of the processes is: a line for each of the largest. */
#include "report/table.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/render.h"
#include "util/units.h"

#define MAX_RESIDENTS_NAMED 3

/* All parts of a process are told in one unit, so that they can be compared at a glance. */
struct unit {
	const char *name;
	double bytes;
};

static struct unit unit_of(uint64_t bytes)
{
	if (bytes < 1 << 20)
		return (struct unit){"KiB", 1 << 10};
	if (bytes < 10ULL << 30)
		return (struct unit){"MiB", 1 << 20};
	return (struct unit){"GiB", 1 << 30};
}

struct part_writer {
	struct screen *screen;
	struct unit unit;
	const struct snap_resident *before; /* NULL = not known */
	const char *separator;
};

/* Whether it is more than 0.0. */
static bool shows(const struct part_writer *writer, double bytes)
{
	return fabs(bytes) >= writer->unit.bytes / 20;
}

static double change_of(const struct part_writer *writer, uint64_t now, uint64_t before)
{
	return writer->before ? (double)now - (double)before : 0;
}

static void put_change(const struct part_writer *writer, double change)
{
	if (shows(writer, change))
		fprintf(writer->screen->line, "%+.1f", change / writer->unit.bytes);
}

/* Writes "name 1.2 (+0.1; inner 0.4)"; nothing of a part that is and was nothing. */
static void put_part(struct part_writer *writer, const char *name, uint64_t now, uint64_t before,
		     const char *inner)
{
	double change = change_of(writer, now, before);
	FILE *line = writer->screen->line;

	if (!shows(writer, now) && !shows(writer, change))
		return;
	fprintf(line, "%s%s %.1f", writer->separator, name, now / writer->unit.bytes);
	writer->separator = ", ";
	if (!shows(writer, change) && !*inner)
		return;
	fputs(" (", line);
	put_change(writer, change);
	fprintf(line, "%s%s)", shows(writer, change) && *inner ? "; " : "", inner);
}

/* Whether malloc may be another one than glibc's: those take their memory by mmap, unmarked. C++'s
 * libraries only hand on. */
static bool has_other_allocator(const struct snap_proc *proc)
{
	for (size_t i = 0; i < proc->coverage.cnt; i++) {
		const struct snap_coverage *item = &proc->coverage.items[i];

		if (strcmp(item->name, "glibc") != 0 && !strstr(item->path, "/libstdc++.so") &&
		    !strstr(item->path, "/libc++.so"))
			return true;
	}
	return false;
}

/* Writes what is known of the heaps' inside: "live since the trace 2.0", "live 2.0, kept 4.1". */
static void put_heaps(struct part_writer *writer, const struct snap_resident *now,
		      const struct snap_resident *before)
{
	const char *tilde = writer->screen->estimated ? "~" : "";
	char inner[2 * UNITS_MAX + 40];
	double unit = writer->unit.bytes;

	if (now->heaps_kept == HEAPS_KEPT_WHOLE)
		snprintf(inner, sizeof(inner), "live %s%.1f, kept %s%.1f", tilde,
			 now->heaps_live_bytes / unit, tilde, now->heaps_kept_bytes / unit);
	else if (now->heaps_kept == HEAPS_KEPT_AT_LEAST && shows(writer, now->heaps_kept_bytes))
		snprintf(inner, sizeof(inner), "live since the trace %s%.1f, kept at least %.1f",
			 tilde, now->heaps_live_bytes / unit, now->heaps_kept_bytes / unit);
	else
		snprintf(inner, sizeof(inner), "live since the trace %s%.1f", tilde,
			 now->heaps_live_bytes / unit);
	put_part(writer, "malloc heaps", now->heaps_bytes, before->heaps_bytes, inner);
}

static void put_files(struct part_writer *writer, const struct snap_resident *now,
		      const struct snap_resident *before)
{
	char inner[UNITS_MAX + 20] = "";

	if (shows(writer, now->files_dirty_bytes))
		snprintf(inner, sizeof(inner), "written %.1f",
			 now->files_dirty_bytes / writer->unit.bytes);
	put_part(writer, "files", now->files_bytes, before->files_bytes, inner);
}

static void put_parts(struct part_writer *writer, const struct snap_proc *proc)
{
	static const struct snap_resident none;
	const struct snap_resident *now = &proc->resident;
	const struct snap_resident *before = writer->before ? writer->before : &none;

	put_part(writer, "objects", now->objects_bytes, before->objects_bytes, "");
	put_part(writer, "kept by pymalloc", now->objects_kept_bytes, before->objects_kept_bytes,
		 "");
	put_heaps(writer, now, before);
	put_part(writer, has_other_allocator(proc) ? "allocator or mapped" : "mapped",
		 now->mapped_bytes, before->mapped_bytes, "");
	put_files(writer, now, before);
	put_part(writer, "stacks", now->stacks_bytes, before->stacks_bytes, "");
	put_part(writer, "shared", now->shared_bytes, before->shared_bytes, "");
	put_part(writer, "not looked at", now->unread_bytes, before->unread_bytes, "");
	writer->separator = "; ";
	put_part(writer, "swapped out", now->swapped_bytes, before->swapped_bytes, "");
}

static void put_resident(struct screen *screen, const struct profile *profile, size_t idx,
			 const char *label)
{
	const struct resident_before *before =
		profile->residents_before ? &profile->residents_before[idx] : NULL;
	const struct snap_proc *proc = &profile->snap->procs.items[idx];
	uint64_t total = proc->resident.total_bytes;
	struct part_writer writer = {
		.screen = screen,
		.unit = unit_of(total),
		.before = before && before->resident.is_known ? &before->resident : NULL,
		.separator = ": ",
	};
	double change = writer.before ? change_of(&writer, total, writer.before->total_bytes) : 0;

	screen__label(screen, label);
	fprintf(screen->line, "%.1f %s", total / writer.unit.bytes, writer.unit.name);
	if (shows(&writer, change)) {
		fputs(" (", screen->line);
		put_change(&writer, change);
		fputc(')', screen->line);
	}
	if (profile->snap->procs.cnt > 1) {
		fputs(" in ", screen->line);
		process_put(screen->line, proc);
	}
	put_parts(&writer, proc);
	screen__end(screen);
}

struct entry {
	size_t idx;
	uint64_t bytes;
};

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x->idx < y->idx ? -1 : x->idx > y->idx;
}

int table_residents(struct screen *screen, const struct profile *profile)
{
	const struct snapshot *snap = profile->snap;
	struct entry *entries = calloc(snap->procs.cnt + 1, sizeof(*entries));
	size_t cnt = 0;

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < snap->procs.cnt; i++)
		if (snap->procs.items[i].resident.is_known)
			entries[cnt++] =
				(struct entry){i, snap->procs.items[i].resident.total_bytes};
	if (cnt)
		qsort(entries, cnt, sizeof(*entries), compare_entries);
	for (size_t i = 0; i < cnt && i < MAX_RESIDENTS_NAMED; i++)
		put_resident(screen, profile, entries[i].idx, i ? "" : "resident");
	if (cnt > MAX_RESIDENTS_NAMED) {
		screen__label(screen, "");
		fprintf(screen->line, "... and %zu more, listed by --format json",
			cnt - MAX_RESIDENTS_NAMED);
		screen__end(screen);
	}
	free(entries);
	return 0;
}
