/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Summing up, comparing and sorting; everything is O(rows * depth + nodes). */
#include "model/profile.h"

#include <string.h>

#include "model/fold.h"
#include "model/group_key.h"

/*
 * Finds the entry of a row's key in `index`, which maps {hash, n} to rows of `rows`; n counts the
 * different keys that share a hash. Returns its value or NULL; *ret_probe is then the n that is
 * free.
 */
static uint64_t *find_key(const struct hashmap *index, const struct keyer *keyer,
			  const struct snap_row *row, uint64_t hash,
			  const struct keyer *index_keyer, const struct profile *rows,
			  uint64_t *ret_probe)
{
	uint64_t *found;

	for (uint64_t probe = 0;; probe++) {
		found = hashmap__find(index, hash, probe);
		if (!found) {
			*ret_probe = probe;
			return NULL;
		}
		if (same_row(keyer, row, index_keyer, rows->rows.items[*found].row))
			return found;
	}
}

/* ---- order ---- */

/* Everything that a comparison of rows looks at. */
struct order {
	const struct snapshot *snap;
	enum profile_sort sort;
	uint32_t *module_ranks; /* position of each module when sorted by path */
};

/* Returns the leaf frame of a stack that is not empty. */
static const struct snap_frame *leaf_frame(const struct snapshot *snap, uint32_t stack)
{
	return &snap->frames.items[snap->nodes.items[stack].frame];
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* Bigger first. */
static int compare_down(int64_t a, int64_t b)
{
	return a > b ? -1 : a < b;
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

static int compare_module_ranks(const void *a, const void *b, void *context)
{
	const struct snap_module *modules = context;
	const uint32_t *index_a = a, *index_b = b;
	int order = compare_modules(&modules[*index_a], &modules[*index_b]);

	return order ? order : compare_u64(*index_a, *index_b);
}

/* Ranks modules by path once, so that comparing two stacks compares integers. Returns 0 or -ENOMEM.
 */
static int rank_modules(const struct snapshot *snap, uint32_t **ret_ranks)
{
	size_t cnt = snap->modules.cnt;
	uint32_t *sorted = calloc(cnt + 1, sizeof(*sorted));
	uint32_t *ranks = calloc(cnt + 1, sizeof(*ranks));

	if (!sorted || !ranks) {
		free(sorted);
		free(ranks);
		return -ENOMEM;
	}
	for (size_t i = 0; i < cnt; i++)
		sorted[i] = i;
	qsort_r(sorted, cnt, sizeof(*sorted), compare_module_ranks, snap->modules.items);
	for (size_t i = 0; i < cnt; i++) {
		bool tie = i && !compare_modules(&snap->modules.items[sorted[i - 1]],
						 &snap->modules.items[sorted[i]]);

		ranks[sorted[i]] = tie ? ranks[sorted[i - 1]] : i;
	}
	free(sorted);
	*ret_ranks = ranks;
	return 0;
}

static uint64_t frame_rank(const struct order *order, const struct snap_frame *frame)
{
	return frame->module == SNAP_NONE ? UINT64_MAX : order->module_ranks[frame->module];
}

/* Leaf first, by module path and offset. */
static int compare_stacks(const struct order *order, uint32_t a, uint32_t b)
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
static int compare_identity(const struct order *order, const struct snap_row *a,
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

static int compare_rows(const void *a, const void *b, void *context)
{
	const struct profile_row *row_a = a, *row_b = b;
	const struct order *order = context;
	int result = 0;

	if (order->sort == SORT_GROWTH)
		result = compare_down(row_a->delta_bytes, row_b->delta_bytes);
	if (!result && order->sort == SORT_COUNT)
		result = compare_down(row_a->cost.live_count, row_b->cost.live_count);
	if (!result)
		result = compare_down(row_a->cost.live_bytes, row_b->cost.live_bytes);
	if (!result)
		result = compare_down(row_a->cost.live_count, row_b->cost.live_count);
	return result ? result : compare_identity(order, row_a->row, row_b->row);
}

/* ---- building ---- */

/* Whether `a` stands for its group rather than `b`. */
static bool bigger_row(const struct order *order, const struct snap_row *a,
		       const struct snap_row *b)
{
	int result = compare_down(a->cost.live_bytes, b->cost.live_bytes);

	if (!result)
		result = compare_down(a->cost.alloc_bytes, b->cost.alloc_bytes);
	return (result ? result : compare_identity(order, a, b)) < 0;
}

static void add_to_group(struct profile_row *group, const struct snap_row *row,
			 const struct order *order)
{
	/* An oldest age of 0: no live block of this row was looked at, so its newest says nothing
	 * either. */
	if (row->oldest_ns && (!group->oldest_ns || row->newest_ns < group->newest_ns))
		group->newest_ns = row->newest_ns;
	if (row->oldest_ns > group->oldest_ns)
		group->oldest_ns = row->oldest_ns;
	if (!group->row || bigger_row(order, row, group->row))
		group->row = row;
	cost__add(&group->cost, &row->cost);
	group->rows++;
}

/* Counts the processes of a group: those pairs of process and group that were not seen yet. */
static int count_proc(struct hashmap *seen, struct profile_row *group, size_t group_idx,
		      uint32_t proc)
{
	bool is_new;

	if (!hashmap__insert(seen, group_idx, proc, &is_new))
		return -ENOMEM;
	group->procs += is_new;
	return 0;
}

static int group_rows(struct profile *profile, const struct keyer *keyer, const struct order *order)
{
	const struct snapshot *snap = profile->snap;
	struct hashmap index = {0}, procs = {0};
	int err = 0;

	for (size_t i = 0; i < snap->rows.cnt && !err; i++) {
		const struct snap_row *row = &snap->rows.items[i];
		uint64_t hash = hash_row(keyer, row), probe, *found;

		found = find_key(&index, keyer, row, hash, keyer, profile, &probe);
		if (!found) {
			err = array_push(&profile->rows, (struct profile_row){0});
			found = err ? NULL : hashmap__insert(&index, hash, probe, NULL);
			if (!found) {
				err = -ENOMEM;
				break;
			}
			*found = profile->rows.cnt - 1;
		}
		add_to_group(&profile->rows.items[*found], row, order);
		err = count_proc(&procs, &profile->rows.items[*found], *found, row->proc);
	}
	hashmap__free(&index);
	hashmap__free(&procs);
	return err;
}

static void sum_up(struct profile *profile)
{
	for (size_t i = 0; i < profile->snap->rows.cnt; i++) {
		const struct snap_row *row = &profile->snap->rows.items[i];

		cost__add(&profile->total, &row->cost);
		cost__add(&profile->proc_totals[row->proc], &row->cost);
	}
	for (size_t i = 0; i < profile->rows.cnt; i++) {
		profile->rows.items[i].delta_bytes = profile->rows.items[i].cost.live_bytes;
		profile->rows.items[i].delta_count = profile->rows.items[i].cost.live_count;
	}
	profile->delta_bytes = profile->total.live_bytes;
}

/* Takes the live part of `previous`, grouped alike, from the deltas. Returns 0 or -ENOMEM. */
static int subtract_rows(struct profile *profile, const struct keyer *keyer,
			 const struct profile *previous)
{
	struct hashmap index = {0};
	struct keyer previous_keyer;
	uint64_t hash, probe, *found;
	int err;

	err = keyer__init(&previous_keyer, previous, keyer->group);
	for (size_t i = 0; i < previous->rows.cnt && !err; i++) {
		const struct snap_row *row = previous->rows.items[i].row;

		hash = hash_row(&previous_keyer, row);
		for (probe = 0; hashmap__find(&index, hash, probe);)
			probe++;
		found = hashmap__insert(&index, hash, probe, NULL);
		if (found)
			*found = i;
		else
			err = -ENOMEM;
	}
	for (size_t i = 0; i < profile->rows.cnt && !err; i++) {
		struct profile_row *row = &profile->rows.items[i];

		found = find_key(&index, keyer, row->row, hash_row(keyer, row->row),
				 &previous_keyer, previous, &probe);
		if (!found)
			continue;
		row->delta_bytes -= previous->rows.items[*found].cost.live_bytes;
		row->delta_count -= previous->rows.items[*found].cost.live_count;
	}
	hashmap__free(&index);
	keyer__destroy(&previous_keyer);
	return err;
}

static int subtract_previous(struct profile *profile, const struct keyer *keyer,
			     const struct profile *previous)
{
	struct profile *regrouped = NULL;
	int err;

	if (previous->opts.group != profile->opts.group) {
		regrouped = profile__new(previous->snap, previous->symbols, &profile->opts, NULL);
		if (!regrouped)
			return -ENOMEM;
	}
	err = subtract_rows(profile, keyer, regrouped ? regrouped : previous);
	profile__free(regrouped);
	profile->delta_bytes -= previous->total.live_bytes;
	profile->has_previous = true;
	return err;
}

/* The stacks behind the groups, while there is something to compare them with. */
static int profile_stacks(struct profile *profile, const struct profile *previous)
{
	struct profile_opts opts = profile->opts;

	opts.group = GROUP_STACK;
	profile->stacks = profile__new(profile->snap, profile->symbols, &opts,
				       previous->stacks ? previous->stacks : previous);
	return profile->stacks ? 0 : -ENOMEM;
}

bool call__has_source(const struct call_info *call, enum profile_group group)
{
	return call->file && (group == GROUP_FILE || call->line);
}

void call__reduce(struct call_info *call, enum profile_group group)
{
	bool by_source = group == GROUP_FILE || group == GROUP_LINE;

	if ((group == GROUP_FUNCTION && call->function) ||
	    (by_source && !call__has_source(call, group)))
		call->file = NULL;
	if (group == GROUP_FILE && call->file)
		call->function = NULL;
	if (!call->file || group == GROUP_FILE)
		call->line = 0;
	if (by_source || group == GROUP_FUNCTION)
		call->inlined = false;
}

struct call profile__begin(const struct profile *profile, uint32_t stack)
{
	return profile->opts.all_frames ? (struct call){.node = stack} : profile->begins[stack];
}

struct profile *profile__new(const struct snapshot *snap, const struct symbol *symbols,
			     const struct profile_opts *opts, const struct profile *previous)
{
	struct profile *profile = calloc(1, sizeof(*profile));
	struct order order = {.snap = snap, .sort = opts->sort};
	struct keyer keyer = {0};
	int err = -ENOMEM;

	if (!profile)
		return NULL;
	profile->snap = snap;
	profile->symbols = symbols;
	profile->opts = *opts;
	profile->proc_totals = calloc(snap->procs.cnt + 1, sizeof(*profile->proc_totals));
	profile->begins = fold_stacks(snap, symbols);
	if (!profile->proc_totals || !profile->begins)
		goto cleanup;
	err = keyer__init(&keyer, profile, opts->group);
	if (!err)
		err = rank_modules(snap, &order.module_ranks);
	if (!err)
		err = group_rows(profile, &keyer, &order);
	if (err)
		goto cleanup;
	sum_up(profile);
	if (previous)
		err = subtract_previous(profile, &keyer, previous);
	if (!err && previous && opts->group != GROUP_STACK)
		err = profile_stacks(profile, previous);
	if (!err && profile->rows.cnt)
		qsort_r(profile->rows.items, profile->rows.cnt, sizeof(*profile->rows.items),
			compare_rows, &order);
cleanup:
	keyer__destroy(&keyer);
	free(order.module_ranks);
	if (err) {
		profile__free(profile);
		profile = NULL;
	}
	return profile;
}

void profile__free(struct profile *profile)
{
	if (!profile)
		return;
	array_free(&profile->rows);
	profile__free(profile->stacks);
	free(profile->begins);
	free(profile->proc_totals);
	free(profile);
}
