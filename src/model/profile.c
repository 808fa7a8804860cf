/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows are summed up and matched with the previous profile by what they are, never by index: a
 * process is its pid and start time, a frame its module's identity (build-id, else device and
 * inode, else path) and its offset. Each such key has a 64-bit hash, made for all nodes of the
 * stack tree in one pass (parents come before children), and a full comparison that settles equal
 * hashes. Everything is O(rows * depth + nodes).
 */
#include "model/profile.h"

#include <string.h>

#include "model/symbol.h"

/* A snapshot with the hashes of its parts. */
struct keyer {
	const struct snapshot *snap;
	const struct symbol *symbols; /* NULL = no names */
	enum profile_group group;
	uint64_t *module_hashes;
	uint64_t *node_hashes;
	uint32_t *generations; /* per process: which image of its pid and start time */
};

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	hash ^= hash >> 29;
	hash *= 0xbf58476d1ce4e5b9ULL;
	return hash ^ hash >> 32;
}

/* FNV-1a. */
static uint64_t hash_bytes(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	return hash;
}

static uint64_t hash_text(const char *text)
{
	return hash_bytes(text, strlen(text));
}

/* ---- identity of modules, frames, stacks, processes ---- */

static uint64_t hash_module(const struct snap_module *module)
{
	if (module->build_id_len)
		return mix(1, hash_bytes(module->build_id, module->build_id_len));
	if (module->ino)
		return mix(mix(2, module->dev), module->ino);
	return mix(3, hash_text(module->path));
}

static bool same_module(const struct snap_module *a, const struct snap_module *b)
{
	if (a->build_id_len || b->build_id_len)
		return a->build_id_len == b->build_id_len &&
		       !memcmp(a->build_id, b->build_id, a->build_id_len);
	if (a->ino || b->ino)
		return a->ino == b->ino && a->dev == b->dev;
	return !strcmp(a->path, b->path);
}

static uint64_t frame_module_hash(const struct keyer *keyer, const struct snap_frame *frame)
{
	return frame->module == SNAP_NONE ? 0 : keyer->module_hashes[frame->module];
}

static bool same_frame_module(const struct keyer *ka, const struct snap_frame *a,
			      const struct keyer *kb, const struct snap_frame *b)
{
	if (a->module == SNAP_NONE || b->module == SNAP_NONE)
		return a->module == b->module;
	return same_module(&ka->snap->modules.items[a->module],
			   &kb->snap->modules.items[b->module]);
}

static uint64_t hash_frame(const struct keyer *keyer, const struct snap_frame *frame)
{
	return mix(mix(frame_module_hash(keyer, frame), frame->offset), frame->kind);
}

static bool same_frame(const struct keyer *ka, const struct snap_frame *a, const struct keyer *kb,
		       const struct snap_frame *b)
{
	return a->offset == b->offset && a->kind == b->kind && same_frame_module(ka, a, kb, b);
}

static bool same_stack(const struct keyer *ka, uint32_t a, const struct keyer *kb, uint32_t b)
{
	const struct snap_node *node_a, *node_b;

	while (a && b && !(ka->snap == kb->snap && a == b)) {
		node_a = &ka->snap->nodes.items[a];
		node_b = &kb->snap->nodes.items[b];
		if (!same_frame(ka, &ka->snap->frames.items[node_a->frame], kb,
				&kb->snap->frames.items[node_b->frame]))
			return false;
		a = node_a->parent;
		b = node_b->parent;
	}
	return (!a && !b) || (ka->snap == kb->snap && a == b);
}

static uint64_t hash_proc(const struct keyer *keyer, uint32_t proc)
{
	const struct snap_proc *item = &keyer->snap->procs.items[proc];

	return mix(mix(item->pid, item->start_ns), keyer->generations[proc]);
}

static bool same_proc(const struct keyer *ka, uint32_t a, const struct keyer *kb, uint32_t b)
{
	const struct snap_proc *proc_a = &ka->snap->procs.items[a];
	const struct snap_proc *proc_b = &kb->snap->procs.items[b];

	return proc_a->pid == proc_b->pid && proc_a->start_ns == proc_b->start_ns &&
	       ka->generations[a] == kb->generations[b];
}

/* Returns the leaf frame of a stack, NULL for the empty stack. */
static const struct snap_frame *leaf_frame(const struct snapshot *snap, uint32_t stack)
{
	return stack ? &snap->frames.items[snap->nodes.items[stack].frame] : NULL;
}

static const char *frame_function(const struct keyer *keyer, const struct snap_frame *frame)
{
	return keyer->symbols ? keyer->symbols[frame - keyer->snap->frames.items].function : NULL;
}

static uint64_t hash_function(const struct keyer *keyer, uint32_t stack)
{
	const struct snap_frame *leaf = leaf_frame(keyer->snap, stack);
	const char *function = leaf ? frame_function(keyer, leaf) : NULL;

	if (!leaf)
		return 0;
	if (!function)
		return hash_frame(keyer, leaf);
	return mix(hash_text(function), frame_module_hash(keyer, leaf));
}

