/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Source text with what each line holds: the line profile of somebody else's running program. A
 * line has two kinds of figures: what it allocated itself (it is the first call shown of a stack),
 * and what passed through it, its callees' included.
 */
#include "report/table.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "model/annotation.h"
#include "report/render.h"
#include "report/source_view.h"
#include "util/units.h"

#define SHORT_FILE 60 /* lines of a file that is shown whole */
#define LINE_WIDTH 6
#define CELL_WIDTH 5
#define CHANGE_WIDTH 6
#define MIN_TEXT_WIDTH 16
#define MAX_TEXT_WIDTH 400 /* where columns have no limit: some source is one line */
#define MAX_FILES_NAMED 5
#define CELL_MAX (UNITS_MAX + 2)

/* One file being written. */
struct page {
	struct screen *screen;
	const struct profile *profile;
	const struct annotated_file *file;
	const struct annotated_line *lines; /* of the file */
	struct source_view view;
	ARRAY(char) text; /* reused from line to line */
	size_t text_width;
};

/* ---- figures ---- */

/* "1.2G", "17", "196K": shorter than elsewhere, there are five in a line. */
static const char *short_size(int64_t bytes, char cell[static CELL_MAX])
{
	uint64_t magnitude = bytes < 0 ? -(uint64_t)bytes : (uint64_t)bytes;
	const char *unit = "KMGTPE", *sign = bytes < 0 ? "-" : "";
	double value = magnitude / 1024.0;

	if (magnitude < 1024) {
		snprintf(cell, CELL_MAX, "%s%" PRIu64, sign, magnitude);
		return cell;
	}
	for (; value >= 1023.5; unit++)
		value /= 1024;
	snprintf(cell, CELL_MAX, "%s%.*f%c", sign, value < 99.95 ? 1 : 0, value, *unit);
	return cell;
}

/* "31.2 k" as "31.2k". */
static const char *short_count(int64_t count, char cell[static CELL_MAX])
{
	char buf[UNITS_MAX], *end = cell;

	for (const char *at = format_count(count, buf); *at; at++)
		if (*at != ' ')
			*end++ = *at;
	*end = '\0';
	return cell;
}

/* Writes a cell behind its blank; NULL = nothing there. */
static void put_cell(struct page *page, const char *value, const char *sign, int width)
{
	const char *tilde = page->screen->estimated && value ? "~" : "";

	value = value ? value : "-";
	width += page->screen->estimated - (int)(strlen(tilde) + strlen(sign) + strlen(value));
	fprintf(page->screen->line, "%*s%s%s%s", 1 + (width > 0 ? width : 0), "", tilde, sign,
		value);
}

static void put_size(struct page *page, int64_t bytes)
{
	char cell[CELL_MAX];

	put_cell(page, bytes ? short_size(bytes, cell) : NULL, "", CELL_WIDTH);
}

static void put_figures(struct page *page, const struct annotated_line *line)
{
	struct screen *screen = page->screen;
	int64_t change = line->delta_bytes;
	char cell[CELL_MAX];

	screen__paint(screen, PAINT_STRONG);
	put_size(page, line->self.live_bytes);
	screen__paint(screen, PAINT_NONE);
	put_cell(page, line->self.live_count ? short_count(line->self.live_count, cell) : NULL, "",
		 CELL_WIDTH);
	put_size(page, line->self.alloc_bytes);
	if (page->profile->has_previous)
		put_cell(page, change ? short_size(change, cell) : NULL, change > 0 ? "+" : "",
			 CHANGE_WIDTH);
	fputc(' ', screen->line);
	put_size(page, line->through.live_bytes);
	put_size(page, line->through.alloc_bytes);
}

/* Returns the columns of the figures under "itself" and "+ callees", with the blanks before each.
 */
static int self_width(const struct page *page)
{
	int tilde = page->screen->estimated;

	return 3 * (1 + CELL_WIDTH + tilde) +
	       (page->profile->has_previous ? 1 + CHANGE_WIDTH + tilde : 0);
}

static int through_width(const struct page *page)
{
	return 2 * (1 + CELL_WIDTH + page->screen->estimated);
}

