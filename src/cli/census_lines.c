/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/census.h"

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct census_line *)a)->type, ((const struct census_line *)b)->type);
}

static int by_bytes(const void *a, const void *b)
{
	const struct census_line *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return by_name(a, b);
}

static int by_count(const void *a, const void *b)
{
	const struct census_line *x = a, *y = b;

	if (x->cnt != y->cnt)
		return x->cnt < y->cnt ? 1 : -1;
	return by_bytes(a, b);
}

static int by_growth(const void *a, const void *b)
{
	const struct census_line *x = a, *y = b;

	if (x->bytes_change != y->bytes_change)
		return x->bytes_change < y->bytes_change ? 1 : -1;
	if (x->cnt_change != y->cnt_change)
		return x->cnt_change < y->cnt_change ? 1 : -1;
	return by_bytes(a, b);
}

/* Puts the changes beside the types, both by name; a type that is gone becomes a line, too. */
static size_t add_changes(struct census_line *lines, size_t cnt,
			  const struct census_change *changes, size_t change_cnt)
{
	size_t old_cnt = cnt;

	qsort(lines, cnt, sizeof(*lines), by_name);
	for (size_t i = 0; i < change_cnt; i++) {
		const struct census_line wanted = {
			.type = changes[i].type,
			.cnt_change = changes[i].cnt,
			.bytes_change = changes[i].bytes,
		};
		struct census_line *line;

		line = bsearch(&wanted, lines, old_cnt, sizeof(*lines), by_name);
		if (line) {
			line->cnt_change = wanted.cnt_change;
			line->bytes_change = wanted.bytes_change;
		} else {
			lines[cnt++] = wanted;
		}
	}
	return cnt;
}

int census_lines(const struct census *census, const struct census *old, bool only_changes,
		 enum census_sort sort, struct census_line **ret_lines, size_t *ret_cnt)
{
	size_t cnt = 0, kept = 0, change_cnt = 0;
	struct census_change *changes = NULL;
	struct census_line *lines;
	int err = 0;

	lines = calloc(census->rows.cnt + (old ? old->rows.cnt : 0) + 1, sizeof(*lines));
	if (!lines)
		return -ENOMEM;
	for (; cnt < census->rows.cnt; cnt++) {
		const struct census_row *row = &census->rows.items[cnt];

		lines[cnt] = (struct census_line){
			.type = row->type,
			.cnt = row->cnt,
			.bytes = row->bytes,
			.large_bytes = row->large_bytes,
		};
	}
	if (old)
		err = census__compare(old, census, &changes, &change_cnt);
	if (err) {
		free(lines);
		return err;
	}
	cnt = add_changes(lines, cnt, changes, change_cnt);
	free(changes);
	for (size_t i = 0; i < cnt; i++)
		if (!only_changes || lines[i].cnt_change || lines[i].bytes_change)
			lines[kept++] = lines[i];
	qsort(lines, kept, sizeof(*lines),
	      sort == CENSUS_BY_COUNT	 ? by_count
	      : sort == CENSUS_BY_GROWTH ? by_growth
					 : by_bytes);
	*ret_lines = lines;
	*ret_cnt = kept;
	return 0;
}
