/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text report, for somebody whose service is dying at night: one screen that says what was
 * seen, what was not, what holds the memory, and what to try next.
 */
#include "report/table.h"

#include <inttypes.h>
#include <string.h>

#include "report/render.h"
#include "report/report.h"
#include "util/units.h"

#define FRAME_INDENT 6
#define MAX_FRAMES_SHOWN 12
#define MIN_NAME_WIDTH 24
#define ROW_WIDTH 55 /* of the numbers of a row, with the blanks behind them */
#define ROW_WIDTH_DELTA 68
#define CELL_MAX (UNITS_MAX + 4)

void situation__read(struct situation *situation, const struct profile *profile)
{
	const struct snapshot *snap = profile->snap;

	*situation = (struct situation){0};
	for (size_t i = 0; i < snap->procs.cnt; i++) {
		const struct snap_proc *proc = &snap->procs.items[i];

		situation->running += proc->state == PROC_RUNNING;
		situation->exited += proc->state == PROC_EXITED;
		situation->execed += proc->state == PROC_EXECED;
		situation->late += proc->late;
		situation->bare += !proc->coverage.cnt && proc->state == PROC_RUNNING;
		for (size_t j = 0; j < proc->coverage.cnt; j++) {
			enum coverage_status status = proc->coverage.items[j].status;

			situation->probed += status == COVERAGE_PROBED;
			situation->partial += status == COVERAGE_PARTIAL;
			situation->skipped += status == COVERAGE_SKIPPED;
		}
	}
	for (size_t i = 0; i < profile->rows.cnt; i++) {
		const struct profile_row *row = &profile->rows.items[i];

		situation->live_rows += row_is_live(row);
		situation->growing_rows += row_is_live(row) && row->delta_bytes > 0;
	}
	for (size_t i = 0; i < snap->rows.cnt; i++) {
		const struct snap_row *row = &snap->rows.items[i];
		uint32_t leaf = stack_leaf(snap, row->stack);

		if (row->unwind == UNWIND_BROKEN)
			situation->broken_bytes += row->cost.live_bytes;
		if (leaf != SNAP_NONE && !frame_symbol(profile, leaf)->function)
			situation->unnamed_bytes += row->cost.live_bytes;
	}
}

/* ---- one row ---- */

static const char *size_cell(const struct screen *screen, int64_t bytes, bool with_sign,
			     char cell[CELL_MAX])
{
	char buf[UNITS_MAX];

	snprintf(cell, CELL_MAX, "%s%s%s", screen->estimated ? "~" : "",
		 with_sign && bytes > 0 ? "+" : "", format_size(bytes, buf));
	return cell;
}

static const char *count_cell(const struct screen *screen, int64_t count, char cell[CELL_MAX])
{
	char buf[UNITS_MAX];

	snprintf(cell, CELL_MAX, "%s%s", screen->estimated ? "~" : "", format_count(count, buf));
	return cell;
}

static void put_share(struct screen *screen, int64_t bytes, int64_t total)
{
	if (total > 0)
		fprintf(screen->line, "  %5.1f %%", 100.0 * bytes / total);
	else
		fprintf(screen->line, "  %7s", "-");
}

static void put_ages(struct screen *screen, const struct profile_row *row)
{
	char oldest[UNITS_MAX], newest[UNITS_MAX], cell[2 * UNITS_MAX + 4];

	format_duration(row->oldest_ns, oldest);
	format_duration(row->newest_ns, newest);
	if (!row->oldest_ns)
		strcpy(cell, "-");
	else if (!strcmp(oldest, newest))
		strcpy(cell, oldest);
	else
		snprintf(cell, sizeof(cell), "%s - %s", oldest, newest);
	fprintf(screen->line, "  %15s", cell);
}

/*
 * Writes a long name (C++ templates) cut so that, with what stands before and behind it, it fits
 * the line.
 */
static void put_name(struct screen *screen, const char *name, size_t used)
{
	if (!screen->columns)
		text_put(screen->line, name);
	else if (screen->columns > used + MIN_NAME_WIDTH)
		text_put_clipped(screen->line, name, screen->columns - used);
	else
		text_put_clipped(screen->line, name, MIN_NAME_WIDTH);
}

