// SPDX-License-Identifier: GPL-2.0-or-later
#include "model/row_order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/group_key.h"

/* ---- ranks ---- */

/* Returns the leaf frame of a stack that is not empty. */
static const struct snap_frame *leaf_frame(const struct snapshot *snap, uint32_t stack)
{
	return &snap->frames.items[snap->nodes.items[stack].frame];
}

static int compare_modules(const struct snap_module *a, const struct snap_module *b)
{
	int order = strcmp(a->path, b->path);

	if (!order)
		order = memcmp(a->build_id, b->build_id, sizeof(a->build_id));
	if (!order)
		order = compare_u64(a->dev, b->dev);
	return order ? order : compare_u64(a->ino, b->ino);
}

static int compare_module_items(const struct snapshot *snap, uint32_t a, uint32_t b)
{
	return compare_modules(&snap->modules.items[a], &snap->modules.items[b]);
}

static int compare_code_items(const struct snapshot *snap, uint32_t a, uint32_t b)
{
	const struct snap_code *code_a = &snap->codes.items[a], *code_b = &snap->codes.items[b];
	int order = strcmp(code_a->file, code_b->file);

	if (!order)
		order = strcmp(code_a->function, code_b->function);
	return order ? order : compare_u64(code_a->first_line, code_b->first_line);
}

/* A list of the snapshot to be ranked. */
struct ranking {
	const struct snapshot *snap;
	int (*compare)(const struct snapshot *snap, uint32_t a, uint32_t b);
};

static int compare_ranked(const void *a, const void *b, void *context)
{
	const struct ranking *ranking = context;
	const uint32_t *index_a = a, *index_b = b;
	int order = ranking->compare(ranking->snap, *index_a, *index_b);

	return order ? order : compare_u64(*index_a, *index_b);
}

/* Ranks a list once, so that comparing two stacks compares integers. Returns 0 or -ENOMEM. */
static int rank_items(struct ranking ranking, size_t cnt, uint32_t **ret_ranks)
{
	uint32_t *sorted = calloc(cnt + 1, sizeof(*sorted));
	uint32_t *ranks = calloc(cnt + 1, sizeof(*ranks));

	if (!sorted || !ranks) {
		free(sorted);
		free(ranks);
		return -ENOMEM;
	}
	for (size_t i = 0; i < cnt; i++)
		sorted[i] = i;
	qsort_r(sorted, cnt, sizeof(*sorted), compare_ranked, &ranking);
	for (size_t i = 0; i < cnt; i++) {
		bool tie = i && !ranking.compare(ranking.snap, sorted[i - 1], sorted[i]);

		ranks[sorted[i]] = tie ? ranks[sorted[i - 1]] : i;
	}
	free(sorted);
	*ret_ranks = ranks;
	return 0;
}

int row_order__init(struct row_order *order, const struct snapshot *snap, enum profile_sort sort)
{
	const struct ranking modules = {snap, compare_module_items};
	const struct ranking codes = {snap, compare_code_items};
	int err;

	*order = (struct row_order){.snap = snap, .sort = sort};
	err = rank_items(modules, snap->modules.cnt, &order->module_ranks);
	return err ? err : rank_items(codes, snap->codes.cnt, &order->code_ranks);
}

void row_order__destroy(struct row_order *order)
{
	free(order->module_ranks);
	free(order->code_ranks);
}

/* Python functions come behind all modules. */
static uint64_t frame_rank(const struct row_order *order, const struct snap_frame *frame)
{
	if (frame->module == SNAP_NONE)
		return UINT64_MAX;
	return frame->kind == FRAME_PYTHON
		       ? (uint64_t)order->snap->modules.cnt + order->code_ranks[frame->module]
		       : order->module_ranks[frame->module];
}

/* ---- rows ---- */

/* Leaf first, by module path and offset. */
static int compare_stacks(const struct row_order *order, uint32_t a, uint32_t b)
{
	const struct snapshot *snap = order->snap;
	int result;

	for (; a && b && a != b; a = snap->nodes.items[a].parent, b = snap->nodes.items[b].parent) {
		const struct snap_frame *frame_a = leaf_frame(snap, a),
					*frame_b = leaf_frame(snap, b);

		result = compare_u64(frame_rank(order, frame_a), frame_rank(order, frame_b));
		if (!result)
			result = compare_u64(frame_a->offset, frame_b->offset);
		if (!result)
			result = compare_u64(frame_a->kind, frame_b->kind);
		if (result)
			return result;
	}
	return a == b ? 0 : a ? 1 : -1;
}

/* The order of rows that weigh the same; no two rows of a snapshot are equal in it. */
static int compare_identity(const struct row_order *order, const struct snap_row *a,
			    const struct snap_row *b)
{
	const struct snap_proc *proc_a = &order->snap->procs.items[a->proc];
	const struct snap_proc *proc_b = &order->snap->procs.items[b->proc];
	int result = proc_a->pid < proc_b->pid ? -1 : proc_a->pid > proc_b->pid;

	if (!result)
		result = compare_u64(proc_a->start_ns, proc_b->start_ns);
	if (!result)
		result = compare_u64(proc_state_order(proc_a), proc_state_order(proc_b));
	if (!result)
		result = compare_u64(a->layer, b->layer);
	if (!result)
		result = compare_stacks(order, a->stack, b->stack);
	if (!result)
		result = compare_u64(a->proc, b->proc);
	return result ? result : (a < b ? -1 : a > b);
}

int compare_types(const struct snapshot *snap, uint32_t a, uint32_t b)
{
	if (a == b)
		return 0;
	if (a == SNAP_NONE || b == SNAP_NONE)
		return a == SNAP_NONE ? 1 : -1;
	return strcmp(snap->types.items[a], snap->types.items[b]);
}

int compare_profile_rows(const void *a, const void *b, void *context)
{
	const struct profile_row *row_a = a, *row_b = b;
	const struct row_order *order = context;
	int result = 0;

	if (order->sort == SORT_GROWTH)
		result = compare_down(row_a->delta_bytes, row_b->delta_bytes);
	if (!result && order->sort == SORT_COUNT)
		result = compare_down(row_a->cost.live_count, row_b->cost.live_count);
	if (!result)
		result = compare_down(row_a->cost.live_bytes, row_b->cost.live_bytes);
	if (!result)
		result = compare_down(row_a->cost.live_count, row_b->cost.live_count);
	if (!result)
		result = compare_types(order->snap, row_a->type, row_b->type);
	return result ? result : compare_identity(order, row_a->row, row_b->row);
}

bool bigger_row(const struct row_order *order, const struct snap_row *a, const struct snap_row *b)
{
	int result = compare_down(a->cost.live_bytes, b->cost.live_bytes);

	if (!result)
		result = compare_down(a->cost.alloc_bytes, b->cost.alloc_bytes);
	return (result ? result : compare_identity(order, a, b)) < 0;
}
