/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/suppress.h"

#include <errno.h>
#include <string.h>

#include "model/call.h"

/* Comparisons of two bytes, for all stacks of a process: some hundredths of a second. */
#define MAX_STEPS (1U << 24)

static const struct {
	enum suppression_kind kind;
	const char *prefix;
} prefixes[] = {
	{SUPPRESS_COMM, "comm:"},
	{SUPPRESS_CGROUP, "cgroup:"},
	{SUPPRESS_SERVICE, "service:"},
};

/* ---- patterns ---- */

/* Two colons are C++'s: a function in a namespace of that name. */
static enum suppression_kind take_kind(const char **pattern)
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t len = strlen(prefixes[i].prefix);

		if (strncmp(*pattern, prefixes[i].prefix, len) || (*pattern)[len] == ':')
			continue;
		*pattern += len;
		return prefixes[i].kind;
	}
	return SUPPRESS_STACK;
}

int suppressions__add(struct suppressions *list, const char *pattern)
{
	struct suppression item = {.kind = take_kind(&pattern)};
	size_t len = strlen(pattern);

	while (item.kind == SUPPRESS_CGROUP && len > 1 && pattern[len - 1] == '/')
		len--;
	if (!len)
		return -EINVAL;
	if (len > MAX_SUPPRESSION_LEN)
		return -E2BIG;
	if (list->items.cnt >= MAX_SUPPRESSIONS)
		return -ENOSPC;
	item.glob = strndup(pattern, len);
	if (item.glob && !array_push(&list->items, item))
		return 0;
	free(item.glob);
	return -ENOMEM;
}

void suppressions__free(struct suppressions *list)
{
	for (size_t i = 0; i < list->items.cnt; i++)
		free(list->items.items[i].glob);
	array_free(&list->items);
}

/*
 * What stands between two stars is found where it comes first: only the last star has to be tried
 * again. `or_below`: the text may go on with a '/'. Takes from *steps; without any left nothing
 * matches.
 */
static bool matches(const char *glob, const char *text, bool or_below, uint32_t *steps)
{
	const char *behind_star = NULL, *retry = NULL;

	for (; *steps; --*steps) {
		if (*glob == '*') {
			behind_star = ++glob;
			retry = text;
		} else if (!*glob && (!*text || (or_below && *text == '/'))) {
			return true;
		} else if (*text && (*glob == '?' || *glob == *text)) {
			glob++;
			text++;
		} else if (behind_star && !*behind_star) {
			return true;
		} else if (behind_star && *retry) {
			glob = behind_star;
			text = ++retry;
		} else {
			return false;
		}
	}
	return false;
}

/* ---- stacks ---- */

static bool path_matches(const char *glob, const char *path, uint32_t *steps)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return path && (matches(glob, path, false, steps) ||
			(slash && matches(glob, slash + 1, false, steps)));
}

static bool call_matches(const struct suppressions *list, const struct call_info *call,
			 const char *module, uint32_t *steps)
{
	for (size_t i = 0; i < list->items.cnt; i++) {
		const char *glob = list->items.items[i].glob;

		if (list->items.items[i].kind != SUPPRESS_STACK)
			continue;
		if ((call->function && matches(glob, call->function, false, steps)) ||
		    path_matches(glob, call->file, steps) || path_matches(glob, module, steps))
			return true;
	}
	return false;
}

static bool has_stack(const struct suppressions *list, const struct sweep *sweep, uint32_t stack,
		      uint32_t *steps)
{
	struct call call = {.node = stack};
	struct call_info info;

	for (; call.node && *steps; call = call__next(call, sweep->snap, sweep->symbols)) {
		call__read(call, sweep->snap, sweep->symbols, &info);
		if (call_matches(list, &info, frame_module_path(sweep->snap, info.frame), steps))
			return true;
	}
	return false;
}

static void suppress_sites(struct sweep *sweep, const struct suppressions *list,
			   struct sweep_code *code, uint32_t *steps)
{
	size_t kept = 0;

	for (size_t i = 0; i < code->sites.cnt; i++) {
		const struct sweep_site *site = &code->sites.items[i];

		if (site->verdict.state != COHORT_GROWING ||
		    !has_stack(list, sweep, site->stack, steps)) {
			code->sites.items[kept++] = *site;
			continue;
		}
		code->suppressed_cnt++;
		code->suppressed_rate += site->verdict.rate;
		code->suppressed_high += site->verdict.rate_high;
	}
	code->sites.cnt = kept;
	sweep->suppressed_stacks += code->suppressed_cnt;
}

/* The same memory by where it was touched first. */
static void suppress_touches(struct sweep *sweep, const struct suppressions *list,
			     struct sweep_code *code, uint32_t *steps)
{
	size_t kept = 0;

	for (size_t i = 0; i < code->touches.cnt; i++)
		if (!has_stack(list, sweep, code->touches.items[i].stack, steps))
			code->touches.items[kept++] = code->touches.items[i];
	sweep->suppressed_stacks += code->touches.cnt - kept;
	code->touches.cnt = kept;
}

static void suppress_code(struct sweep *sweep, const struct suppressions *list,
			  struct sweep_code *code)
{
	uint32_t steps = MAX_STEPS;

	suppress_sites(sweep, list, code, &steps);
	suppress_touches(sweep, list, code, &steps);
}

/* ---- processes ---- */

bool suppressions__has(const struct suppressions *list, const char *comm, const char *cgroup,
		       const char *service)
{
	const char *const names[] = {
		[SUPPRESS_COMM] = comm,
		[SUPPRESS_CGROUP] = cgroup,
		[SUPPRESS_SERVICE] = service,
	};
	uint32_t steps = MAX_STEPS;

	for (size_t i = 0; i < list->items.cnt; i++) {
		const struct suppression *item = &list->items.items[i];

		if (names[item->kind] &&
		    matches(item->glob, names[item->kind], item->kind == SUPPRESS_CGROUP, &steps))
			return true;
	}
	return false;
}

static bool has_row(const struct suppressions *list, const struct sweep_row *row)
{
	return suppressions__has(list, row->pid ? row->comm : NULL,
				 *row->cgroup ? row->cgroup : NULL,
				 row->is_service ? row->title : NULL);
}

void sweep__suppress(struct sweep *sweep, const struct suppressions *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < sweep->rows.cnt; i++) {
		struct sweep_row *row = &sweep->rows.items[i];

		if (has_row(list, row)) {
			sweep_row__free(row);
			sweep->suppressed_rows++;
			continue;
		}
		if (row->code)
			suppress_code(sweep, list, row->code);
		sweep->rows.items[kept++] = *row;
	}
	sweep->rows.cnt = kept;
}
