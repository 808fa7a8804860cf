/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line a source line, as tracemalloc's statistics are printed: for people and for scripts. */
#include "report/report.h"

#include <inttypes.h>
#include <string.h>

#include "model/annotation.h"
#include "model/group.h"
#include "model/hash.h"
#include "report/call_line.h"
#include "report/render.h"
#include "util/format.h"
#include "util/units.h"

struct line_sum {
	char *place; /* owned: "app/cache.py:42" */
	int64_t bytes, count;
	int64_t delta_bytes, delta_count;
};

struct line_sums {
	ARRAY(struct line_sum) sums;
	struct hashmap index;
	enum profile_sort sort;
};

static void line_sums__free(struct line_sums *sums)
{
	for (size_t i = 0; i < sums->sums.cnt; i++)
		free(sums->sums.items[i].place);
	array_free(&sums->sums);
	hashmap__free(&sums->index);
}

/* Returns the owned name of where a stack allocates, or NULL (no memory). */
static char *name_place(const struct profile *profile, uint32_t stack)
{
	struct call begin = profile__source(profile, stack, GROUP_LINE);
	const char *module;
	struct call_info call;
	char *name, *place;

	if (!begin.node)
		return strdup("[stack lost]");
	call__read(begin, profile->snap, profile->symbols, &call);
	if (call.file)
		return format_text("%s:%" PRIu32, call.file, call.line);
	module = frame_module_path(profile->snap, call.frame);
	name = call_key(profile, &call);
	if (!name || !call.function || !module)
		return name;
	place = format_text("%s (%s)", name, path_basename(module));
	free(name);
	return place;
}

/* The same with the control group before it, when the report is grouped by them. */
static char *name_row(const struct profile *profile, const struct snap_row *row,
		      enum profile_group group)
{
	char *place = name_place(profile, row->stack), *name;

	if (!place || !group__is_cgroups(group))
		return place;
	name = format_text("%s: %s", group__title(profile->snap, row->proc, group), place);
	free(place);
	return name;
}

/* Returns the sum of a place, which is taken over, made when it is new; NULL = no memory. */
static struct line_sum *find_sum(struct line_sums *sums, char *place)
{
	uint64_t hash = hash_text(place), probe, *found;

	for (probe = 0; (found = hashmap__find(&sums->index, hash, probe)); probe++) {
		if (strcmp(sums->sums.items[*found].place, place))
			continue;
		free(place);
		return &sums->sums.items[*found];
	}
	found = array_reserve_one(&sums->sums) ? NULL
					       : hashmap__insert(&sums->index, hash, probe, NULL);
	if (!found) {
		free(place);
		return NULL;
	}
	*found = sums->sums.cnt++;
	sums->sums.items[*found] = (struct line_sum){.place = place};
	return &sums->sums.items[*found];
}

static int add_rows(struct line_sums *sums, const struct profile *profile, enum profile_group group)
{
	for (size_t i = 0; i < profile->rows.cnt; i++) {
		const struct profile_row *row = &profile->rows.items[i];
		char *place = name_row(profile, row->row, group);
		struct line_sum *sum = place ? find_sum(sums, place) : NULL;

		if (!sum)
			return -ENOMEM;
		sum->bytes += row->cost.live_bytes;
		sum->count += row->cost.live_count;
		sum->delta_bytes += row->delta_bytes;
		sum->delta_count += row->delta_count;
	}
	return 0;
}

static int compare_down(int64_t a, int64_t b)
{
	return a > b ? -1 : a < b;
}

static int compare_sums(const void *a, const void *b, void *context)
{
	const struct line_sum *sum_a = a, *sum_b = b;
	const enum profile_sort *sort = context;
	int order = 0;

	if (*sort == SORT_GROWTH)
		order = compare_down(sum_a->delta_bytes, sum_b->delta_bytes);
	if (!order && *sort == SORT_COUNT)
		order = compare_down(sum_a->count, sum_b->count);
	if (!order)
		order = compare_down(sum_a->bytes, sum_b->bytes);
	if (!order)
		order = compare_down(sum_a->count, sum_b->count);
	return order ? order : strcmp(sum_a->place, sum_b->place);
}

static void put_sum(const struct line_sum *sum, bool has_previous, FILE *out)
{
	char size[UNITS_MAX], delta[UNITS_MAX], average[UNITS_MAX];

	text_put(out, sum->place);
	fprintf(out, ": size=%s", format_size(sum->bytes, size));
	if (has_previous)
		fprintf(out, " (%s%s)", sum->delta_bytes < 0 ? "" : "+",
			format_size(sum->delta_bytes, delta));
	fprintf(out, ", count=%" PRId64, sum->count);
	if (has_previous)
		fprintf(out, " (%+" PRId64 ")", sum->delta_count);
	fprintf(out, ", average=%s\n",
		format_size(sum->count ? sum->bytes / sum->count : 0, average));
}

int report_lines(const struct profile *profile, const struct report_opts *opts, FILE *out)
{
	struct line_sums sums = {.sort = profile->opts.sort};
	struct profile *owned = NULL;
	const struct profile *rows;
	uint32_t shown = 0;
	int err;

	(void)opts;
	rows = profile->opts.group == GROUP_LINE ? profile : profile__by_stack(profile, &owned);
	err = rows ? add_rows(&sums, rows, profile->opts.group) : -ENOMEM;
	if (!err && sums.sums.cnt)
		qsort_r(sums.sums.items, sums.sums.cnt, sizeof(*sums.sums.items), compare_sums,
			&sums.sort);
	for (size_t i = 0; !err && i < sums.sums.cnt; i++) {
		const struct line_sum *sum = &sums.sums.items[i];
		bool changed = profile->has_previous && (sum->delta_bytes || sum->delta_count);

		if (sum->bytes == 0 && sum->count <= 0 && !changed)
			continue;
		if (profile->opts.top && shown++ == profile->opts.top)
			break;
		put_sum(sum, profile->has_previous, out);
	}
	/* The lists of intervals follow each other. */
	if (profile->snap->interval)
		fputc('\n', out);
	line_sums__free(&sums);
	profile__free(owned);
	return err ? err : finish_output(out);
}
