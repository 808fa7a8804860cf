/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A census as people like to read it. */
#include "cli/census.h"
#include "report/render.h"
#include "util/units.h"

#define CNT_WIDTH 10
#define BYTES_WIDTH 12

static void put_size(FILE *out, uint64_t bytes)
{
	char text[UNITS_MAX];

	fprintf(out, "%*s", BYTES_WIDTH, format_size((int64_t)bytes, text));
}

static void put_count(FILE *out, uint64_t count)
{
	char text[UNITS_MAX];

	fprintf(out, "%*s", CNT_WIDTH, format_count((int64_t)count, text));
}

/* "+1.2 MiB", "0 B", "-3.0 KiB" */
static void put_change(FILE *out, int width, int64_t change, const char *text)
{
	fprintf(out, "%*s%s", width - (int)text_width(text), change > 0 ? "+" : "", text);
}

static void put_line(const struct census_view *view, const struct census_line *line, FILE *out)
{
	char text[UNITS_MAX];

	put_count(out, line->cnt);
	put_size(out, line->bytes);
	if (view->has_changes) {
		put_change(out, CNT_WIDTH, line->cnt_change, format_count(line->cnt_change, text));
		put_change(out, BYTES_WIDTH, line->bytes_change,
			   format_size(line->bytes_change, text));
	}
	put_size(out, line->large_bytes);
	fputs("  ", out);
	text_put(out, line->type);
	fputc('\n', out);
}

static void put_head(const struct census_view *view, FILE *out)
{
	const struct census *census = view->census;
	char text[UNITS_MAX], bytes[UNITS_MAX];

	fprintf(out, "leaksweep census: process %d (", view->pid);
	text_put(out, view->comm);
	fputs("), Python ", out);
	text_put(out, view->version);
	fprintf(out, ": %s objects, %s, read in %s\n", format_count((int64_t)census->cnt, text),
		format_size((int64_t)census->bytes, bytes),
		format_duration(census->elapsed_ns, (char[UNITS_MAX]){0}));
	fprintf(out, "  pymalloc's pools: %s in use",
		format_size((int64_t)census->pool_bytes, text));
	fprintf(out, ", %s kept free", format_size((int64_t)census->pool_free_bytes, text));
	fprintf(out, "; malloc's blocks: %s\n",
		format_size((int64_t)(census->bytes > census->pool_bytes
					      ? census->bytes - census->pool_bytes
					      : 0),
			    text));
	if (census->torn)
		fprintf(out,
			"  %s blocks changed while they were read: they are told as they were last "
			"seen\n",
			format_count((int64_t)census->torn, text));
	if (census->swapped_bytes)
		fprintf(out, "  %s are swapped out and were not looked at\n",
			format_size((int64_t)census->swapped_bytes, text));
	if (view->has_changes)
		fprintf(out, "  changes are those of the last %s\n",
			format_duration(view->since_ns, text));
}

int census_table(const struct census_view *view, FILE *out)
{
	put_head(view, out);
	fprintf(out, "\n%*s%*s", CNT_WIDTH, "count", BYTES_WIDTH, "bytes");
	if (view->has_changes)
		fprintf(out, "%*s%*s", CNT_WIDTH, "change", BYTES_WIDTH, "change");
	fprintf(out, "%*s  type\n", BYTES_WIDTH, "malloc's");
	for (size_t i = 0; i < view->shown_cnt; i++)
		put_line(view, &view->lines[i], out);
	if (!view->line_cnt)
		fputs("  (nothing has changed)\n", out);
	if (view->shown_cnt < view->line_cnt)
		fprintf(out, "  ... and %zu more types: see --top\n",
			view->line_cnt - view->shown_cnt);
	return finish_output(out);
}
