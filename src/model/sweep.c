/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/kept_code.h"

const char *sweep_look__name(enum sweep_look look)
{
	static const char *const names[SWEEP_LOOK_CNT] = {
		[SWEEP_LOOK_WAITS] = "waits", [SWEEP_LOOK_WINDOWS] = "windows",
		[SWEEP_LOOK_EXACT] = "exact", [SWEEP_LOOK_REFUSED] = "refused",
		[SWEEP_LOOK_OFF] = "off",
	};

	return look > 0 && look < SWEEP_LOOK_CNT ? names[look] : "unknown";
}

struct sweep *sweep__new(void)
{
	struct sweep *sweep = calloc(1, sizeof(*sweep));

	if (!sweep)
		return NULL;
	sweep->snap = snapshot__new("sweep");
	if (sweep->snap)
		return sweep;
	free(sweep);
	return NULL;
}

void sweep_code__free(struct sweep_code *code)
{
	if (!code)
		return;
	free(code->obstacle);
	array_free(&code->sites);
	array_free(&code->touches);
	free(code);
}

void sweep_row__free(struct sweep_row *row)
{
	sweep_code__free(row->code);
	free(row->comm);
	free(row->cgroup);
	free(row->title);
	free(row->runtime);
	free(row->limit_cgroup);
	kept_code__put(row->kept);
	*row = (struct sweep_row){0};
}

void sweep__free(struct sweep *sweep)
{
	if (!sweep)
		return;
	for (size_t i = 0; i < sweep->rows.cnt; i++)
		sweep_row__free(&sweep->rows.items[i]);
	array_free(&sweep->rows);
	array_free(&sweep->ooms);
	free(sweep->symbols);
	snapshot__free(sweep->snap);
	free(sweep);
}

static char *copy_text(const char *text)
{
	return strdup(text ? text : "");
}

int sweep_row__copy(const struct sweep_row *row, struct sweep_row *ret)
{
	struct sweep_row copy = *row;

	copy.code = NULL;
	copy.kept = NULL;
	copy.comm = copy_text(row->comm);
	copy.cgroup = copy_text(row->cgroup);
	copy.title = copy_text(row->title);
	copy.runtime = copy_text(row->runtime);
	copy.limit_cgroup = copy_text(row->limit_cgroup);
	*ret = copy;
	if (copy.comm && copy.cgroup && copy.title && copy.runtime && copy.limit_cgroup)
		return 0;
	sweep_row__free(ret);
	return -ENOMEM;
}

int sweep__add(struct sweep *sweep, const struct sweep_row *row)
{
	struct sweep_row copy;

	if (sweep_row__copy(row, &copy))
		return -ENOMEM;
	if (!array_push(&sweep->rows, copy))
		return 0;
	sweep_row__free(&copy);
	return -ENOMEM;
}

bool sweep__set_code(struct sweep *sweep, pid_t pid, uint64_t start_ns, struct sweep_code *code)
{
	for (size_t i = 0; i < sweep->rows.cnt; i++) {
		struct sweep_row *row = &sweep->rows.items[i];

		if (row->pid != pid || row->start_ns != start_ns || row->code)
			continue;
		row->code = code;
		return true;
	}
	return false;
}

bool sweep_row__is_shmem(const struct sweep_row *row)
{
	return row->shmem_per_hour > row->growth.bytes_per_hour / 2;
}

size_t sweep_code__growing(const struct sweep_code *code)
{
	size_t cnt = 0;

	for (size_t i = 0; code && i < code->sites.cnt; i++)
		cnt += code->sites.items[i].verdict.state == COHORT_GROWING;
	return cnt;
}

size_t sweep_code__stacks(const struct sweep_code *code)
{
	return code ? sweep_code__growing(code) + code->touches.cnt : 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct sweep_row *left = a, *right = b;

	if (left->growth.bytes_per_hour != right->growth.bytes_per_hour)
		return left->growth.bytes_per_hour > right->growth.bytes_per_hour ? -1 : 1;
	if (left->pid != right->pid)
		return left->pid < right->pid ? -1 : 1;
	return strcmp(left->cgroup, right->cgroup);
}

void sweep__sort(struct sweep *sweep)
{
	if (sweep->rows.cnt)
		qsort(sweep->rows.items, sweep->rows.cnt, sizeof(*sweep->rows.items), compare_rows);
}

double sweep__fastest_lower(const struct sweep *sweep)
{
	double fastest = 0;

	for (size_t i = 0; i < sweep->rows.cnt; i++) {
		const struct sweep_row *row = &sweep->rows.items[i];
		double lower = row->growth.lower - (row->code ? row->code->suppressed_high : 0);

		if (lower > fastest)
			fastest = lower;
	}
	return fastest;
}

bool sweep__is_too_early(const struct sweep *sweep)
{
	for (int i = 0; i < GROWTH_STATE_CNT; i++)
		if (i != GROWTH_TOO_EARLY && sweep->states[i])
			return false;
	return sweep->states[GROWTH_TOO_EARLY] && !sweep->rows.cnt;
}
