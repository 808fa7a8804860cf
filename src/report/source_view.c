/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Functions are found by indentation: Python's by the "def" above with less of it, others by the
 * last line above that begins at the margin. Where that fails, a few lines around are shown.
 */
#include "report/source_view.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT 3	/* lines around one that counts */
#define MAX_FUNCTION 40 /* lines of a function that is shown whole */
#define MAX_SEARCH 2000 /* lines that a function is looked for in, each way */

int source_view__init(struct source_view *view, const char *text, size_t len, bool is_python)
{
	const char *end;

	*view = (struct source_view){.text = text, .len = text ? len : 0, .is_python = is_python};
	if (view->len > UINT32_MAX)
		return -ENOMEM;
	for (size_t at = 0; at < view->len; at = (size_t)(end - text) + 1) {
		if (array_push(&view->starts, (uint32_t)at))
			return -ENOMEM;
		end = memchr(text + at, '\n', view->len - at);
		if (!end)
			break;
	}
	view->shown = calloc(view->starts.cnt + 2, sizeof(*view->shown));
	return view->shown ? 0 : -ENOMEM;
}

void source_view__free(struct source_view *view)
{
	array_free(&view->starts);
	free(view->shown);
}

const char *source_view__line(const struct source_view *view, size_t line, size_t *ret_len)
{
	size_t at = view->starts.items[line - 1];
	size_t end = line < view->starts.cnt ? view->starts.items[line] : view->len;

	while (end > at && (view->text[end - 1] == '\n' || view->text[end - 1] == '\r'))
		end--;
	*ret_len = end - at;
	return view->text + at;
}

/* ---- what a line looks like ---- */

struct source_line {
	const char *text; /* behind the indentation */
	size_t len;	  /* 0 = blank */
	size_t indent;	  /* columns, tabs are eight */
};

static struct source_line read_line(const struct source_view *view, size_t line)
{
	struct source_line ret = {0};
	size_t at;

	ret.text = source_view__line(view, line, &ret.len);
	for (at = 0; at < ret.len && (ret.text[at] == ' ' || ret.text[at] == '\t'); at++)
		ret.indent = ret.text[at] == '\t' ? (ret.indent / 8 + 1) * 8 : ret.indent + 1;
	ret.text += at;
	ret.len -= at;
	return ret;
}

static bool begins_with(const struct source_line *line, const char *word)
{
	size_t len = strlen(word);

	return line->len >= len && !memcmp(line->text, word, len);
}

/* Whether a line at a function's own indentation is still a part of it: the end of its head,
 * comments, preprocessor lines, labels. */
static bool is_inside(const struct source_line *line)
{
	return strchr("#{)", *line->text) || line->text[line->len - 1] == ':';
}

/* ---- the function around a line ---- */

/* Returns the line of the "def" that `line` is inside of, 0 = none. */
static size_t find_def(const struct source_view *view, size_t line)
{
	size_t indent = read_line(view, line).indent, lowest;

	lowest = line > MAX_SEARCH ? line - MAX_SEARCH : 1;
	for (size_t at = line - 1; at >= lowest && indent; at--) {
		struct source_line above = read_line(view, at);

		/* A head may end in "):" on a line of its own. */
		if (!above.len || strchr("#)]}", *above.text) || above.indent >= indent)
			continue;
		if (begins_with(&above, "def ") || begins_with(&above, "async def "))
			return at;
		indent = above.indent;
	}
	return 0;
}

/* Returns the nearest line from `line` up that begins at the margin as a definition does, 0 = none.
 */
static size_t find_margin(const struct source_view *view, size_t line)
{
	size_t lowest = line > MAX_SEARCH ? line - MAX_SEARCH : 1;

	for (size_t at = line; at >= lowest; at--) {
		struct source_line above = read_line(view, at);

		if (above.len && !above.indent && !is_inside(&above) &&
		    (isalpha((unsigned char)*above.text) || *above.text == '_'))
			return at;
	}
	return 0;
}

/* Steps over the decorators above a "def". */
static size_t skip_decorators(const struct source_view *view, size_t def)
{
	size_t indent = read_line(view, def).indent;

	while (def > 1) {
		struct source_line above = read_line(view, def - 1);

		if (above.indent != indent || !above.len || *above.text != '@')
			break;
		def--;
	}
	return def;
}

/* Returns the last line of the function that begins with an indentation of `indent` and goes
 * through `line`. */
static size_t find_end(const struct source_view *view, size_t line, size_t indent)
{
	size_t last = line, highest = view->starts.cnt;

	if (highest - line > MAX_SEARCH)
		highest = line + MAX_SEARCH;
	for (size_t at = line + 1; at <= highest; at++) {
		struct source_line below = read_line(view, at);

		if (!below.len)
			continue;
		if (below.indent <= indent && *below.text == '}')
			return at;
		if (below.indent <= indent && !is_inside(&below))
			return last;
		if (below.indent > indent || *below.text != '#')
			last = at;
	}
	return last;
}

static void show(struct source_view *view, size_t first, size_t last)
{
	for (size_t at = first ? first : 1; at <= last && at <= view->starts.cnt; at++)
		view->shown[at] = true;
}

void source_view__show_all(struct source_view *view)
{
	show(view, 1, view->starts.cnt);
}

void source_view__show_around(struct source_view *view, size_t line)
{
	size_t head, first, last;

	if (!line || line > view->starts.cnt)
		return;
	show(view, line > CONTEXT ? line - CONTEXT : 1, line + CONTEXT);
	head = view->is_python ? find_def(view, line) : find_margin(view, line);
	if (!head)
		return;
	first = view->is_python ? skip_decorators(view, head) : head;
	last = find_end(view, line, read_line(view, head).indent);
	show(view, first, last - first < MAX_FUNCTION ? last : head);
}

void source_view__close_gaps(struct source_view *view)
{
	size_t cnt = view->starts.cnt;

	for (size_t at = 2; at < cnt; at++)
		view->shown[at] |= view->shown[at - 1] && view->shown[at + 1];
	if (cnt > 1 && view->shown[2])
		view->shown[1] = true;
	if (cnt > 1 && view->shown[cnt - 1])
		view->shown[cnt] = true;
}
