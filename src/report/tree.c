/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The call tree, drawn: numbers at the left, branches at the right. A call that all of the memory
 * above it goes through takes the next line without a branch of its own, so that lines do not walk
 * off the screen.
 */
#include "model/tree.h"

#include <inttypes.h>
#include <string.h>

#include "model/group.h"
#include "report/call_line.h"
#include "report/render.h"
#include "report/report.h"
#include "report/table.h"
#include "util/format.h"
#include "util/units.h"

#define LEAST_PERMILLE 10
#define MAX_CHAIN 14 /* calls of a chain that are shown ... */
#define CHAIN_TAIL 2 /* ... and how many of them are its last */
#define MIN_CALL_WIDTH 40
#define LEAST_END_WIDTH 24
#define LEAST_DEPTH 4 /* is drawn on the narrowest terminal */
#define NUMBERS_WIDTH 30
#define NUMBERS_WIDTH_DELTA 43
#define BRANCH_WIDTH 3
#define CELL_MAX (UNITS_MAX + 4)

struct painter {
	struct screen *screen;
	const struct call_tree *tree;
	const struct profile *profile;
	const struct glyphs {
		const char *bar, *branch, *last_branch;
	} * glyphs;
	size_t max_depth; /* branches are not drawn deeper */
	ARRAY(bool) bars; /* per depth: whether the branch goes on below */
};

static const struct glyphs utf8_glyphs = {"│  ", "├─ ", "└─ "};
static const struct glyphs ascii_glyphs = {"|  ", "|- ", "`- "};

/* ---- a line ---- */

static void put_numbers(struct painter *painter, const struct tree_node *node)
{
	struct screen *screen = painter->screen;
	int64_t total = painter->tree->nodes.items[TREE_ROOT].live_bytes;
	const char *mark = screen->estimated ? "~" : "";
	char buf[UNITS_MAX], cell[CELL_MAX];

	snprintf(cell, sizeof(cell), "%s%s", mark, format_size(node->live_bytes, buf));
	screen__paint(screen, PAINT_STRONG);
	fprintf(screen->line, "%10s", cell);
	screen__paint(screen, PAINT_NONE);
	if (total > 0)
		fprintf(screen->line, "  %5.1f %%", 100.0 * node->live_bytes / total);
	else
		fprintf(screen->line, "  %7s", "-");
	snprintf(cell, sizeof(cell), "%s%s", mark, format_count(node->live_count, buf));
	fprintf(screen->line, "  %7s", cell);
	if (painter->profile->has_previous) {
		snprintf(cell, sizeof(cell), "%s%s%s", mark, node->delta_bytes > 0 ? "+" : "",
			 format_size(node->delta_bytes, buf));
		fprintf(screen->line, "  %11s", cell);
	}
	fputs("  ", screen->line);
}

static size_t numbers_width(const struct painter *painter)
{
	return painter->profile->has_previous ? NUMBERS_WIDTH_DELTA : NUMBERS_WIDTH;
}

/* Draws the branches left of a node of this depth; `is_head` when it is the node's first line.
 * Returns how many columns they take. */
static size_t put_branches(struct painter *painter, size_t depth, bool is_head)
{
	const struct glyphs *glyphs = painter->glyphs;
	size_t shown = depth < painter->max_depth ? depth : painter->max_depth;

	for (size_t i = 1; i <= shown; i++) {
		bool goes_on = painter->bars.items[i == shown ? depth : i];

		if (i == shown && is_head)
			fputs(goes_on ? glyphs->branch : glyphs->last_branch,
			      painter->screen->line);
		else
			fputs(goes_on ? glyphs->bar : "   ", painter->screen->line);
	}
	return shown * BRANCH_WIDTH;
}

static int put_end(struct screen *screen, unsigned int unwind, size_t used)
{
	char *text = format_text("-- %s: %s",
				 unwind == UNWIND_LOST	      ? "stack lost"
				 : unwind == UNWIND_TRUNCATED ? "callers left out"
							      : "callers not known",
				 unwind_reason(unwind));

	if (!text)
		return -ENOMEM;
	if (!screen->columns)
		fputs(text, screen->line);
	else
		text_put_clipped(screen->line, text,
				 screen->columns > used + LEAST_END_WIDTH ? screen->columns - used
									  : LEAST_END_WIDTH);
	free(text);
	return 0;
}

