/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sweep for people: a table when something grows, else one line. */
#include "report/sweep.h"

#include <inttypes.h>
#include <string.h>

#include "report/render.h"
#include "report/table.h"
#include "util/clock.h"
#include "util/units.h"

#define COMM_WIDTH 16
#define SOON_S 86400 /* a limit that is reached within a day is marked */

static const struct {
	const char *name;
	sweep_report_fn render;
} formats[] = {
	{"table", report_sweep_table},
	{"json", report_sweep_json},
};

sweep_report_fn sweep_report__by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!strcmp(formats[i].name, name))
			return formats[i].render;
	return NULL;
}

static const char *size_of(double bytes, char buf[static UNITS_MAX])
{
	return format_size(bytes < 0x1p62 ? (int64_t)bytes : INT64_MAX, buf);
}

static void put_host(struct screen *screen, const struct sweep *sweep)
{
	const struct snap_overhead *overhead = &sweep->snap->overhead;
	char buf[UNITS_MAX];

	screen__label(screen, "host");
	fprintf(screen->line, "%s of memory available", size_of(sweep->available_bytes, buf));
	fprintf(screen->line,
		" of %s; watched %" PRIu64 " process%s in %" PRIu64 " control group%s",
		size_of(sweep->ram_bytes, buf), sweep->processes, sweep->processes == 1 ? "" : "es",
		sweep->groups, sweep->groups == 1 ? "" : "s");
	if (sweep->left_out)
		fprintf(screen->line, ", %" PRIu64 " more are too many to watch", sweep->left_out);
	fprintf(screen->line, "; leaksweep itself %.2f %% of one CPU and %s",
		overhead->tool_cpu_percent, size_of(overhead->tool_bytes, buf));
	screen__end(screen);
}

/* "990 flat, 3 warming up, 12 too early to tell" */
static void put_states(struct screen *screen, const struct sweep *sweep)
{
	static const struct {
		enum growth_state state;
		const char *text;
	} order[] = {
		{GROWTH_FLAT, "flat or up and down"},
		{GROWTH_WARMING, "warming up"},
		{GROWTH_SHRINKING, "shrinking"},
		{GROWTH_TOO_EARLY, "too early to tell"},
	};
	const char *separator = "";

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (!sweep->states[order[i].state])
			continue;
		fprintf(screen->line, "%s%" PRIu64 " %s", separator, sweep->states[order[i].state],
			order[i].text);
		separator = ", ";
	}
	if (!*separator)
		fputs("there are no processes", screen->line);
}

static void put_limit(struct screen *screen, const struct sweep_row *row)
{
	char buf[UNITS_MAX];
	bool is_soon = row->seconds_to_limit < SOON_S;

	if (row->seconds_to_limit == UINT64_MAX) {
		fputs("        -", screen->line);
		return;
	}
	if (is_soon)
		screen__paint(screen, PAINT_BAD);
	fprintf(screen->line, "%9s",
		row->seconds_to_limit ? format_duration(row->seconds_to_limit * NS_PER_SEC, buf)
				      : "now");
	if (is_soon)
		screen__paint(screen, PAINT_NONE);
}

/* Below a row: whose it is, and what its limit is. */
static void put_whose(struct screen *screen, const struct sweep_row *row)
{
	char buf[UNITS_MAX];

	fprintf(screen->line, "%*s", SCREEN_INDENT, "");
	if (*row->title) {
		text_put(screen->line, row->title);
		if (*row->runtime) {
			fputs("  (", screen->line);
			text_put(screen->line, row->runtime);
			fputc(')', screen->line);
		}
		fputs("; ", screen->line);
	}
	if (row->restarts)
		fprintf(screen->line, "%" PRIu32 " restart%s; ", row->restarts,
			row->restarts == 1 ? "" : "s");
	fprintf(screen->line, "room %s", size_of(row->room_bytes, buf));
	fprintf(screen->line, " to %s of ", size_of(row->limit_bytes, buf));
	text_put(screen->line, *row->limit_cgroup ? row->limit_cgroup : "the host");
	fprintf(screen->line, "; seen for %s", format_duration(row->growth.seen_ns, buf));
	screen__end(screen);
}