/* Writes the leaf function of a group, with its module, behind `used` columns. */
static void put_function(struct screen *screen, const struct profile *profile,
			 const struct profile_row *row, size_t used)
{
	uint32_t leaf = stack_leaf(profile->snap, row->row->stack);
	const char *module = leaf == SNAP_NONE ? NULL : frame_module(profile->snap, leaf);
	const char *function =
		leaf == SNAP_NONE ? "[stack lost]" : frame_symbol(profile, leaf)->function;

	module = module ? path_basename(module) : NULL;
	/* " (module), 123 processes" */
	used += (module ? text_width(module) + 3 : 0) + (row->procs > 1 ? 15 : 0);
	if (function)
		put_name(screen, function, used);
	else if (module)
		text_put(screen->line, module);
	if (!function) {
		fprintf(screen->line, "%s0x%" PRIx64, module ? "+" : "",
			profile->snap->frames.items[leaf].offset);
	} else if (module) {
		fputs(" (", screen->line);
		text_put(screen->line, module);
		fputc(')', screen->line);
	}
}

static void put_process_name(struct screen *screen, const struct snap_proc *proc)
{
	fprintf(screen->line, "%" PRId32 " ", proc->pid);
	text_put(screen->line, proc->comm);
}

/* Writes what the row is about, behind its numbers. */
static void put_subject(struct screen *screen, const struct profile *profile,
			const struct profile_row *row)
{
	const struct snap_proc *proc = &profile->snap->procs.items[row->row->proc];

	fputs("  ", screen->line);
	switch (profile->opts.group) {
	case GROUP_STACK:
		if (profile->snap->procs.cnt > 1)
			put_process_name(screen, proc);
		if (row->row->layer != LAYER_MALLOC)
			fprintf(screen->line, "%s[%s]", profile->snap->procs.cnt > 1 ? "  " : "",
				layer_name(row->row->layer));
		return;
	case GROUP_FUNCTION:
		put_function(screen, profile, row,
			     profile->has_previous ? ROW_WIDTH_DELTA : ROW_WIDTH);
		break;
	case GROUP_PROCESS:
		put_process_name(screen, proc);
		fputs("  ", screen->line);
		text_put(screen->line, proc->exe);
		return;
	case GROUP_CGROUP:
		text_put(screen->line, *proc->cgroup ? proc->cgroup : "[no cgroup]");
		break;
	}
	if (row->procs > 1)
		fprintf(screen->line, ", %" PRIu32 " processes", row->procs);
}

static void put_row(struct screen *screen, const struct profile *profile, uint32_t rank,
		    const struct profile_row *row)
{
	char cell[CELL_MAX];

	fprintf(screen->line, "%4" PRIu32, rank);
	screen__paint(screen, PAINT_STRONG);
	fprintf(screen->line, "  %10s", size_cell(screen, row->cost.live_bytes, false, cell));
	screen__paint(screen, PAINT_NONE);
	put_share(screen, row->cost.live_bytes, profile->total.live_bytes);
	fprintf(screen->line, "  %7s", count_cell(screen, row->cost.live_count, cell));
	put_ages(screen, row);
	if (profile->has_previous)
		fprintf(screen->line, "  %11s", size_cell(screen, row->delta_bytes, true, cell));
	put_subject(screen, profile, row);
	screen__end_whole(screen);
}

/* ---- the frames below a row ---- */

/* Returns the owned part behind a frame's name, NULL without memory. Raw: it may hold anything. */
static char *frame_place(const struct profile *profile, uint32_t frame)
{
	const struct symbol *symbol = frame_symbol(profile, frame);
	const char *module = frame_module(profile->snap, frame);
	const char *why = symbol_reason__text(symbol->reason);
	uint64_t offset = profile->snap->frames.items[frame].offset;
	char *place = NULL;
	int len;

	if (!symbol->function)
		len = asprintf(&place, "%s0x%" PRIx64 " [%.*s]", module ? "+" : "", offset,
			       (int)strcspn(why, ":"), why);
	else if (symbol->file && symbol->line)
		len = asprintf(&place, "+0x%" PRIx64 " (%s)  %s:%" PRIu32, symbol->function_offset,
			       module ? path_basename(module) : "?", symbol->file, symbol->line);
	else
		len = asprintf(&place, "+0x%" PRIx64 " (%s)%s%s", symbol->function_offset,
			       module ? path_basename(module) : "?", symbol->file ? "  " : "",
			       symbol->file ? symbol->file : "");
	return len < 0 ? NULL : place;
}

/* Writes a frame on one line; a long name (C++ templates) gives way to the place. */
static int put_frame(struct screen *screen, const struct profile *profile, uint32_t frame)
{
	const char *name = frame_symbol(profile, frame)->function;
	const char *module = frame_module(profile->snap, frame);
	char *place = frame_place(profile, frame);

	if (!place)
		return -ENOMEM;
	if (!name)
		name = module ? path_basename(module) : "";
	fprintf(screen->line, "%*s", FRAME_INDENT, "");
	put_name(screen, name, FRAME_INDENT + text_width(place));
	screen__paint(screen, PAINT_WEAK);
	text_put(screen->line, place);
	screen__paint(screen, PAINT_NONE);
	screen__end_whole(screen);
	free(place);
	return 0;
}

