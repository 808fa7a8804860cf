// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the text report says of the Pythons in the traced processes: what is followed of each, how
 * much of it was seen, and where its memory is.
 */
#include "report/table.h"

#include <inttypes.h>
#include <string.h>

#include "report/python_coverage.h"
#include "report/render.h"
#include "util/units.h"

#define MAX_PYTHONS_NAMED 6
#define MANY_SITES 16 /* more than an allocator that is not inlined has */

/* Returns a part in percent that is never rounded up: 100 means all. */
static double floor_percent(double percent)
{
	return (double)(int64_t)(percent * 10) / 10;
}

static void put_gap(struct screen *screen, const char *separator, const char *what,
		    enum coverage_status status, const char *reason)
{
	if (status == COVERAGE_PROBED)
		return;
	fputs(separator, screen->line);
	screen__paint(screen, PAINT_BAD);
	fprintf(screen->line, "%s %sfollowed", what,
		status == COVERAGE_PARTIAL ? "partly " : "not ");
	screen__paint(screen, PAINT_NONE);
	if (*reason) {
		fputs(": ", screen->line);
		text_put(screen->line, reason);
	}
}

/* Says what is not followed of frames and objects, and why. */
static void put_gaps(struct screen *screen, const struct snap_python *python, const char *separator)
{
	const char *frames = python->frames_reason ? python->frames_reason : "";
	const char *objects = python->objects_reason ? python->objects_reason : "";

	if (python->frames == python->objects && !strcmp(frames, objects)) {
		put_gap(screen, separator, "frames and objects", python->frames, frames);
		return;
	}
	put_gap(screen, separator, "frames", python->frames, frames);
	if (python->frames != COVERAGE_PROBED)
		separator = "; ";
	put_gap(screen, separator, "objects", python->objects, objects);
}

/* Writes "python 3.11.2: inlined, 171+49 sites, coverage 100.0 %". */
static void put_followed(struct screen *screen, const struct snap_proc *proc, bool name_it)
{
	const struct snap_python *python = &proc->python;
	const char *separator = ": ";
	double percent;

	screen__label(screen, "");
	fputs("python", screen->line);
	if (*python->version) {
		fputc(' ', screen->line);
		text_put(screen->line, python->version);
	}
	if (python->alloc_sites || python->free_sites) {
		fprintf(screen->line, "%s%s%" PRIu32 "+%" PRIu32 " sites", separator,
			python->alloc_sites > MANY_SITES ? "inlined, " : "", python->alloc_sites,
			python->free_sites);
		separator = ", ";
	}
	if (python->objects != COVERAGE_SKIPPED && python_coverage__percent(python, &percent)) {
		fprintf(screen->line, "%scoverage %.1f %%", separator, floor_percent(percent));
		separator = ", ";
	}
	if (name_it) {
		fprintf(screen->line, "%sin ", separator);
		process_put(screen->line, proc);
		separator = ", ";
	}
	put_gaps(screen, python, *separator == ',' ? "; " : separator);
	screen__end(screen);
}

static void put_part(struct screen *screen, const char *before, uint64_t bytes, const char *behind)
{
	fputs(before, screen->line);
	screen__size(screen, bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes);
	fputs(behind, screen->line);
}

/* Tells apart what is live, what is older, and what is only kept. */
static void put_memory(struct screen *screen, const struct snap_python *python)
{
	bool was_estimated = screen->estimated;

	if (!python->was_scanned)
		return;
	/* The pools are looked at as they are, whatever the probes sample. */
	screen->estimated = false;
	screen__label(screen, "");
	put_part(screen, "objects: live ", python->live_bytes, " in ");
	screen__count(screen, python->live_cnt, "block");
	if (python->old_cnt)
		put_part(screen, ", of that ", python->old_bytes, " older than the trace");
	put_part(screen, "; kept free by pymalloc ", python->pool_free_bytes, "");
	if (python->arena_bytes)
		put_part(screen, " (arenas ", python->arena_bytes, ")");
	if (python->missed_cnt && python->objects != COVERAGE_SKIPPED) {
		screen__paint(screen, PAINT_BAD);
		put_part(screen, "; NOT SEEN ", python->missed_bytes, " in ");
		screen__count(screen, python->missed_cnt, "block");
		screen__paint(screen, PAINT_NONE);
	}
	if (python->torn_cnt)
		fprintf(screen->line, "; %" PRIu64 " pool%s changed while being read",
			python->torn_cnt, python->torn_cnt == 1 ? "" : "s");
	screen__end(screen);
	screen->estimated = was_estimated;
}

static void put_violations(struct screen *screen, const struct snap_python *python)
{
	if (!python->merge_violations)
		return;
	screen__label(screen, "");
	screen__paint(screen, PAINT_BAD);
	fprintf(screen->line,
		"%" PRIu64 " of its stacks %s Python frames that do not match the native ones",
		python->merge_violations, python->merge_violations == 1 ? "has" : "have");
	screen__paint(screen, PAINT_NONE);
	screen__end(screen);
}

void table_pythons(struct screen *screen, const struct snapshot *snap)
{
	size_t cnt = 0;

	for (size_t i = 0; i < snap->procs.cnt; i++) {
		const struct snap_proc *proc = &snap->procs.items[i];

		if (!proc->python.version || cnt++ >= MAX_PYTHONS_NAMED)
			continue;
		put_followed(screen, proc, snap->procs.cnt > 1);
		put_memory(screen, &proc->python);
		put_violations(screen, &proc->python);
	}
	if (cnt > MAX_PYTHONS_NAMED) {
		screen__label(screen, "");
		fprintf(screen->line, "... and %zu more with Python, listed by --format json",
			cnt - MAX_PYTHONS_NAMED);
		screen__end(screen);
	}
}
