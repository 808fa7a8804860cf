/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A census in four steps, over one picture of the pools that is kept in memory: each block in use
 * is told by its type; what lies outside the pools is found through what refers to it
 * (census_large.c); blocks that are parts of objects are given to them (census_parts.c); and all is
 * summed by type.
 */
#include "python/census.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/census_state.h"
#include "util/clock.h"
#include "util/format.h"

#define NO_OBJECT "(not an object)"
#define KEEP_BYTES (512ULL << 20) /* pools over that are read again, in each step */

/* ---- what there is --------------------------------------------------------------------------- */

static int take_picture(struct census_state *state, struct pool_scan **ret_scan)
{
	const struct pool_scan_opts opts = {
		.pool_shift = state->process->layout.pool_shift,
		.alignment = state->process->layout.alignment,
		.has_data = true,
		.keep_bytes = KEEP_BYTES,
	};
	int err;

	err = pool_scan__read(state->process->pid, &opts, ret_scan);
	if (err)
		return err;
	state->scan = *ret_scan;
	state->types = python_types__new(state->process);
	return state->types ? census_classify(state) : -ENOMEM;
}

/* ---- sums ------------------------------------------------------------------------------------ */

static int sum_block(struct census_state *state, void *arg, const struct pool *pool, uint32_t i,
		     uint32_t *class)
{
	struct class_sum *sum = &state->sums[*class];

	(void)arg;
	(void)i;
	if (*class & CLASS_PART)
		return 0;
	sum->cnt++;
	sum->bytes += pool->block_size;
	return 0;
}

static void sum_large(struct census_state *state)
{
	for (size_t i = 0; i < state->large.cnt; i++) {
		const struct large_object *large = &state->large.items[i];
		struct class_sum *sum = &state->sums[CLASS_OF(large->type, false)];

		sum->cnt++;
		sum->bytes += large->bytes;
		sum->large_bytes += large->bytes;
	}
}

static char *class_name(const struct census_state *state, uint32_t class)
{
	const char *name;

	if (class < CLASS_FIRST)
		return strdup(NO_OBJECT);
	name = python_types__name(state->types, CLASS_TYPE(class));
	return CLASS_IS_OWN_DICT(class) ? format_text("dict of %s", name) : strdup(name);
}

static int row_by_name(const void *a, const void *b)
{
	return strcmp(((const struct census_row *)a)->type, ((const struct census_row *)b)->type);
}

static int row_by_bytes(const void *a, const void *b)
{
	const struct census_row *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return strcmp(x->type, y->type);
}

/* Types of one name become one row: a class that is defined anew each time, for one. */
static void merge_rows(struct census *census)
{
	size_t kept = 0;

	if (!census->rows.cnt)
		return;
	qsort(census->rows.items, census->rows.cnt, sizeof(*census->rows.items), row_by_name);
	for (size_t i = 1; i < census->rows.cnt; i++) {
		struct census_row *row = &census->rows.items[i], *last;

		last = &census->rows.items[kept];
		if (strcmp(row->type, last->type)) {
			census->rows.items[++kept] = *row;
			continue;
		}
		last->cnt += row->cnt;
		last->bytes += row->bytes;
		last->large_bytes += row->large_bytes;
		free(row->type);
	}
	census->rows.cnt = kept + 1;
	qsort(census->rows.items, census->rows.cnt, sizeof(*census->rows.items), row_by_bytes);
}

static int make_rows(const struct census_state *state, uint32_t class_cnt, struct census *census)
{
	for (uint32_t class = 0; class < class_cnt; class ++) {
		const struct class_sum *sum = &state->sums[class];
		struct census_row row = {
			.cnt = sum->cnt,
			.bytes = sum->bytes,
			.large_bytes = sum->large_bytes,
		};

		if (!sum->cnt && !sum->bytes)
			continue;
		row.type = class_name(state, class);
		if (!row.type)
			return -ENOMEM;
		if (array_push(&census->rows, row)) {
			free(row.type);
			return -ENOMEM;
		}
		census->cnt += row.cnt;
		census->bytes += row.bytes;
	}
	merge_rows(census);
	return 0;
}

int census__take(const struct python_process *process, struct census *ret)
{
	struct census_state state = {.process = process};
	uint64_t began = clock_ns(CLOCK_MONOTONIC);
	struct pool_scan *scan = NULL;
	struct census census = {0};
	uint32_t class_cnt;
	int err;

	err = take_picture(&state, &scan);
	if (!err)
		err = census_find_large(&state);
	if (err)
		goto cleanup;
	census_name_dicts(&state);
	class_cnt = CLASS_OF(python_types__cnt(state.types), false);
	state.sums = calloc(class_cnt, sizeof(*state.sums));
	err = state.sums ? census_assign_parts(&state) : -ENOMEM;
	if (!err)
		err = census_each_block(&state, sum_block, NULL);
	if (err)
		goto cleanup;
	sum_large(&state);
	err = make_rows(&state, class_cnt, &census);
	if (err)
		goto cleanup;
	census.pool_bytes = state.scan->live_bytes;
	census.pool_free_bytes =
		state.scan->free_bytes + state.scan->empty_cnt * state.scan->pool_bytes;
	census.torn = state.torn;
	census.swapped_bytes = state.memory.swapped_bytes;
	census.elapsed_ns = clock_ns(CLOCK_MONOTONIC) - began;
	*ret = census;
	census = (struct census){0};
cleanup:
	census__free(&census);
	python_types__free(state.types);
	pool_scan__free(scan);
	census_state__free(&state);
	return err;
}

void census__free(struct census *census)
{
	for (size_t i = 0; i < census->rows.cnt; i++)
		free(census->rows.items[i].type);
	array_free(&census->rows);
}

/* ---- differences ----------------------------------------------------------------------------- */

static int change_by_name(const void *a, const void *b)
{
	return strcmp(((const struct census_change *)a)->type,
		      ((const struct census_change *)b)->type);
}

static int change_by_growth(const void *a, const void *b)
{
	const struct census_change *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	if (x->cnt != y->cnt)
		return x->cnt < y->cnt ? 1 : -1;
	return strcmp(x->type, y->type);
}

int census__compare(const struct census *old, const struct census *census,
		    struct census_change **ret_changes, size_t *ret_cnt)
{
	struct census_change *changes;
	size_t cnt = 0, kept = 0;

	changes = calloc(old->rows.cnt + census->rows.cnt + 1, sizeof(*changes));
	if (!changes)
		return -ENOMEM;
	for (size_t i = 0; i < old->rows.cnt; i++)
		changes[cnt++] = (struct census_change){
			.type = old->rows.items[i].type,
			.cnt = -(int64_t)old->rows.items[i].cnt,
			.bytes = -(int64_t)old->rows.items[i].bytes,
		};
	for (size_t i = 0; i < census->rows.cnt; i++)
		changes[cnt++] = (struct census_change){
			.type = census->rows.items[i].type,
			.cnt = (int64_t)census->rows.items[i].cnt,
			.bytes = (int64_t)census->rows.items[i].bytes,
		};
	qsort(changes, cnt, sizeof(*changes), change_by_name);
	for (size_t i = 0; i < cnt; i++) {
		struct census_change change = changes[i];

		for (; i + 1 < cnt && !strcmp(changes[i + 1].type, change.type); i++) {
			change.cnt += changes[i + 1].cnt;
			change.bytes += changes[i + 1].bytes;
		}
		if (change.cnt || change.bytes)
			changes[kept++] = change;
	}
	qsort(changes, kept, sizeof(*changes), change_by_growth);
	*ret_changes = changes;
	*ret_cnt = kept;
	return 0;
}