/* Returns the columns before the text. */
static int figures_width(const struct page *page)
{
	return LINE_WIDTH + 1 + self_width(page) + 1 + through_width(page) + 2;
}

/* ---- one line ---- */

/* Copies what can be seen of a line, with tabs made blanks. Returns 0 or -ENOMEM. */
static int copy_line(struct page *page, size_t line)
{
	size_t len, width = 0;
	const char *text = source_view__line(&page->view, line, &len);

	page->text.cnt = 0;
	/* A column takes at most four bytes. */
	for (size_t i = 0; i < len && page->text.cnt < 4 * (page->text_width + 1); i++) {
		bool is_tab = text[i] == '\t';

		width += (text[i] & 0xc0) != 0x80;
		if (array_push(&page->text, is_tab ? ' ' : text[i]))
			return -ENOMEM;
		for (; is_tab && width % 8; width++)
			if (array_push(&page->text, ' '))
				return -ENOMEM;
	}
	return array_push(&page->text, '\0');
}

/* Writes a line of the file: its number, its figures if it has any, its text if it is there. */
static int put_line(struct page *page, size_t number, const struct annotated_line *line)
{
	struct screen *screen = page->screen;
	bool is_text = number && number <= source_view__cnt(&page->view);
	const char *text = "";
	int err;

	if (number)
		fprintf(screen->line, "%*zu ", LINE_WIDTH, number);
	else
		fprintf(screen->line, "%*s ", LINE_WIDTH, "?");
	if (line)
		put_figures(page, line);
	else
		fprintf(screen->line, "%*s", figures_width(page) - LINE_WIDTH - 3, "");
	if (is_text) {
		err = copy_line(page, number);
		if (err)
			return err;
		text = page->text.items;
	} else if (!number) {
		text = "(line not known)";
	} else if (page->view.text) {
		text = "(behind the file's end)";
	}
	fputs("  ", screen->line);
	if (!line || !is_text)
		screen__paint(screen, PAINT_WEAK);
	text_put_clipped(screen->line, text, page->text_width);
	screen__paint(screen, PAINT_NONE);
	screen__end_whole(screen);
	return 0;
}

static void put_gap(struct page *page)
{
	fprintf(page->screen->line, "%*s", LINE_WIDTH, "...");
	screen__end_whole(page->screen);
}

static void put_columns(struct page *page)
{
	struct screen *screen = page->screen;
	int width = 1 + CELL_WIDTH + screen->estimated;

	screen__paint(screen, PAINT_WEAK);
	fprintf(screen->line, "%*s%*s %*s", LINE_WIDTH + 1, "", self_width(page), "itself",
		through_width(page), "+ callees");
	screen__paint(screen, PAINT_NONE);
	screen__end_whole(screen);
	screen__paint(screen, PAINT_WEAK);
	fprintf(screen->line, "%*s %*s%*s%*s", LINE_WIDTH, "line", width, "live", width, "count",
		width, "alloc");
	if (page->profile->has_previous)
		fprintf(screen->line, "%*s", self_width(page) - 3 * width, "change");
	fprintf(screen->line, " %*s%*s  source", width, "live", width, "alloc");
	screen__paint(screen, PAINT_NONE);
	screen__end_whole(screen);
}

/* ---- what is shown of a file ---- */

static int compare_down(int64_t a, int64_t b)
{
	return a > b ? -1 : a < b;
}

static int compare_weight(const void *a, const void *b, void *context)
{
	const struct annotated_line *line_a = *(const struct annotated_line *const *)a;
	const struct annotated_line *line_b = *(const struct annotated_line *const *)b;
	const enum profile_sort *sort = context;
	int order = 0;

	if (*sort == SORT_GROWTH)
		order = compare_down(line_a->delta_bytes, line_b->delta_bytes);
	if (!order && *sort == SORT_COUNT)
		order = compare_down(line_a->self.live_count, line_b->self.live_count);
	if (!order)
		order = compare_down(line_a->self.live_bytes, line_b->self.live_bytes);
	if (!order)
		order = compare_down(line_a->through.live_bytes, line_b->through.live_bytes);
	if (!order)
		order = compare_down(line_a->self.alloc_bytes, line_b->self.alloc_bytes);
	if (!order)
		order = compare_down(line_a->through.alloc_bytes, line_b->through.alloc_bytes);
	return order ? order : (line_a->line > line_b->line) - (line_a->line < line_b->line);
}

