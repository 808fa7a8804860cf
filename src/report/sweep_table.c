/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sweep for people: a table when something grows, else one line. */
#include "report/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "model/kept_code.h"
#include "report/render.h"
#include "report/sweep_code.h"
#include "report/sweep_memory.h"
#include "report/sweep_oom.h"
#include "report/table.h"
#include "util/clock.h"
#include "util/units.h"

#define COMM_WIDTH 16
#define SHARED 1.01  /* so many times its own growth is that of others, too */
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

static void put_host(struct screen *screen, const struct sweep *sweep)
{
	const struct snap_overhead *overhead = &sweep->snap->overhead;
	char buf[UNITS_MAX];

	screen__label(screen, "host");
	fprintf(screen->line, "%s of memory available", format_bytes(sweep->available_bytes, buf));
	fprintf(screen->line,
		" of %s; watched %" PRIu64 " process%s in %" PRIu64 " control group%s",
		format_bytes(sweep->ram_bytes, buf), sweep->processes,
		sweep->processes == 1 ? "" : "es", sweep->groups, sweep->groups == 1 ? "" : "s");
	if (sweep->left_out)
		fprintf(screen->line, ", %" PRIu64 " more are too many to watch", sweep->left_out);
	fprintf(screen->line, "; leaksweep itself %.2f %% of one CPU and %s",
		overhead->tool_cpu_percent, format_bytes(overhead->tool_bytes, buf));
	if (sweep->budget_percent > 0)
		fprintf(screen->line,
			"; with probes %.2f of %.4g %% of each CPU in the last minute",
			sweep->spent_percent, sweep->budget_percent);
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
		fputs(sweep->suppressed_rows ? "no others" : "there are no processes",
		      screen->line);
	if (sweep->suppressed_rows)
		fprintf(screen->line, "; %" PRIu64 " that grow%s suppressed",
			sweep->suppressed_rows, sweep->suppressed_rows == 1 ? "s is" : " are");
	if (sweep->suppressed_stacks)
		fprintf(screen->line, "; %" PRIu64 " stack%s suppressed", sweep->suppressed_stacks,
			sweep->suppressed_stacks == 1 ? "" : "s");
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
	fprintf(screen->line, "room %s", format_bytes(row->room_bytes, buf));
	fprintf(screen->line, " to %s of ", format_bytes(row->limit_bytes, buf));
	text_put(screen->line, *row->limit_cgroup ? row->limit_cgroup : "the host");
	if (row->limit_per_hour > SHARED * row->growth.bytes_per_hour)
		fprintf(screen->line, ", shared with others that grow: %s per hour in all",
			format_bytes(row->limit_per_hour, buf));
	fprintf(screen->line, "; seen for %s", format_duration(row->growth.seen_ns, buf));
	screen__end(screen);
}

static int put_row(struct screen *screen, const struct profile *profile,
		   const struct sweep_row *row, size_t nr)
{
	char rate[UNITS_MAX], lower[UNITS_MAX], anon[UNITS_MAX];
	int err;

	fprintf(screen->line, "%4zu  %10s  %10s  %10s  ", nr,
		format_bytes(row->growth.bytes_per_hour, rate),
		format_bytes(row->growth.lower > 0 ? row->growth.lower : 0, lower),
		format_bytes(row->anon_bytes, anon));
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
	if (!row->pid)
		sweep_put_shmem(screen, row);
	sweep_put_group_ledger(screen, &row->ledger);
	err = row->code ? sweep_put_code(screen, profile, row) : 0;
	return !err && row->kept ? sweep_put_kept(screen, row) : err;
}

static size_t shown_rows(const struct sweep *sweep, size_t top)
{
	return top && top < sweep->rows.cnt ? top : sweep->rows.cnt;
}

static int put_rows(struct screen *screen, const struct sweep *sweep, size_t top)
{
	const struct profile_opts opts = {.group = GROUP_STACK};
	struct profile *profile = profile__new(sweep->snap, sweep->symbols, &opts, NULL);
	size_t shown = shown_rows(sweep, top);
	int err = 0;

	if (!profile)
		return -ENOMEM;
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
	for (size_t i = 0; i < shown && !err; i++)
		err = put_row(screen, profile, &sweep->rows.items[i], i + 1);
	fputc('\n', screen->out);
	profile__free(profile);
	return err;
}

