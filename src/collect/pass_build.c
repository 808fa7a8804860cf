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

		if (snapshot__add_module(snap, m->path, m->dev, m->ino, m->build_id,
					 m->build_id_len, m->fd) == SNAP_NONE)
			return -ENOMEM;
	}
	return 0;
}

static int add_proc(struct snapshot *snap, const struct space_info *space, uint32_t *ret_index)
{
	uint32_t index = snapshot__add_proc(snap, space->tgid, space->start_ns, space->comm,
					    space->exe, space->cgroup, "");
	struct snap_proc *proc;

	if (index == SNAP_NONE)
		return -ENOMEM;
	proc = &snap->procs.items[index];
	proc->state = space->state;
	proc->exit_code = space->exit_code;
	proc->rss_bytes = space->state == PROC_RUNNING ? space->rss_bytes : 0;
	proc->inherited = space->forked;
	proc->late = space->late;
	for (size_t i = 0; i < space->coverage.cnt; i++) {
		const struct coverage *cov = &space->coverage.items[i];

		if (snapshot__add_coverage(snap, index, cov->name, cov->path, cov->status,
					   cov->reason))
			return -ENOMEM;
	}
	*ret_index = index;
	return 0;
}

/* Interns a frame. Code without a file has an address only, which the list of mappings may explain. */
static uint32_t add_frame(struct collector *c, struct snapshot *snap,
			  const struct space_info *space, uint64_t frame)
{
	uint32_t number = frame >> FRAME_MODULE_SHIFT, module;
	const struct code_map *code;

	if (number) {
		module = module_table__of_number(&c->table->modules, number);
		return snapshot__add_frame(snap, FRAME_NATIVE,
					   module == MODULE_NONE ? SNAP_NONE : module,
					   frame & FRAME_OFFSET_MASK);
	}
	/* A call may be the last instruction of its mapping. */
	code = space_info__find_code(space, frame - 1);
	if (code && code->replaced) /* whose it was then is not known */
		code = NULL;
	return snapshot__add_frame(snap, FRAME_NATIVE, code ? code->module : SNAP_NONE,
				   code ? frame - code->start + code->off : frame);
}

static int add_stack(struct collector *c, struct snapshot *snap, const struct space_info *space,
		     uint64_t stack_id, struct snap_row *row)
{
	uint32_t frames[MAX_FRAMES];
	const struct cached_stack *stack = stack_cache__find(c->stacks, stack_id);
	size_t cnt = stack ? stack->frame_cnt : 0;

	row->unwind = stack ? stack->end : UNWIND_LOST;
	row->chained = stack && stack->chained;
	for (size_t i = 0; i < cnt; i++) {
		frames[i] = add_frame(c, snap, space, stack->frame[i]);
		if (frames[i] == SNAP_NONE)
			return -ENOMEM;
	}
	row->stack = snapshot__add_stack(snap, frames, cnt);
	return row->stack == SNAP_NONE ? -ENOMEM : 0;
}

/* Adds what was inherited to the counts, rounded once. */
static void settle_inherited(struct raw_row *raw)
{
	int64_t inherited = raw->inherited_count >> WEIGHT_SHIFT,
		freed = raw->inherited_free_count >> WEIGHT_SHIFT;

	raw->cost.inherited_count += inherited;
	raw->cost.free_count += freed;
	raw->cost.live_count += inherited - freed;
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
	struct snap_row row = {.proc = proc, .layer = raw->layer};
	int err;

	settle_inherited(raw);
	row.cost = raw->cost;
	err = add_stack(c, snap, raw->space, raw->stack_id, &row);
	if (err)
		return err;
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
	return snapshot__add_row(snap, &row);
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

int pass__build(struct collector *c, struct snapshot *snap)
{
	size_t next = 0;
	uint32_t proc;
	int err;

	/* Rows of one space become neighbours, in the order in which spaces were born. */
	if (c->rows.cnt) /* qsort takes no NULL */
		qsort(c->rows.items, c->rows.cnt, sizeof(struct raw_row), compare_rows);
	err = add_modules(c, snap);
	for (size_t i = 0; i < c->table->spaces.cnt && !err; i++) {
		struct space_info *space = c->table->spaces.items[i];

		if (!pass_keeps(c, space))
			continue;
		err = add_proc(snap, space, &proc);
		while (next < c->rows.cnt && c->rows.items[next].space->id < space->id)
			next++;
		for (; !err && next < c->rows.cnt && c->rows.items[next].space == space; next++)
			err = add_row(c, snap, &c->rows.items[next], proc);
	}
	return err;
}
