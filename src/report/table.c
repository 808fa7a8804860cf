/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text report, for somebody whose service is dying at night: one screen that says what was
 * seen, what was not, what holds the memory, and what to try next.
 */
#include "report/table.h"

#include <inttypes.h>
#include <string.h>

#include "report/call_line.h"
#include "report/failures.h"
#include "report/render.h"
#include "report/report.h"
#include "util/units.h"

#define ROW_WIDTH 55 /* of the numbers of a row, with the blanks behind them */
#define ROW_WIDTH_DELTA 68
#define PROCESSES_WIDTH 15 /* ", 123 processes" */
#define LEAST_TYPE_WIDTH 16
#define CELL_MAX (UNITS_MAX + 4)

static void read_stack(struct situation *situation, const struct profile *profile,
		       const struct snap_row *row)
{
	struct call begin = profile__begin(profile, row->stack);
	struct call_info call;

	if (!row->cost.live_count && !row->cost.live_bytes)
		return;
	situation->stacks++;
	situation->ends[row->unwind < UNWIND_END_CNT ? row->unwind : UNWIND_BROKEN]++;
	if (!begin.node)
		return;
	if (begin.node != row->stack || begin.idx || begin.in_python)
		situation->folded = true;
	call__read(begin, profile->snap, profile->symbols, &call);
	/* Below a nameless function of an extension module stands the line that called it. */
	if (!call.function && !begin.in_python)
		situation->unnamed_bytes += row->cost.live_bytes;
}

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

		situation->live_rows += profile_row__is_live(row);
		situation->growing_rows += profile_row__is_live(row) && row->delta_bytes > 0;
	}
	for (size_t i = 0; i < snap->rows.cnt; i++)
		read_stack(situation, profile, &snap->rows.items[i]);
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

/* Writes the call that a group goes by, behind `used` columns. */
static int put_group_call(struct screen *screen, const struct profile *profile,
			  const struct profile_row *row, size_t used)
{
	struct call begin = profile__begin(profile, row->row->stack);
	enum profile_group group = profile->opts.group;
	struct call_info call;

	if (!begin.node) {
		fputs("[stack lost]", screen->line);
		return 0;
	}
	call__read(begin, profile->snap, profile->symbols, &call);
	call__reduce(&call, group);
	used += row->procs > 1 ? PROCESSES_WIDTH : 0;
	return screen__call(screen, profile, &call, used, false);
}

/* Writes the type that a group goes by, behind `used` columns. */
static void put_type(struct screen *screen, const struct profile *profile,
		     const struct profile_row *row, size_t used)
{
	const char *type;

	if (row->type == SNAP_NONE) {
		fprintf(screen->line, "(other) %s", layer_name(row->row->layer));
		return;
	}
	type = profile->snap->types.items[row->type];
	used += row->procs > 1 ? PROCESSES_WIDTH : 0;
	if (!screen->columns)
		text_put(screen->line, type);
	else
		text_put_clipped(screen->line, type,
				 screen->columns > used + LEAST_TYPE_WIDTH ? screen->columns - used
									   : LEAST_TYPE_WIDTH);
}

/* Writes what the row is about, behind its numbers. */
static int put_subject(struct screen *screen, const struct profile *profile,
		       const struct profile_row *row)
{
	const struct snap_proc *proc = &profile->snap->procs.items[row->row->proc];
	int err = 0;

	fputs("  ", screen->line);
	switch (profile->opts.group) {
	case GROUP_STACK:
		if (profile->snap->procs.cnt > 1)
			process_put(screen->line, proc);
		if (row->row->layer != LAYER_MALLOC)
			fprintf(screen->line, "%s[%s]", profile->snap->procs.cnt > 1 ? "  " : "",
				layer_name(row->row->layer));
		return 0;
	case GROUP_FUNCTION:
	case GROUP_LINE:
	case GROUP_FILE:
		err = put_group_call(screen, profile, row,
				     profile->has_previous ? ROW_WIDTH_DELTA : ROW_WIDTH);
		break;
	case GROUP_PROCESS:
		process_put(screen->line, proc);
		fputs("  ", screen->line);
		text_put(screen->line, proc->exe);
		return 0;
	case GROUP_CGROUP:
	case GROUP_CONTAINER:
	case GROUP_SERVICE:
		table_group_title(screen, profile, row);
		break;
	case GROUP_TYPE:
		put_type(screen, profile, row, profile->has_previous ? ROW_WIDTH_DELTA : ROW_WIDTH);
		break;
	}
	if (row->procs > 1)
		fprintf(screen->line, ", %" PRIu32 " processes", row->procs);
	return err;
}