/* Marks the lines that are worth it: `picked` is per line of the file. Returns 0 or -ENOMEM. */
static int pick_lines(const struct page *page, bool *picked)
{
	size_t cnt = page->file->line_cnt, top = page->profile->opts.top;
	enum profile_sort sort = page->profile->opts.sort;
	const struct annotated_line **order = calloc(cnt + 1, sizeof(*order));

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++)
		order[i] = &page->lines[i];
	qsort_r(order, cnt, sizeof(*order), compare_weight, &sort);
	for (size_t i = 0; i < cnt && (!top || i < top); i++)
		picked[order[i] - page->lines] = true;
	free(order);
	return 0;
}

static void choose_lines(struct page *page, const bool *picked)
{
	struct source_view *view = &page->view;

	if (!page->profile->opts.top || source_view__cnt(view) <= SHORT_FILE) {
		source_view__show_all(view);
		return;
	}
	for (size_t i = 0; i < page->file->line_cnt; i++)
		if (picked[i])
			source_view__show_around(view, page->lines[i].line);
	source_view__close_gaps(view);
}

/* ---- around the lines ---- */

static void put_source_remark(struct page *page, const struct snap_source *source)
{
	struct screen *screen = page->screen;

	if (source && source->text && !*source->reason)
		return;
	screen__label(screen, "text");
	screen__paint(screen, PAINT_BAD);
	if (!source || !source->text)
		fputs("not shown: ", screen->line);
	text_put(screen->line, source ? source->reason : "it was not looked for");
	screen__paint(screen, PAINT_NONE);
	screen__end(screen);
}

static void put_heading(struct page *page, const struct snap_source *source)
{
	const struct annotated_file *file = page->file;
	const int64_t total = page->profile->total.live_bytes;
	struct screen *screen = page->screen;

	fputc('\n', screen->out);
	screen__paint(screen, PAINT_STRONG);
	text_put(screen->line, file->path);
	screen__paint(screen, PAINT_NONE);
	if (source && source->text && source->pid)
		fprintf(screen->line, "  as process %" PRId32 " sees it", source->pid);
	screen__end(screen);
	screen__label(screen, "itself");
	screen__size(screen, file->self.live_bytes);
	fputs(" live in ", screen->line);
	screen__count(screen, file->self.live_count, "block");
	if (total > 0)
		fprintf(screen->line, " (%.1f %% of all)", 100.0 * file->self.live_bytes / total);
	fputs(", ", screen->line);
	screen__size(screen, file->self.alloc_bytes);
	fputs(" allocated; with callees ", screen->line);
	screen__size(screen, file->through.live_bytes);
	fputs(" live, ", screen->line);
	screen__size(screen, file->through.alloc_bytes);
	fputs(" allocated", screen->line);
	screen__end(screen);
	put_source_remark(page, source);
}

/* Says what lines with figures were left out. */
static void put_left_out(struct page *page, size_t cnt, int64_t bytes)
{
	if (!cnt)
		return;
	fprintf(page->screen->line, "%*s %zu more line%s with ", LINE_WIDTH, "...", cnt,
		cnt == 1 ? "" : "s");
	screen__size(page->screen, bytes);
	fputs(" live of their own; --top 0 shows the whole file", page->screen->line);
	screen__end(page->screen);
}

/* ---- a file ---- */