/* Writes what a node stands for behind `used` columns. Returns 0 or -ENOMEM. */
static int put_label(struct painter *painter, uint32_t node, size_t used)
{
	const struct tree_label *label = tree_label(painter->tree, node);
	const struct snapshot *snap = painter->profile->snap;
	struct screen *screen = painter->screen;
	int64_t bytes = painter->tree->nodes.items[node].live_bytes;

	switch (label->kind) {
	case TREE_ALL:
		fputs("all that is live", screen->line);
		break;
	case TREE_PROC:
		process_put(screen->line, &snap->procs.items[label->value]);
		break;
	case TREE_CGROUP:
		text_put(screen->line,
			 group__title(snap, label->value, painter->profile->opts.group));
		break;
	case TREE_CALL:
		return screen__call(screen, painter->profile, &label->call, used, false);
	case TREE_LAYER:
		fprintf(screen->line, "[%s]", layer_name(label->value));
		break;
	case TREE_END:
		return put_end(screen, label->value, used);
	case TREE_REST:
		fprintf(screen->line, "... %" PRIu32 " more, ", label->value);
		screen__size(screen, bytes);
		break;
	}
	return 0;
}

/* ---- a chain: a node and the calls that all of its memory goes through ---- */

/* Returns the only child of a call if nothing ends or begins between them, or TREE_NONE. */
static uint32_t chain_next(const struct call_tree *tree, uint32_t node)
{
	const struct tree_node *item = &tree->nodes.items[node], *child;
	enum tree_kind kind = tree_label(tree, node)->kind;

	if (item->first_child == TREE_NONE ||
	    (kind != TREE_CALL && kind != TREE_LAYER && kind != TREE_END))
		return TREE_NONE;
	child = &tree->nodes.items[item->first_child];
	if (child->next_sibling != TREE_NONE || child->live_bytes != item->live_bytes ||
	    child->live_count != item->live_count || child->delta_bytes != item->delta_bytes ||
	    tree_label(tree, item->first_child)->kind == TREE_REST)
		return TREE_NONE;
	return item->first_child;
}

/* Returns the last of the nodes from `node` down the chain that have the same label (recursion);
 * *ret_times counts them. */
static uint32_t skip_repeats(const struct call_tree *tree, uint32_t node, size_t *ret_times)
{
	uint32_t next;

	for (*ret_times = 1; (next = chain_next(tree, node)) != TREE_NONE; ++*ret_times) {
		if (tree->nodes.items[next].label != tree->nodes.items[node].label)
			break;
		node = next;
	}
	return node;
}

static size_t chain_lines(const struct call_tree *tree, uint32_t node)
{
	size_t lines = 0, times;

	for (; node != TREE_NONE; node = chain_next(tree, skip_repeats(tree, node, &times)))
		lines++;
	return lines;
}

static int put_line(struct painter *painter, uint32_t node, size_t depth, bool is_head,
		    size_t times)
{
	struct screen *screen = painter->screen;
	size_t used = numbers_width(painter);
	char buf[UNITS_MAX], repeats[UNITS_MAX + 16] = "";
	int err;

	if (is_head)
		put_numbers(painter, &painter->tree->nodes.items[node]);
	else
		fprintf(screen->line, "%*s", (int)used, "");
	used += put_branches(painter, depth, is_head);
	if (times > 1)
		snprintf(repeats, sizeof(repeats), "  (%s times)", format_count(times, buf));
	err = put_label(painter, node, used + strlen(repeats));
	fputs(repeats, screen->line);
	screen__end_whole(screen);
	return err;
}

/* Writes a node and its chain. *ret_last is the chain's last node, whose children are branches. */
static int put_chain(struct painter *painter, uint32_t node, size_t depth, uint32_t *ret_last)
{
	const struct call_tree *tree = painter->tree;
	size_t lines = chain_lines(tree, node), times, line = 0;
	size_t hidden = lines > MAX_CHAIN + 1 ? lines - MAX_CHAIN : 0;
	size_t hidden_from = MAX_CHAIN - CHAIN_TAIL;
	int err = 0;

	for (uint32_t at = node; at != TREE_NONE && !err; line++) {
		uint32_t last = skip_repeats(tree, at, &times);

		if (!hidden || line < hidden_from || line >= hidden_from + hidden) {
			err = put_line(painter, at, depth, !line, times);
		} else if (line == hidden_from) {
			fprintf(painter->screen->line, "%*s", (int)numbers_width(painter), "");
			put_branches(painter, depth, false);
			fprintf(painter->screen->line, "... %zu more calls", hidden);
			screen__end_whole(painter->screen);
		}
		*ret_last = last;
		at = chain_next(tree, last);
	}
	return err;
}