static const char *unwind_remark(unsigned int unwind)
{
	switch (unwind) {
	case UNWIND_LOST:
		return "stack lost: there was no room for it";
	case UNWIND_TRUNCATED:
		return "stack truncated: its outer callers are deeper than can be kept";
	case UNWIND_BROKEN:
		return "stack broken off: the next caller was built without frame pointers";
	default:
		return NULL;
	}
}

static int put_frames(struct screen *screen, const struct profile *profile,
		      const struct snap_row *row)
{
	const struct snapshot *snap = profile->snap;
	const char *remark = unwind_remark(row->unwind);
	size_t depth = 0, shown = 0;
	int err = 0;

	for (uint32_t node = row->stack; node; node = snap->nodes.items[node].parent)
		depth++;
	for (uint32_t node = row->stack; node && !err; node = snap->nodes.items[node].parent) {
		/* A line saying "1 more frame" would take the line of that frame. */
		if (shown == MAX_FRAMES_SHOWN && depth > MAX_FRAMES_SHOWN + 1) {
			fprintf(screen->out, "%*s... %zu more frames\n", FRAME_INDENT, "",
				depth - shown);
			break;
		}
		err = put_frame(screen, profile, snap->nodes.items[node].frame);
		shown++;
	}
	if (remark)
		fprintf(screen->out, "%*s-- %s\n", FRAME_INDENT, "", remark);
	return err;
}

/* ---- the list ---- */

static void put_heading(struct screen *screen, const struct profile *profile, size_t live_rows)
{
	static const char *const nouns[] = {
		[GROUP_STACK] = "stack",
		[GROUP_FUNCTION] = "function",
		[GROUP_PROCESS] = "process",
		[GROUP_CGROUP] = "cgroup",
	};
	bool is_process = profile->opts.group == GROUP_PROCESS;
	size_t top = profile->opts.top;

	fputc('\n', screen->out);
	screen__paint(screen, PAINT_STRONG);
	if (top && top < live_rows)
		fprintf(screen->line, "top %zu of ", top);
	fprintf(screen->line, "%zu %s%s", live_rows, nouns[profile->opts.group],
		live_rows == 1 ? ""
		: is_process   ? "es"
			       : "s");
	fprintf(screen->line, " with live memory, by %s",
		profile->opts.sort == SORT_COUNT ? "live blocks"
		: profile->opts.sort == SORT_GROWTH && profile->has_previous
			? "growth since the last interval"
			: "live bytes");
	screen__paint(screen, PAINT_NONE);
	screen__end(screen);
	fprintf(screen->line, "%4s  %10s  %7s  %7s  %15s", "#", "live", "share", "blocks",
		"age old - new");
	if (profile->has_previous)
		fprintf(screen->line, "  %11s", "change");
	if (profile->opts.group != GROUP_STACK || profile->snap->procs.cnt > 1)
		fprintf(screen->line, "  %s",
			profile->opts.group == GROUP_STACK ? "process"
							   : nouns[profile->opts.group]);
	screen__end_whole(screen);
}

static int put_rows(struct screen *screen, const struct profile *profile, size_t live_rows)
{
	uint32_t rank = 0;
	int err = 0;

	put_heading(screen, profile, live_rows);
	for (size_t i = 0; i < profile->rows.cnt && !err; i++) {
		const struct profile_row *row = &profile->rows.items[i];

		if (!row_is_live(row))
			continue;
		if (profile->opts.top && rank == profile->opts.top)
			break;
		put_row(screen, profile, ++rank, row);
		if (profile->opts.group == GROUP_STACK)
			err = put_frames(screen, profile, row->row);
	}
	return err;
}

int report_table(const struct profile *profile, const struct report_opts *opts, FILE *out)
{
	const struct snapshot *snap = profile->snap;
	struct situation situation;
	struct screen screen;
	int err;

	err = screen__init(&screen, out, opts->columns, opts->color,
			   snap->estimated || snap->sample_bytes);
	if (err)
		return err;
	situation__read(&situation, profile);
	err = table_head(&screen, profile, &situation);
	if (!err && situation.live_rows)
		err = put_rows(&screen, profile, situation.live_rows);
	else if (!err)
		table_no_rows(&screen, profile, &situation);
	if (!err)
		table_next(&screen, profile, &situation);
	if (!err && ferror(screen.line))
		err = -ENOMEM;
	screen__destroy(&screen);
	return err ? err : finish_output(out);
}
