/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls below a row of the text report, and what is to be said of stacks as a whole. */
#include "report/table.h"

#include <inttypes.h>
#include <string.h>

#include "report/call_line.h"
#include "report/render.h"
#include "util/units.h"

#define CALL_INDENT 6
#define MAX_CALLS_SHOWN 12
#define MAX_TYPES_SHOWN 4
#define MAX_TYPE_WIDTH 40
#define LEAST_TYPE_WIDTH 16
#define REST_WIDTH 20 /* of ", 62 % " and ", 38 % other" */

/* Steps over a call and those right above it that are the same one (recursion). Returns the caller
 * behind them. */
static struct call skip_repeats(const struct profile *profile, struct call call, size_t *ret_times)
{
	const struct snapshot *snap = profile->snap;
	struct call next = profile__next(profile, call);

	*ret_times = 1;
	while (next.node && next.idx == call.idx &&
	       snap->nodes.items[next.node].frame == snap->nodes.items[call.node].frame) {
		next = profile__next(profile, next);
		++*ret_times;
	}
	return next;
}

static size_t count_lines(const struct profile *profile, struct call call)
{
	size_t cnt = 0, times;

	for (; call.node; call = skip_repeats(profile, call, &times))
		cnt++;
	return cnt;
}

static void put_end(struct screen *screen, unsigned int unwind)
{
	if (unwind == UNWIND_COMPLETE)
		return;
	screen__paint(screen, PAINT_WEAK);
	fprintf(screen->line, "%*s-- %s: %s", CALL_INDENT, "",
		unwind == UNWIND_LOST	     ? "stack lost"
		: unwind == UNWIND_TRUNCATED ? "further callers left out"
					     : "further callers not known",
		unwind_reason(unwind));
	screen__paint(screen, PAINT_NONE);
	screen__end_whole(screen);
}

int table_stack(struct screen *screen, const struct profile *profile, uint32_t stack, int indent,
		size_t max)
{
	struct call call = profile__begin(profile, stack), next;
	size_t left = count_lines(profile, call), shown = 0, times;
	char buf[UNITS_MAX], repeats[UNITS_MAX + 16];
	struct call_info info;
	int err = 0;

	for (; call.node && !err; call = next) {
		next = skip_repeats(profile, call, &times);
		fprintf(screen->line, "%*s", indent, "");
		/* A line saying "1 more call" would take the line of that call. */
		if (shown++ == max && left > 1) {
			fprintf(screen->line, "... %zu more calls", left);
			screen__end_whole(screen);
			break;
		}
		*repeats = '\0';
		if (times > 1)
			snprintf(repeats, sizeof(repeats), "  (%s times)",
				 format_count(times, buf));
		call__read(call, profile->snap, profile->symbols, &info);
		err = screen__call(screen, profile, &info, indent + strlen(repeats), true);
		fputs(repeats, screen->line);
		screen__end_whole(screen);
		left--;
	}
	return err;
}

int table_calls(struct screen *screen, const struct profile *profile, const struct snap_row *row)
{
	int err = table_stack(screen, profile, row->stack, CALL_INDENT, MAX_CALLS_SHOWN);

	put_end(screen, row->unwind);
	return err;
}

/* ---- types ---- */

static unsigned int percent_of(int64_t bytes, int64_t total)
{
	return 100.0 * bytes / total + 0.5;
}

/* Returns the columns that a type's name may take behind `used` others: what does not fit belongs
 * to "other". 0 = it has no place. */
static size_t type_room(const struct screen *screen, const char *type, size_t used, bool is_first)
{
	size_t width = text_width(type), room = MAX_TYPE_WIDTH;

	if (screen->columns && screen->columns < used + room + REST_WIDTH)
		room = screen->columns > used + REST_WIDTH ? screen->columns - used - REST_WIDTH
							   : 0;
	if (is_first && room < LEAST_TYPE_WIDTH)
		room = LEAST_TYPE_WIDTH;
	return is_first || room == MAX_TYPE_WIDTH || width <= room ? room : 0;
}

