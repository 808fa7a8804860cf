/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/suppress.h"

#include <errno.h>
#include <string.h>

#include "model/call.h"
#include "model/kept_code.h"

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

/* Where stacks are named, and what is left of the time to compare them. */
struct search {
	const struct suppressions *list;
	const struct snapshot *snap;
	const struct symbol *symbols;
	uint32_t steps;
};

static bool has_stack(struct search *search, uint32_t stack)
{
	struct call call = {.node = stack};
	struct call_info info;

	for (; call.node && search->steps; call = call__next(call, search->snap, search->symbols)) {
		call__read(call, search->snap, search->symbols, &info);
		if (call_matches(search->list, &info, frame_module_path(search->snap, info.frame),
				 &search->steps))
			return true;
	}
	return false;
}

/* Moves those that are taken out behind the others. Returns how many. */
static size_t suppress_sites(struct search *search, struct sweep_code *code)
{
	struct sweep_site *sites = code->sites.items;
	size_t kept = 0, taken;

	for (size_t i = 0; i < code->sites.cnt; i++) {
		struct sweep_site site = sites[i];

		if (site.verdict.state == COHORT_GROWING && has_stack(search, site.stack)) {
			code->suppressed_rate += site.verdict.rate;
			code->suppressed_high += site.verdict.rate_high;
			continue;
		}
		sites[i] = sites[kept];
		sites[kept++] = site;
	}
	taken = code->sites.cnt - kept;
	code->suppressed_cnt += taken;
	code->sites.cnt = kept;
	return taken;
}

static bool is_among(const struct sweep_site *sites, size_t cnt, uint32_t stack)
{
	for (size_t i = 0; i < cnt; i++)
		if (sites[i].stack == stack)
			return true;
	return false;
}

/* The same memory by where it was touched first. Returns how many are taken out that are not among
 * `cnt` sites that were. */
static size_t suppress_touches(struct search *search, struct sweep_code *code,
			       const struct sweep_site *sites, size_t cnt)
{
	size_t kept = 0, taken = 0;

	for (size_t i = 0; i < code->touches.cnt; i++) {
		const struct sweep_touch *touch = &code->touches.items[i];

		if (has_stack(search, touch->stack))
			taken += !is_among(sites, cnt, touch->stack);
		else
			code->touches.items[kept++] = *touch;
	}
	code->touches.cnt = kept;
	return taken;
}

/* Returns how many stacks are taken out. */
static size_t suppress_code(const struct suppressions *list, const struct snapshot *snap,
			    const struct symbol *symbols, struct sweep_code *code)
{
	struct search search = {list, snap, symbols, MAX_STEPS};
	size_t taken = suppress_sites(&search, code);

	return taken + suppress_touches(&search, code, code->sites.items + code->sites.cnt, taken);
}

/* What was kept is told elsewhere, too: the row gets another one. Of the process before this one
 * nothing is told but stacks. */
static void suppress_kept(const struct suppressions *list, struct sweep_row *row)
{
	struct kept_code *kept = kept_code__share(row->kept);
	bool is_own = row->kept->pid == row->pid && row->kept->start_ns == row->start_ns;

	if (kept && suppress_code(list, kept->snap, kept->symbols, kept->code) && !is_own &&
	    !sweep_code__stacks(kept->code)) {
		kept_code__put(kept);
		kept = NULL;
	}
	kept_code__put(row->kept);
	row->kept = kept;
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

	if (!list->items.cnt)
		return;
	for (size_t i = 0; i < sweep->rows.cnt; i++) {
		struct sweep_row *row = &sweep->rows.items[i];

		if (has_row(list, row)) {
			sweep_row__free(row);
			sweep->suppressed_rows++;
			continue;
		}
		if (row->code)
			sweep->suppressed_stacks +=
				suppress_code(list, sweep->snap, sweep->symbols, row->code);
		if (row->kept)
			suppress_kept(list, row);
		sweep->rows.items[kept++] = *row;
	}
	sweep->rows.cnt = kept;
}

void sweep_oom__suppress(struct sweep_oom *oom, const struct suppressions *list)
{
	size_t kept = 0;

	if (!list->items.cnt)
		return;
	for (size_t i = 0; i < oom->list.cnt; i++) {
		struct oom_process *process = &oom->list.items[i];

		if (has_row(list, &process->row)) {
			sweep_row__free(&process->row);
			continue;
		}
		if (process->row.kept)
			suppress_kept(list, &process->row);
		oom->list.items[kept++] = *process;
	}
	oom->list.cnt = kept;
}
