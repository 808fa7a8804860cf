/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Summing up, comparing and sorting; everything is O(rows * depth + nodes). */
#include "model/profile.h"

#include <string.h>

#include "model/group_key.h"
#include "model/row_order.h"

static struct row_part part_of(const struct profile_row *row)
{
	return (struct row_part){row->row, row->type};
}

/*
 * Finds the entry of a row's key in `index`, which maps {hash, n} to rows of `rows`; n counts the
 * different keys that share a hash. Returns its value or NULL; *ret_probe is then the n that is
 * free.
 */
static uint64_t *find_key(const struct hashmap *index, const struct keyer *keyer,
			  struct row_part part, uint64_t hash, const struct keyer *index_keyer,
			  const struct profile *rows, uint64_t *ret_probe)
{
	uint64_t *found;

	for (uint64_t probe = 0;; probe++) {
		found = hashmap__find(index, hash, probe);
		if (!found) {
			*ret_probe = probe;
			return NULL;
		}
		if (same_row(keyer, part, index_keyer, part_of(&rows->rows.items[*found])))
			return found;
	}
}

/* ---- building ---- */

static void add_to_group(struct profile_row *group, const struct snap_row *row,
			 const struct cost *cost, const struct row_order *order)
{
	/* An oldest age of 0: no live block of this row was looked at, so its newest says nothing
	 * either. */
	if (row->oldest_ns && (!group->oldest_ns || row->newest_ns < group->newest_ns))
		group->newest_ns = row->newest_ns;
	if (row->oldest_ns > group->oldest_ns)
		group->oldest_ns = row->oldest_ns;
	if (!group->row || bigger_row(order, row, group->row))
		group->row = row;
	cost__add(&group->cost, cost);
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

/* What a group holds of a type. */
struct group_share {
	uint32_t group;
	struct snap_type_share share;
};

/* Groups go by their keys. */
struct grouper {
	struct profile *profile;
	const struct keyer *keyer;
	const struct row_order *order;
	struct hashmap index, procs;
	struct hashmap share_index; /* {group, type} -> share */
	ARRAY(struct group_share) shares;
};

static int add_share(struct grouper *grouper, uint32_t group, const struct snap_type_share *share)
{
	const struct group_share empty = {group, {.type = share->type}};
	struct group_share *sum;
	uint64_t *found;
	bool is_new;

	found = hashmap__insert(&grouper->share_index, group, share->type, &is_new);
	if (!found || (is_new && array_push(&grouper->shares, empty)))
		return -ENOMEM;
	if (is_new)
		*found = grouper->shares.cnt - 1;
	sum = &grouper->shares.items[*found];
	sum->share.cnt += share->cnt;
	sum->share.bytes += share->bytes;
	return 0;
}

static int compare_shares(const void *a, const void *b, void *context)
{
	const struct group_share *share_a = a, *share_b = b;
	const struct row_order *order = context;
	int result = compare_u64(share_a->group, share_b->group);

	if (!result)
		result = compare_down(share_a->share.bytes, share_b->share.bytes);
	if (!result)
		result = compare_down(share_a->share.cnt, share_b->share.cnt);
	return result ? result
		      : compare_types(order->snap, share_a->share.type, share_b->share.type);
}

/* Hands the sums to the groups, which are not sorted yet. */
static int give_shares(struct grouper *grouper)
{
	struct profile *profile = grouper->profile;

	if (grouper->shares.cnt)
		qsort_r(grouper->shares.items, grouper->shares.cnt, sizeof(struct group_share),
			compare_shares, (void *)grouper->order);
	for (size_t i = 0; i < grouper->shares.cnt; i++) {
		const struct group_share *sum = &grouper->shares.items[i];
		struct profile_row *row = &profile->rows.items[sum->group];

		if (array_push(&profile->type_shares, sum->share))
			return -ENOMEM;
		if (!row->type_cnt++)
			row->first_type = i;
	}
	return 0;
}

static int group_part(struct grouper *grouper, struct row_part part, const struct cost *cost,
		      uint32_t *ret_group)
{
	struct profile *profile = grouper->profile;
	uint64_t hash = hash_row(grouper->keyer, part), probe, *found;

	found = find_key(&grouper->index, grouper->keyer, part, hash, grouper->keyer, profile,
			 &probe);
	if (!found) {
		if (array_push(&profile->rows, (struct profile_row){.type = part.type}))
			return -ENOMEM;
		found = hashmap__insert(&grouper->index, hash, probe, NULL);
		if (!found)
			return -ENOMEM;
		*found = profile->rows.cnt - 1;
	}
	*ret_group = *found;
	add_to_group(&profile->rows.items[*found], part.row, cost, grouper->order);
	return count_proc(&grouper->procs, &profile->rows.items[*found], *found, part.row->proc);
}

/* Gives each type its share of what is live, and the layer the rest of the row. */
static int divide_row(struct grouper *grouper, const struct snap_row *row)
{
	const struct snapshot *snap = grouper->profile->snap;
	struct cost rest = row->cost;
	uint32_t group;
	int err = 0;

	for (uint32_t i = 0; i < row->type_cnt && !err; i++) {
		const struct snap_type_share *share = &snap->type_shares.items[row->first_type + i];
		const struct cost cost = {.live_bytes = share->bytes, .live_count = share->cnt};

		cost__sub(&rest, &cost);
		err = group_part(grouper, (struct row_part){row, share->type}, &cost, &group);
	}
	return err ? err : group_part(grouper, (struct row_part){row, SNAP_NONE}, &rest, &group);
}

static int add_row(struct grouper *grouper, const struct snap_row *row)
{
	const struct snapshot *snap = grouper->profile->snap;
	uint32_t group;
	int err;

	if (grouper->keyer->group == GROUP_TYPE)
		return divide_row(grouper, row);
	err = group_part(grouper, (struct row_part){row, SNAP_NONE}, &row->cost, &group);
	for (uint32_t i = 0; i < row->type_cnt && !err; i++)
		err = add_share(grouper, group, &snap->type_shares.items[row->first_type + i]);
	return err;
}

static int group_rows(struct profile *profile, const struct keyer *keyer,
		      const struct row_order *order)
{
	struct grouper grouper = {.profile = profile, .keyer = keyer, .order = order};
	const struct snapshot *snap = profile->snap;
	int err = 0;

	for (size_t i = 0; i < snap->rows.cnt && !err; i++)
		err = add_row(&grouper, &snap->rows.items[i]);
	if (!err)
		err = give_shares(&grouper);
	hashmap__free(&grouper.index);
	hashmap__free(&grouper.procs);
	hashmap__free(&grouper.share_index);
	array_free(&grouper.shares);
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
		hash = hash_row(&previous_keyer, part_of(&previous->rows.items[i]));
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

		found = find_key(&index, keyer, part_of(row), hash_row(keyer, part_of(row)),
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
	return err ? err : residents__match(profile, previous, &profile->residents_before);
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

	/* Names of Python functions are short and many; there are no modules to tell them apart. */
	if (group == GROUP_FUNCTION && call->is_python)
		call->line = call->first_line;
	else if ((group == GROUP_FUNCTION && call->function) ||
		 (by_source && !call__has_source(call, group)))
		call->file = NULL;
	if (group == GROUP_FILE && call->file)
		call->function = NULL;
	if (!call->file || group == GROUP_FILE)
		call->line = 0;
	if (by_source || group == GROUP_FUNCTION)
		call->inlined = false;
}

struct call profile__source(const struct profile *profile, uint32_t stack, enum profile_group group)
{
	struct call begin = profile->opts.all_frames ? (struct call){.node = stack}
						     : profile->folding.begins[stack];
	struct call call = begin;
	struct call_info info;

	for (; begin.in_python && call.node; call = profile__next(profile, call)) {
		call__read(call, profile->snap, profile->symbols, &info);
		if (info.is_python || call__has_source(&info, group))
			return call;
	}
	return begin;
}

struct call profile__begin(const struct profile *profile, uint32_t stack)
{
	enum profile_group group = profile->opts.group;

	if (group == GROUP_LINE || group == GROUP_FILE)
		return profile__source(profile, stack, group);
	return profile->opts.all_frames ? (struct call){.node = stack}
					: profile->folding.begins[stack];
}

struct call profile__next(const struct profile *profile, struct call call)
{
	return folding__next(&profile->folding, call, profile->snap, profile->symbols);
}

struct profile *profile__new(const struct snapshot *snap, const struct symbol *symbols,
			     const struct profile_opts *opts, const struct profile *previous)
{
	struct profile *profile = calloc(1, sizeof(*profile));
	struct row_order order = {0};
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
	err = fold_stacks(snap, symbols, &profile->folding);
	if (!err)
		err = keyer__init(&keyer, profile, opts->group);
	if (!err)
		err = row_order__init(&order, snap, opts->sort);
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
			compare_profile_rows, &order);
cleanup:
	keyer__destroy(&keyer);
	row_order__destroy(&order);
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
	array_free(&profile->type_shares);
	profile__free(profile->stacks);
	folding__free(&profile->folding);
	free(profile->proc_totals);
	free(profile->residents_before);
	free(profile);
}
