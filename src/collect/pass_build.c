/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/pass.h"

#include <errno.h>
#include <stdlib.h>

#include "bpf/sample.bpf.h"
#include "collect/ranges.h"

static int add_modules(const struct collector *c, struct snapshot *snap)
{
	for (size_t i = 0; i < c->table->modules.modules.cnt; i++) {
		const struct module *m = &c->table->modules.modules.items[i];

		uint32_t index = snapshot__add_module(snap, m->path, module__device(m), m->ino,
						      m->build_id, m->build_id_len, m->fd);

		if (index == SNAP_NONE)
			return -ENOMEM;
		snap->modules.items[index].is_interpreter = m->is_interpreter;
		snap->modules.items[index].is_remote = m->is_remote;
	}
	return 0;
}

static int add_proc(struct collector *c, struct snapshot *snap, const struct space_info *space,
		    uint32_t *ret_index)
{
	uint32_t index = snapshot__add_proc(snap, space->tgid, space->start_ns, space->comm,
					    space->exe, space->cgroup, "");
	const struct python_pass *python = pass__python(c, space->id);
	struct snap_proc *proc;
	uint64_t *slot;

	if (index == SNAP_NONE)
		return -ENOMEM;
	slot = hashmap__insert(&c->snap_procs, space->id, 0, NULL);
	if (!slot)
		return -ENOMEM;
	*slot = index;
	proc = &snap->procs.items[index];
	proc->state = space->state;
	proc->ns_pid = space->ns_pid;
	proc->exit_code = space->exit_code;
	proc->rss_bytes = space->state == PROC_RUNNING ? space->rss_bytes : 0;
	proc->inherited = space->forked;
	proc->late = space->late;
	if (space->state == PROC_RUNNING)
		pass__tell_resident(c, space->id, &proc->resident);
	for (size_t i = 0; i < space->coverage.cnt; i++) {
		const struct coverage *cov = &space->coverage.items[i];

		if (snapshot__add_coverage(snap, index, cov->name, cov->path, cov->status,
					   cov->reason))
			return -ENOMEM;
	}
	*ret_index = index;
	return python ? pass__tell_python(c, python, space, &proc->python) : 0;
}

/* Adds what was handed down, and what ended unseen, to the counts, rounded once. */
static void settle_counts(struct raw_row *raw)
{
	int64_t inherited = raw->inherited_count >> WEIGHT_SHIFT,
		freed = raw->inherited_free_count >> WEIGHT_SHIFT,
		unseen = raw->unseen_free_count >> WEIGHT_SHIFT;

	raw->cost.inherited_count += inherited;
	raw->cost.free_count += freed + unseen;
	raw->cost.live_count += inherited - freed - unseen;
}

static void check_row(struct collector *c, struct snapshot *snap, const struct raw_row *raw)
{
	if (!c->opts->is_final || c->opts->sample_bytes)
		return;
	snap->unaccounted_bytes += raw->cost.live_bytes - raw->seen_bytes;
	snap->unaccounted_count += raw->cost.live_count - (raw->seen_count >> WEIGHT_SHIFT);
}

static int add_row(struct collector *c, struct snapshot *snap, struct raw_row *raw, uint32_t proc)
{
	struct snap_row row = {
		.proc = proc,
		.layer = raw->layer,
		.stack = raw->node,
		.unwind = raw->unwind,
		.chained = raw->chained,
	};
	int err;

	settle_counts(raw);
	row.cost = raw->cost;
	check_row(c, snap, raw);
	if (raw->oldest_born) {
		row.oldest_ns = pass_age_ns(c, raw->oldest_born);
		row.newest_ns = pass_age_ns(c, raw->newest_born);
	}
	if (c->opts->min_age_ns) {
		row.cost.live_bytes = raw->old_bytes;
		row.cost.live_count = raw->old_count >> WEIGHT_SHIFT;
		snap->young_bytes += raw->cost.live_bytes - row.cost.live_bytes;
		snap->young_count += raw->cost.live_count - row.cost.live_count;
	}
	err = snapshot__add_row(snap, &row);
	return err ? err : pass__add_types(c, snap, raw);
}

