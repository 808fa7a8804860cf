/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups in the text report. */
#include "report/table.h"

#include <inttypes.h>
#include <string.h>

#include "report/call_line.h"
#include "report/render.h"
#include "util/clock.h"
#include "util/units.h"

#define GROUP_INDENT 6
#define LABEL_WIDTH 8
#define SHARE_WIDTH 7 /* "100 %  " */

static void put_label(struct screen *screen, const char *label)
{
	fprintf(screen->line, "%*s%-*s", GROUP_INDENT, "", LABEL_WIDTH, label);
}

/* The kernel's numbers are exact when ours are estimated. */
static void put_bytes(struct screen *screen, uint64_t bytes)
{
	char buf[UNITS_MAX];

	fputs(format_size(bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes, buf), screen->line);
}

static unsigned int percent_of(uint64_t part, uint64_t whole)
{
	return 100.0 * part / whole + 0.5;
}

void table_group_title(struct screen *screen, const struct profile *profile,
		       const struct profile_row *row)
{
	const struct snapshot *snap = profile->snap;
	uint32_t proc = row->row->proc, group = snap->procs.items[proc].group;
	const char *title = group__title(snap, proc, profile->opts.group);
	const struct snap_group *names;

	text_put(screen->line, title);
	if (group == SNAP_NONE)
		return;
	names = &snap->groups.items[group];
	if (profile->opts.group == GROUP_CGROUP && *names->title && strcmp(names->title, title)) {
		fputs("  ", screen->line);
		text_put(screen->line, names->title);
	}
	if (group__name(snap, proc, profile->opts.group).kind == NAME_SERVICE || !*names->runtime)
		return;
	fputs("  (", screen->line);
	text_put(screen->line, names->runtime);
	if (*names->image) {
		fputc(' ', screen->line);
		text_put(screen->line, names->image);
	}
	fputc(')', screen->line);
}

/* Page cache can fill a group to its limit and harms nobody. */
static void put_percents(struct screen *screen, const struct snap_group *group)
{
	unsigned int all = percent_of(group->usage_bytes, group->limit_bytes),
		     used = percent_of(snap_group__used_bytes(group), group->limit_bytes);

	fprintf(screen->line, " (%u %%", all);
	if (used != all)
		fprintf(screen->line, ", without page cache %u %%", used);
	fputc(')', screen->line);
}

static void put_memory(struct screen *screen, const struct snap_group *group)
{
	if (!group->is_measured)
		return;
	put_label(screen, "memory");
	put_bytes(screen, group->anon_bytes);
	fputs(" anonymous, ", screen->line);
	put_bytes(screen, group->file_bytes);
	fputs(" of files; ", screen->line);
	if (group->limit_bytes) {
		put_bytes(screen, group->usage_bytes);
		fputs(" used of the limit of ", screen->line);
		put_bytes(screen, group->limit_bytes);
		if (*group->limit_path) {
			fputs(" of ", screen->line);
			text_put(screen->line, group->limit_path);
		}
		put_percents(screen, group);
	} else {
		fputs("no limit", screen->line);
	}
	screen__end(screen);
}

static void put_shared_growth(struct screen *screen, double per_min)
{
	fputs(", ", screen->line);
	if (per_min >= GROUP_LEAST_GROWTH)
		put_bytes(screen, per_min);
	else
		fputs("none", screen->line);
	fputs(" of all that share the limit", screen->line);
}

static void put_growth(struct screen *screen, const struct snap_group *group)
{
	char buf[UNITS_MAX];
	uint64_t seconds;

	if (!snap_group__is_growing(group))
		return;
	put_label(screen, "growth");
	put_bytes(screen, group->growth_per_min);
	fprintf(screen->line, " a minute over %s", format_duration(group->measured_ns, buf));
	if (group->limit_bytes && *group->limit_path)
		put_shared_growth(screen, group->limit_growth_per_min);
	if (snap_group__seconds_to_limit(group, &seconds)) {
		screen__paint(screen, PAINT_BAD);
		if (seconds)
			fprintf(screen->line, ", at its limit in %s",
				format_duration(seconds * NS_PER_SEC, buf));
		else
			fputs(", at its limit", screen->line);
		screen__paint(screen, PAINT_NONE);
	}
	screen__end(screen);
}

static void put_losses(struct screen *screen, const struct snap_group *group)
{
	const char *cure = group->lost_blocks ? "--max-blocks" : "--max-stacks";
	char buf[UNITS_MAX];

	if (!snap_group__has_losses(group))
		return;
	put_label(screen, "lost");
	screen__paint(screen, PAINT_BAD);
	if (group->lost_blocks) {
		fprintf(screen->line, "%s block%s (", format_count(group->lost_blocks, buf),
			group->lost_blocks == 1 ? "" : "s");
		put_bytes(screen, group->lost_bytes);
		fputs(") not followed", screen->line);
	}
	if (group->lost_stacks)
		fprintf(screen->line, "%s%s block%s stack", group->lost_blocks ? ", " : "",
			format_count(group->lost_stacks, buf),
			group->lost_stacks == 1 ? " counted without its"
						: "s counted without their");
	screen__paint(screen, PAINT_NONE);
	fputs(*group->lost_path ? ": all of " : ": it", screen->line);
	text_put(screen->line, group->lost_path);
	fprintf(screen->line, " has had its share of the tables (%s)", cure);
	screen__end(screen);
}

static int put_top(struct screen *screen, const struct profile *profile,
		   const struct profile_row *row, const struct group_top *top)
{
	struct call_info call;
	struct call begin;
	int err = 0;

	if (!top->row || row->cost.live_bytes <= 0)
		return 0;
	put_label(screen, "most");
	fprintf(screen->line, "%3u %%  ", percent_of(top->live_bytes, row->cost.live_bytes));
	begin = profile__begin(profile, top->row->stack);
	if (begin.node) {
		call__read(begin, profile->snap, profile->symbols, &call);
		err = screen__call(screen, profile, &call, GROUP_INDENT + LABEL_WIDTH + SHARE_WIDTH,
				   true);
	} else {
		fputs("[stack lost]", screen->line);
	}
	screen__end_whole(screen);
	return err;
}

int table_group(struct screen *screen, const struct profile *profile, const struct profile_row *row,
		const struct group_top *top)
{
	struct snap_group sum;

	if (group__sum(profile->snap, row->row->proc, profile->opts.group, &sum)) {
		put_memory(screen, &sum);
		put_growth(screen, &sum);
		put_losses(screen, &sum);
	}
	return put_top(screen, profile, row, top);
}