static bool same_function(const struct keyer *ka, uint32_t a, const struct keyer *kb, uint32_t b)
{
	const struct snap_frame *leaf_a = leaf_frame(ka->snap, a),
				*leaf_b = leaf_frame(kb->snap, b);
	const char *function_a, *function_b;

	if (!leaf_a || !leaf_b)
		return !leaf_a && !leaf_b;
	function_a = frame_function(ka, leaf_a);
	function_b = frame_function(kb, leaf_b);
	if (!function_a || !function_b)
		return !function_a && !function_b && same_frame(ka, leaf_a, kb, leaf_b);
	return !strcmp(function_a, function_b) && same_frame_module(ka, leaf_a, kb, leaf_b);
}

/* ---- the key of a row under a grouping ---- */

static uint64_t hash_row(const struct keyer *keyer, const struct snap_row *row)
{
	switch (keyer->group) {
	case GROUP_FUNCTION:
		return hash_function(keyer, row->stack);
	case GROUP_PROCESS:
		return hash_proc(keyer, row->proc);
	case GROUP_CGROUP:
		return hash_text(keyer->snap->procs.items[row->proc].cgroup);
	case GROUP_STACK:
		break;
	}
	return mix(mix(hash_proc(keyer, row->proc), row->layer), keyer->node_hashes[row->stack]);
}

static bool same_row(const struct keyer *ka, const struct snap_row *a, const struct keyer *kb,
		     const struct snap_row *b)
{
	switch (ka->group) {
	case GROUP_FUNCTION:
		return same_function(ka, a->stack, kb, b->stack);
	case GROUP_PROCESS:
		return same_proc(ka, a->proc, kb, b->proc);
	case GROUP_CGROUP:
		return !strcmp(ka->snap->procs.items[a->proc].cgroup,
			       kb->snap->procs.items[b->proc].cgroup);
	case GROUP_STACK:
		break;
	}
	return a->layer == b->layer && same_proc(ka, a->proc, kb, b->proc) &&
	       same_stack(ka, a->stack, kb, b->stack);
}

static unsigned int state_order(const struct snap_proc *proc)
{
	return proc->state == PROC_EXECED ? 0 : proc->state == PROC_EXITED ? 1 : 2;
}

/*
 * exec keeps pid and start time, so two images of one process may stand in a snapshot. They are
 * numbered with the running one last: numbers then stay the same from snapshot to snapshot,
 * whatever the order of the list.
 */
static int number_generations(struct keyer *keyer)
{
	struct hashmap seen = {0};
	int err = 0;

	for (unsigned int order = 0; order < 3; order++) {
		for (size_t i = 0; i < keyer->snap->procs.cnt && !err; i++) {
			const struct snap_proc *proc = &keyer->snap->procs.items[i];
			uint64_t *cnt;

			if (state_order(proc) != order)
				continue;
			cnt = hashmap__insert(&seen, proc->start_ns, proc->pid, NULL);
			if (cnt)
				keyer->generations[i] = (*cnt)++;
			else
				err = -ENOMEM;
		}
	}
	hashmap__free(&seen);
	return err;
}

static void keyer__destroy(struct keyer *keyer)
{
	free(keyer->module_hashes);
	free(keyer->node_hashes);
	free(keyer->generations);
}

/* Returns 0 or -ENOMEM; to be destroyed in both cases. */
static int keyer__init(struct keyer *keyer, const struct snapshot *snap,
		       const struct symbol *symbols, enum profile_group group)
{
	*keyer = (struct keyer){.snap = snap, .symbols = symbols, .group = group};
	keyer->module_hashes = calloc(snap->modules.cnt + 1, sizeof(*keyer->module_hashes));
	keyer->node_hashes = calloc(snap->nodes.cnt + 1, sizeof(*keyer->node_hashes));
	keyer->generations = calloc(snap->procs.cnt + 1, sizeof(*keyer->generations));
	if (!keyer->module_hashes || !keyer->node_hashes || !keyer->generations)
		return -ENOMEM;
	for (size_t i = 0; i < snap->modules.cnt; i++)
		keyer->module_hashes[i] = hash_module(&snap->modules.items[i]);
	for (size_t i = 1; i < snap->nodes.cnt; i++) {
		const struct snap_node *node = &snap->nodes.items[i];

		keyer->node_hashes[i] = mix(keyer->node_hashes[node->parent],
					    hash_frame(keyer, &snap->frames.items[node->frame]));
	}
	return number_generations(keyer);
}

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
		result = compare_u64(state_order(proc_a), state_order(proc_b));
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

	err = keyer__init(&previous_keyer, previous->snap, previous->symbols, keyer->group);
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
	if (!profile->proc_totals)
		goto cleanup;
	err = keyer__init(&keyer, snap, symbols, opts->group);
	if (!err)
		err = rank_modules(snap, &order.module_ranks);
	if (!err)
		err = group_rows(profile, &keyer, &order);
	if (err)
		goto cleanup;
	sum_up(profile);
	if (previous)
		err = subtract_previous(profile, &keyer, previous);
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
	free(profile->proc_totals);
	free(profile);
}