void table_types(struct screen *screen, const struct profile *profile,
		 const struct profile_row *row)
{
	int64_t total = row->cost.live_bytes, rest = total;
	size_t used = CALL_INDENT;
	bool is_first = true;

	if (!row->type_cnt || total <= 0)
		return;
	fprintf(screen->line, "%*s", CALL_INDENT, "");
	screen__paint(screen, PAINT_WEAK);
	for (uint32_t i = 0; i < row->type_cnt && i < MAX_TYPES_SHOWN; i++) {
		const struct snap_type_share *share =
			&profile->type_shares.items[row->first_type + i];
		const char *type = profile->snap->types.items[share->type];
		size_t room = type_room(screen, type, used, is_first), width = text_width(type);

		if (share->bytes <= 0 || !percent_of(share->bytes, total) || !room)
			break;
		used += fprintf(screen->line, "%s%u %% ", is_first ? "" : ", ",
				percent_of(share->bytes, total));
		text_put_clipped(screen->line, type, room);
		used += width < room ? width : room;
		rest -= share->bytes;
		is_first = false;
	}
	if (rest > 0 && (is_first || percent_of(rest, total)))
		fprintf(screen->line, "%s%u %% other", is_first ? "" : ", ",
			percent_of(rest, total));
	screen__paint(screen, PAINT_NONE);
	screen__end_whole(screen);
}

/* ---- below the list ---- */

/* Names how many stacks end how, in one line. */
static void put_ends(struct screen *screen, const struct situation *situation)
{
	size_t incomplete = situation->stacks - situation->ends[UNWIND_COMPLETE];
	const char *separator = ": ";

	if (!incomplete)
		return;
	screen__label(screen, "stacks");
	fprintf(screen->line, "%zu of %zu %s not complete", incomplete, situation->stacks,
		incomplete == 1 ? "is" : "are");
	for (unsigned int end = 0; end < UNWIND_END_CNT; end++) {
		if (end == UNWIND_COMPLETE || !situation->ends[end])
			continue;
		fprintf(screen->line, "%s%s (%zu)", separator, unwind_reason(end),
			situation->ends[end]);
		separator = ", ";
	}
	screen__end(screen);
}

/* Says which rows of a grouping by source go by their function. */
static void put_without_source(struct screen *screen, const struct profile *profile)
{
	enum profile_group group = profile->opts.group;
	const char *what = group == GROUP_LINE ? "line" : "file";
	struct call_info info;
	int64_t bytes = 0;
	size_t cnt = 0;

	for (size_t i = 0; i < profile->rows.cnt; i++) {
		const struct profile_row *row = &profile->rows.items[i];
		struct call begin = profile__begin(profile, row->row->stack);

		if (!begin.node || !profile_row__is_live(row))
			continue;
		call__read(begin, profile->snap, profile->symbols, &info);
		if (info.is_python || call__has_source(&info, group))
			continue;
		bytes += row->cost.live_bytes;
		cnt++;
	}
	if (!cnt)
		return;
	screen__label(screen, "lines");
	fprintf(screen->line, "%zu row%s (", cnt, cnt == 1 ? "" : "s");
	screen__size(screen, bytes);
	fprintf(screen->line,
		") without a source %s %s shown by function: debug information (gcc -g, or the"
		" distribution's -dbgsym packages) brings %ss",
		what, cnt == 1 ? "is" : "are", what);
	screen__end(screen);
}

static void put_remarks(struct screen *screen, const struct profile *profile,
			const struct situation *situation)
{
	enum profile_group group = profile->opts.group;
	bool by_call = group != GROUP_PROCESS && group != GROUP_TYPE;

	if (situation->folded && by_call) {
		screen__label(screen, "folded");
		fputs("calls inside allocators and runtimes are left out; --all-frames shows them",
		      screen->line);
		screen__end(screen);
	}
	if (group == GROUP_LINE || group == GROUP_FILE)
		put_without_source(screen, profile);
	put_ends(screen, situation);
}

void table_foot(struct screen *screen, const struct profile *profile,
		const struct situation *situation)
{
	fputc('\n', screen->out);
	if (situation->live_rows)
		put_remarks(screen, profile, situation);
	table_next(screen, profile, situation);
}