static int put_lines(struct page *page, const bool *picked)
{
	const struct annotated_file *file = page->file;
	size_t text_cnt = source_view__cnt(&page->view), next = 0, last = 0, left_out = 0;
	int64_t left_bytes = 0;
	int err = 0;

	/* From line to line of the text, and from figure to figure behind its end. */
	for (size_t at = 0; !err && (at <= text_cnt || next < file->line_cnt); at++) {
		const struct annotated_line *line = NULL;
		size_t idx = next;

		if (at > text_cnt)
			at = page->lines[next].line;
		if (next < file->line_cnt && page->lines[next].line == at)
			line = &page->lines[next++];
		if (!line && !source_view__is_shown(&page->view, at))
			continue;
		if (!source_view__is_shown(&page->view, at) && !picked[idx]) {
			left_out++;
			left_bytes += line->self.live_bytes;
			continue;
		}
		if (at > last + 1 && last < text_cnt)
			put_gap(page);
		err = put_line(page, at, line);
		last = at;
	}
	if (last < text_cnt && !left_out)
		put_gap(page);
	put_left_out(page, left_out, left_bytes);
	return err;
}

static int put_file(struct page *page)
{
	const struct snapshot *snap = page->profile->snap;
	const struct annotated_file *file = page->file;
	const struct snap_source *source =
		file->source == SNAP_NONE ? NULL : &snap->sources.items[file->source];
	bool *picked = calloc(file->line_cnt + 1, sizeof(*picked));
	int err = picked ? 0 : -ENOMEM;

	if (!err)
		err = source_view__init(&page->view, source ? source->text : NULL,
					source ? source->len : 0, file->is_python);
	if (!err)
		err = pick_lines(page, picked);
	if (!err) {
		choose_lines(page, picked);
		put_heading(page, source);
		put_columns(page);
		err = put_lines(page, picked);
	}
	source_view__free(&page->view);
	page->view = (struct source_view){0};
	free(picked);
	return err;
}

/* ---- all files ---- */

/* Names the files that hold most, for somebody who has asked for another one. */
static int put_other_files(struct screen *screen, const struct profile *profile)
{
	struct profile_opts opts = profile->opts;
	const char *separator = "; those that hold most: ";
	struct profile *files;
	struct call_info call;
	struct call begin;
	size_t named = 0;

	opts.group = GROUP_FILE;
	files = profile__new(profile->snap, profile->symbols, &opts, NULL);
	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < files->rows.cnt && named < MAX_FILES_NAMED; i++) {
		begin = profile__begin(files, files->rows.items[i].row->stack);
		if (!begin.node || !profile_row__is_live(&files->rows.items[i]))
			continue;
		call__read(begin, files->snap, files->symbols, &call);
		if (!call.file)
			continue;
		fputs(separator, screen->line);
		text_put(screen->line, call.file);
		separator = ", ";
		named++;
	}
	profile__free(files);
	return 0;
}

static int put_no_file(struct screen *screen, const struct profile *profile, const char *wanted)
{
	int err;

	fputc('\n', screen->out);
	screen__label(screen, "annotate");
	screen__paint(screen, PAINT_BAD);
	fputs("no stack has a line of a source file named '", screen->line);
	text_put(screen->line, wanted);
	fputc('\'', screen->line);
	screen__paint(screen, PAINT_NONE);
	err = put_other_files(screen, profile);
	screen__end(screen);
	return err;
}

static int put_files(struct screen *screen, const struct profile *profile,
		     const struct report_opts *opts, const struct situation *situation)
{
	struct annotation annotation;
	struct page page = {.screen = screen, .profile = profile};
	unsigned int used = figures_width(&page);
	int err = annotation__read(&annotation, profile, opts->annotate);

	(void)situation;
	page.text_width = !opts->columns			   ? MAX_TEXT_WIDTH
			  : opts->columns >= used + MIN_TEXT_WIDTH ? opts->columns - used
								   : MIN_TEXT_WIDTH;
	if (!err && !annotation.files.cnt)
		err = put_no_file(screen, profile, opts->annotate);
	for (size_t i = 0; !err && i < annotation.files.cnt; i++) {
		page.file = &annotation.files.items[i];
		page.lines = &annotation.lines.items[page.file->first];
		err = put_file(&page);
	}
	array_free(&page.text);
	annotation__free(&annotation);
	return err;
}

int report_annotate(const struct profile *profile, const struct report_opts *opts, FILE *out)
{
	return table_render(profile, opts, put_files, out);
}
