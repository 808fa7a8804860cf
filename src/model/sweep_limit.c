/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When limits are reached, which rows share: their growth counts together. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/sweep.h"

bool sweep_limit__has(const char *limit_cgroup, const char *cgroup)
{
	size_t len = strlen(limit_cgroup);

	if (!len)
		return true;
	while (len && limit_cgroup[len - 1] == '/')
		len--;
	return *cgroup && !strncmp(cgroup, limit_cgroup, len) &&
	       (!cgroup[len] || cgroup[len] == '/');
}

/* A group goes before all that is below it, and that before everything else. */
static int compare_paths(const char *left, const char *right)
{
	unsigned char a, b;

	while (*left && *left == *right) {
		left++;
		right++;
	}
	a = *left == '/' ? 1 : (unsigned char)*left;
	b = *right == '/' ? 1 : (unsigned char)*right;
	return (a > b) - (a < b);
}

/* A row of a group before those of its processes, whose PID is not 0. */
static int by_cgroup(const void *a, const void *b)
{
	const struct sweep_row *left = *(struct sweep_row *const *)a,
			       *right = *(struct sweep_row *const *)b;
	int order = compare_paths(left->cgroup, right->cgroup);

	return order ? order : (left->pid > right->pid) - (left->pid < right->pid);
}

static int by_limit(const void *a, const void *b)
{
	const struct sweep_row *left = *(struct sweep_row *const *)a,
			       *right = *(struct sweep_row *const *)b;

	return compare_paths(left->limit_cgroup, right->limit_cgroup);
}

/* Returns the first of the sorted rows that does not go before a group. */
static size_t find_first(struct sweep_row *const *rows, size_t cnt, const char *cgroup)
{
	size_t first = 0;

	while (first < cnt) {
		size_t middle = first + (cnt - first) / 2;

		if (compare_paths(rows[middle]->cgroup, cgroup) < 0)
			first = middle + 1;
		else
			cnt = middle;
	}
	return first;
}

/* A group's growth is that of all below it: where it has a row, theirs do not count once more. */
static double sum_below(struct sweep_row *const *rows, size_t cnt, const char *limit_cgroup)
{
	const char *from = strcmp(limit_cgroup, "/") ? limit_cgroup : "";
	const struct sweep_row *group = NULL;
	double sum = 0;

	for (size_t i = find_first(rows, cnt, from); i < cnt; i++) {
		if (!sweep_limit__has(limit_cgroup, rows[i]->cgroup)) {
			if (*rows[i]->cgroup)
				break;
			continue;
		}
		if (group && sweep_limit__has(group->cgroup, rows[i]->cgroup))
			continue;
		group = rows[i]->pid ? group : rows[i];
		sum += rows[i]->growth.bytes_per_hour;
	}
	return sum;
}

int sweep__find_times(struct sweep *sweep)
{
	size_t cnt = sweep->rows.cnt;
	struct sweep_row **rows = malloc(2 * cnt * sizeof(struct sweep_row *) + 1);
	struct sweep_row **limits = rows + cnt;

	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++)
		rows[i] = limits[i] = &sweep->rows.items[i];
	if (cnt) {
		qsort(rows, cnt, sizeof(*rows), by_cgroup);
		qsort(limits, cnt, sizeof(*limits), by_limit);
	}
	for (size_t i = 0; i < cnt; i++) {
		struct sweep_row *row = limits[i];
		bool is_same = i && !strcmp(row->limit_cgroup, limits[i - 1]->limit_cgroup);

		row->limit_per_hour = is_same ? limits[i - 1]->limit_per_hour
					      : sum_below(rows, cnt, row->limit_cgroup);
		row->seconds_to_limit = growth__seconds_to(row->room_bytes, row->limit_per_hour);
	}
	free(rows);
	return 0;
}