/* ---- the tree ---- */

static int set_bar(struct painter *painter, size_t depth, bool goes_on)
{
	while (painter->bars.cnt <= depth)
		if (array_push(&painter->bars, false))
			return -ENOMEM;
	painter->bars.items[depth] = goes_on;
	return 0;
}

/* Returns the node of a chain that its branch begins with. */
static uint32_t chain_head(const struct call_tree *tree, uint32_t node)
{
	uint32_t parent = tree->nodes.items[node].parent;

	while (parent != TREE_NONE && chain_next(tree, parent) == node) {
		node = parent;
		parent = tree->nodes.items[node].parent;
	}
	return node;
}

static int put_nodes(struct painter *painter)
{
	const struct call_tree *tree = painter->tree;
	uint32_t at = TREE_ROOT, last;
	size_t depth = 0;
	int err = 0;

	while (at != TREE_NONE && !err) {
		err = set_bar(painter, depth, tree->nodes.items[at].next_sibling != TREE_NONE);
		if (!err)
			err = put_chain(painter, at, depth, &last);
		if (err)
			break;
		at = tree->nodes.items[last].first_child;
		depth++;
		while (at == TREE_NONE && last != TREE_ROOT) {
			last = chain_head(tree, last);
			depth--;
			at = tree->nodes.items[last].next_sibling;
			if (at == TREE_NONE)
				last = tree->nodes.items[last].parent;
		}
	}
	return err;
}

static void put_heading(struct painter *painter)
{
	const struct profile *profile = painter->profile;
	struct screen *screen = painter->screen;

	fputc('\n', screen->out);
	screen__paint(screen, PAINT_STRONG);
	fprintf(screen->line, "call tree, by %s: ",
		profile->opts.sort == SORT_COUNT ? "live blocks"
		: profile->opts.sort == SORT_GROWTH && profile->has_previous
			? "growth since the last interval"
			: "live bytes");
	fputs(painter->tree->root_first
		      ? "from main down to what allocates"
		      : "what allocates, its callers below (--tree root: main first)",
	      screen->line);
	screen__paint(screen, PAINT_NONE);
	screen__end(screen);
	fprintf(screen->line, "%10s  %7s  %7s", "live", "share", "blocks");
	if (profile->has_previous)
		fprintf(screen->line, "  %11s", "change");
	screen__end_whole(screen);
}

static int put_tree(struct screen *screen, const struct profile *profile,
		    const struct report_opts *opts, const struct situation *situation)
{
	struct call_tree *tree = call_tree__new(profile, opts->root_first);
	struct painter painter = {
		.screen = screen,
		.tree = tree,
		.profile = profile,
		.glyphs = opts->ascii ? &ascii_glyphs : &utf8_glyphs,
		.max_depth = SIZE_MAX,
	};
	size_t room;
	int err;

	(void)situation;
	if (!tree)
		return -ENOMEM;
	if (opts->columns) {
		room = numbers_width(&painter) + MIN_CALL_WIDTH;
		painter.max_depth =
			opts->columns > room ? (opts->columns - room) / BRANCH_WIDTH : 0;
		if (painter.max_depth < LEAST_DEPTH)
			painter.max_depth = LEAST_DEPTH;
	}
	/* Who asks for all rows gets all branches. */
	err = call_tree__prune(tree, profile->opts.top ? LEAST_PERMILLE : 0, profile->opts.top);
	if (!err) {
		put_heading(&painter);
		err = put_nodes(&painter);
	}
	array_free(&painter.bars);
	call_tree__free(tree);
	return err;
}

int report_tree(const struct profile *profile, const struct report_opts *opts, FILE *out)
{
	return table_render(profile, opts, put_tree, out);
}