static void put_row(struct screen *screen, const struct sweep_row *row, size_t nr)
{
	char rate[UNITS_MAX], lower[UNITS_MAX], anon[UNITS_MAX];

	fprintf(screen->line, "%4zu  %10s  %10s  %10s  ", nr,
		size_of(row->growth.bytes_per_hour, rate),
		size_of(row->growth.lower > 0 ? row->growth.lower : 0, lower),
		size_of(row->anon_bytes, anon));
	put_limit(screen, row);
	if (row->pid)
		fprintf(screen->line, "  %7d  ", (int)row->pid);
	else
		fprintf(screen->line, "  %7s  ", "-");
	screen__paint(screen, PAINT_STRONG);
	text_put(screen->line, row->pid ? row->comm : "control group");
	screen__paint(screen, PAINT_NONE);
	screen__end_whole(screen);
	put_whose(screen, row);
}

static void put_rows(struct screen *screen, const struct sweep *sweep, size_t top)
{
	size_t shown = top && top < sweep->rows.cnt ? top : sweep->rows.cnt;

	fputc('\n', screen->out);
	if (shown < sweep->rows.cnt)
		fprintf(screen->line, "top %zu of %zu that grow, by bytes per hour", shown,
			sweep->rows.cnt);
	else
		fprintf(screen->line, "%zu grow%s, by bytes per hour", sweep->rows.cnt,
			sweep->rows.cnt == 1 ? "s" : "");
	screen__end(screen);
	fputs("   #    per hour    at least   anonymous  at limit      PID  command", screen->line);
	screen__end_whole(screen);
	for (size_t i = 0; i < shown; i++)
		put_row(screen, &sweep->rows.items[i], i + 1);
	fputc('\n', screen->out);
}

static const struct sweep_row *first_process(const struct sweep *sweep)
{
	for (size_t i = 0; i < sweep->rows.cnt; i++)
		if (sweep->rows.items[i].pid)
			return &sweep->rows.items[i];
	return NULL;
}

/* Whether a shell takes a path for a word: whoever names a group could name it after a command. */
static bool is_word(const char *path)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789_./:@-";

	return strspn(path, plain) == strlen(path);
}

static void put_next(struct screen *screen, const struct sweep *sweep)
{
	const struct sweep_row *row = first_process(sweep);
	const char *path;

	screen__label(screen, "next");
	fputs("this view tells no stacks: `leaksweep trace ", screen->line);
	if (row) {
		fprintf(screen->line, "-p %d", (int)row->pid);
	} else {
		path = sweep->rows.items[0].cgroup;
		fprintf(screen->line, "--cgroup %s", is_word(path) ? path : "PATH");
	}
	fputs(" --duration 60s` tells which code keeps the memory", screen->line);
	screen__end(screen);
}

/* "2026-01-01T12:30:05Z  nothing grows: 1003 flat; 19.9 GiB available" */
static void put_brief(struct screen *screen, const struct sweep *sweep)
{
	const struct snapshot *snap = sweep->snap;
	char buf[RFC3339_MAX], size[UNITS_MAX];

	fprintf(screen->line,
		"%s  %s: ", format_rfc3339(snap->started_at_ns + snap->duration_ns, false, buf),
		sweep__is_too_early(sweep) ? "not known yet" : "nothing grows");
	put_states(screen, sweep);
	fprintf(screen->line, "; %s of memory available", size_of(sweep->available_bytes, size));
	screen__end_whole(screen);
}

int report_sweep_table(const struct sweep *sweep, const struct sweep_report_opts *opts, FILE *out)
{
	struct screen screen;
	int err;

	err = screen__init(&screen, out, opts->screen.columns, opts->screen.color, false);
	if (err)
		return err;
	if (opts->brief && !sweep->rows.cnt) {
		put_brief(&screen, sweep);
	} else {
		table_title(&screen, sweep->snap);
		put_host(&screen, sweep);
		if (sweep->rows.cnt)
			put_rows(&screen, sweep, opts->top);
		screen__label(&screen, sweep->rows.cnt ? "others" : "growing");
		if (!sweep->rows.cnt)
			fputs(sweep__is_too_early(sweep) ? "not known yet: " : "nothing: ",
			      screen.line);
		put_states(&screen, sweep);
		screen__end(&screen);
		if (sweep->rows.cnt)
			put_next(&screen, sweep);
	}
	screen__destroy(&screen);
	return finish_output(out);
}