/* The process to look at next: the first shown one that has a stack that grows, else the first. */
static const struct sweep_row *next_process(const struct sweep *sweep, size_t top)
{
	const struct sweep_row *first = NULL;

	for (size_t i = 0; i < sweep->rows.cnt; i++) {
		const struct sweep_row *row = &sweep->rows.items[i];

		if (row->pid && i < shown_rows(sweep, top) && sweep_code__growing(row->code))
			return row;
		if (row->pid && !first)
			first = row;
	}
	return first;
}

/* Whether a shell takes a path for a word: whoever names a group could name it after a command. */
static bool is_word(const char *path)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789_./:@-";

	return strspn(path, plain) == strlen(path);
}

static bool has_stacks(const struct sweep_code *code)
{
	return code && (code->sites.cnt || code->touches.cnt);
}

/* Whether stacks are known of a row that is shown, those before a restart included. */
static bool knows_stacks(const struct sweep *sweep, size_t top)
{
	for (size_t i = 0; i < shown_rows(sweep, top); i++) {
		const struct sweep_row *row = &sweep->rows.items[i];

		if (has_stacks(row->code) || (row->kept && has_stacks(row->kept->code)))
			return true;
	}
	return false;
}

static void put_next(struct screen *screen, const struct sweep *sweep, size_t top)
{
	const struct sweep_row *row = next_process(sweep, top);
	bool has_code = row && row->code, is_known = knows_stacks(sweep, top);
	const char *path;

	screen__label(screen, "next");
	if (!row && sweep_row__is_shmem(&sweep->rows.items[0])) {
		fputs("`ls -l /dev/shm`, `ipcs -m` and `df -a -t tmpfs`, in the group's container "
		      "if it is one, tell what there is",
		      screen->line);
		screen__end(screen);
		return;
	}
	if (!has_code && !is_known)
		fputs("this view tells no stacks: ", screen->line);
	fputs("`leaksweep trace ", screen->line);
	if (row) {
		fprintf(screen->line, "-p %d", (int)row->pid);
	} else {
		path = sweep->rows.items[0].cgroup;
		fprintf(screen->line, "--cgroup %s", is_word(path) ? path : "PATH");
	}
	fputs(" --duration 60s` ", screen->line);
	fputs(has_code ? "counts every block of it, which makes it slower meanwhile"
		       : "tells which code keeps the memory",
	      screen->line);
	if (is_known)
		fputs("; --format json has all stacks and their evidence", screen->line);
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
	fprintf(screen->line, "; %s of memory available",
		format_bytes(sweep->available_bytes, size));
	screen__end_whole(screen);
}

static int put_report(struct screen *screen, const struct sweep *sweep, size_t top)
{
	int err = 0;

	table_title(screen, sweep->snap);
	put_host(screen, sweep);
	table_notes(screen, sweep->snap);
	if (sweep->rows.cnt)
		err = put_rows(screen, sweep, top);
	screen__label(screen, sweep->rows.cnt ? "others" : "growing");
	if (!sweep->rows.cnt)
		fputs(sweep__is_too_early(sweep) ? "not known yet: " : "nothing: ", screen->line);
	put_states(screen, sweep);
	screen__end(screen);
	if (sweep->rows.cnt)
		put_next(screen, sweep, top);
	return err;
}

int report_sweep_table(const struct sweep *sweep, const struct sweep_report_opts *opts, FILE *out)
{
	struct screen screen;
	int err;

	err = screen__init(&screen, out, opts->screen.columns, opts->screen.color, false);
	if (err)
		return err;
	err = sweep_put_ooms(&screen, sweep, opts->top);
	if (!err && opts->brief && !sweep->rows.cnt && !sweep->is_event)
		put_brief(&screen, sweep);
	else if (!err && !sweep->is_event)
		err = put_report(&screen, sweep, opts->top);
	screen__destroy(&screen);
	return err ? err : finish_output(out);
}