/* Takes `part`, a row with the same stack, into `row`. */
static void unite(struct raw_row *row, const struct raw_row *part)
{
	cost__add(&row->cost, &part->cost);
	if (part->oldest_born && (!row->oldest_born || part->oldest_born < row->oldest_born))
		row->oldest_born = part->oldest_born;
	if (part->newest_born > row->newest_born)
		row->newest_born = part->newest_born;
	row->old_bytes += part->old_bytes;
	row->old_count += part->old_count;
	row->seen_bytes += part->seen_bytes;
	row->seen_count += part->seen_count;
	row->inherited_count += part->inherited_count;
	row->inherited_free_count += part->inherited_free_count;
	row->unseen_free_count += part->unseen_free_count;
	row->chained |= part->chained;
}

/*
 * Finds out the stack of row number `i`. Several kernel stacks may be one here: of Python code a
 * line is told, and not the instruction.
 */
static int place_row(struct collector *c, struct snapshot *snap, size_t i, uint32_t proc)
{
	struct raw_row *row = &c->rows.items[i], *first;
	struct pass_stack stack;
	uint64_t *slot;
	bool is_new;
	int err;

	err = pass__add_stack(c, snap, row->space, row->stack_id, &stack);
	if (err)
		return err;
	row->node = stack.node;
	row->unwind = stack.unwind;
	row->chained = stack.chained;
	row->is_part = false;
	row->next_part = 0;
	slot = hashmap__insert(&c->same_rows, row->node,
			       (uint64_t)proc << 16 | row->layer << 8 | row->unwind, &is_new);
	if (!slot)
		return -ENOMEM;
	if (is_new) {
		*slot = i;
		return 0;
	}
	first = &c->rows.items[*slot];
	unite(first, row);
	row->is_part = true;
	row->next_part = first->next_part;
	first->next_part = i + 1;
	return 0;
}

/* Adds rows [begin, end), all of one process. */
static int add_rows(struct collector *c, struct snapshot *snap, size_t begin, size_t end,
		    uint32_t proc)
{
	const struct python_pass *python;
	int err = 0;

	for (size_t i = begin; i < end && !err; i++)
		err = place_row(c, snap, i, proc);
	for (size_t i = begin; i < end && !err; i++)
		if (!c->rows.items[i].is_part)
			err = add_row(c, snap, &c->rows.items[i], proc);
	python = begin < end ? pass__python(c, c->rows.items[begin].space->id) : NULL;
	if (python)
		snap->procs.items[proc].python.merge_violations = python->merge_violations;
	return err;
}

static int compare_rows(const void *a, const void *b)
{
	const struct raw_row *x = a, *y = b;

	if (x->space->id != y->space->id)
		return x->space->id < y->space->id ? -1 : 1;
	if (x->layer != y->layer)
		return x->layer < y->layer ? -1 : 1;
	return x->stack_id < y->stack_id ? -1 : x->stack_id > y->stack_id;
}

static void begin_snapshot(struct collector *c)
{
	hashmap__clear(&c->same_rows);
	hashmap__clear(&c->snap_procs);
	hashmap__clear(&c->snap_codes);
	hashmap__clear(&c->violations);
}

int pass__build(struct collector *c, struct snapshot *snap)
{
	size_t next = 0, begin;
	uint32_t proc;
	int err;

	begin_snapshot(c);
	/* Rows of one space become neighbours, in the order in which spaces were born. */
	if (c->rows.cnt) /* qsort takes no NULL */
		qsort(c->rows.items, c->rows.cnt, sizeof(struct raw_row), compare_rows);
	err = add_modules(c, snap);
	for (size_t i = 0; i < c->table->spaces.cnt && !err; i++) {
		struct space_info *space = c->table->spaces.items[i];

		if (!pass_keeps(c, space))
			continue;
		err = add_proc(c, snap, space, &proc);
		if (err)
			break;
		while (next < c->rows.cnt && c->rows.items[next].space->id < space->id)
			next++;
		begin = next;
		while (next < c->rows.cnt && c->rows.items[next].space == space)
			next++;
		err = add_rows(c, snap, begin, next, proc);
	}
	return err;
}