static int put_row(struct screen *screen, const struct profile *profile, uint32_t rank,
		   const struct profile_row *row)
{
	char cell[CELL_MAX];
	int err;

	fprintf(screen->line, "%4" PRIu32, rank);
	screen__paint(screen, PAINT_STRONG);
	fprintf(screen->line, "  %10s", size_cell(screen, row->cost.live_bytes, false, cell));
	screen__paint(screen, PAINT_NONE);
	put_share(screen, row->cost.live_bytes, profile->total.live_bytes);
	fprintf(screen->line, "  %7s", count_cell(screen, row->cost.live_count, cell));
	put_ages(screen, row);
	if (profile->has_previous)
		fprintf(screen->line, "  %11s", size_cell(screen, row->delta_bytes, true, cell));
	err = put_subject(screen, profile, row);
	screen__end_whole(screen);
	return err;
}

/* ---- the list ---- */

static void put_heading(struct screen *screen, const struct profile *profile, size_t live_rows)
{
	static const struct {
		const char *noun, *heading;
	} names[] = {
		[GROUP_STACK] = {"stack", "process"},
		[GROUP_FUNCTION] = {"function", "function"},
		[GROUP_PROCESS] = {"process", "process"},
		[GROUP_CGROUP] = {"cgroup", "cgroup"},
		[GROUP_LINE] = {"line", "line"},
		[GROUP_FILE] = {"file", "file"},
		[GROUP_TYPE] = {"type", "type"},
		[GROUP_CONTAINER] = {"group", "container, else service or cgroup"},
		[GROUP_SERVICE] = {"group", "service, else container or cgroup"},
	};
	bool is_process = profile->opts.group == GROUP_PROCESS;
	size_t top = profile->opts.top;

	fputc('\n', screen->out);
	screen__paint(screen, PAINT_STRONG);
	if (top && top < live_rows)
		fprintf(screen->line, "top %zu of ", top);
	fprintf(screen->line, "%zu %s%s", live_rows, names[profile->opts.group].noun,
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
		fprintf(screen->line, "  %s", names[profile->opts.group].heading);
	screen__end_whole(screen);
}

static int put_rows(struct screen *screen, const struct profile *profile,
		    const struct report_opts *opts, const struct situation *situation)
{
	bool by_cgroup = group__is_cgroups(profile->opts.group);
	struct group_top *tops = NULL;
	uint32_t rank = 0;
	int err = by_cgroup ? group__tops(profile, &tops) : 0;

	(void)opts;
	if (err)
		return err;
	put_heading(screen, profile, situation->live_rows);
	for (size_t i = 0; i < profile->rows.cnt && !err; i++) {
		const struct profile_row *row = &profile->rows.items[i];

		if (!profile_row__is_live(row))
			continue;
		if (profile->opts.top && rank == profile->opts.top)
			break;
		err = put_row(screen, profile, ++rank, row);
		if (!err && by_cgroup)
			err = table_group(screen, profile, row, &tops[i]);
		if (err || profile->opts.group != GROUP_STACK)
			continue;
		table_types(screen, profile, row);
		err = table_calls(screen, profile, row->row);
	}
	free(tops);
	return err;
}

int report_table(const struct profile *profile, const struct report_opts *opts, FILE *out)
{
	return table_render(profile, opts, put_rows, out);
}

/* ---- the whole report ---- */

int table_render(const struct profile *profile, const struct report_opts *opts, table_body_fn body,
		 FILE *out)
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
	if (!err)
		err = table_failures(&screen, profile);
	if (!err && !situation.live_rows)
		table_no_rows(&screen, profile, &situation);
	/* Lines of source also tell what was allocated and freed again. */
	if (!err && (situation.live_rows || opts->annotate))
		err = body(&screen, profile, opts, &situation);
	if (!err)
		table_foot(&screen, profile, &situation);
	if (!err && ferror(screen.line))
		err = -ENOMEM;
	screen__destroy(&screen);
	return err ? err : finish_output(out);
}
