/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stacks as the snapshot has them. A stack with Python frames is merged here, where each distinct
 * pair of native and Python frames is seen once, and not in the kernel.
 */
#include "collect/pass.h"

#include <errno.h>

#include "collect/codes.h"
#include "python/merge.h"

#define MAX_MERGED (MAX_FRAMES + MAX_PYTHON_FRAMES)

/* A stack on its way into the snapshot: indexes of its frames, leaf first. */
struct frame_list {
	uint32_t items[MAX_MERGED];
	size_t cnt;
};

static int push_frame(struct frame_list *frames, uint32_t frame)
{
	if (frame == SNAP_NONE)
		return -ENOMEM;
	frames->items[frames->cnt++] = frame;
	return 0;
}

/* Interns a frame. Code without a file has an address only, which the list of mappings may explain.
 */
static uint32_t add_native(struct collector *c, struct snapshot *snap,
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

/* Interns a frame of a code object that was not told, or could not be. */
static uint32_t add_unknown(struct snapshot *snap)
{
	return snapshot__add_frame(snap, FRAME_PYTHON, SNAP_NONE, 0);
}

static uint32_t add_python(struct collector *c, struct snapshot *snap, uint64_t frame)
{
	uint32_t id = PYTHON_FRAME_CODE(frame);
	const struct code_object *code;
	uint32_t index;
	uint64_t *slot;

	code = c->codes && id >= PYTHON_CODE_FIRST ? code_table__find(c->codes, id) : NULL;
	if (!code)
		return add_unknown(snap);
	slot = hashmap__insert(&c->snap_codes, id, 0, NULL);
	if (!slot)
		return SNAP_NONE;
	if (!*slot) {
		index = snapshot__add_code(snap, code->file, code->name,
					   code->first_line > 0 ? code->first_line : 0);
		if (index == SNAP_NONE)
			return SNAP_NONE;
		*slot = (uint64_t)index + 1;
	}
	return snapshot__add_frame(snap, FRAME_PYTHON, *slot - 1,
				   code_object__line(code, frame & PYTHON_UNIT_MASK));
}

/* Whether a native frame is in the interpreter's loop. */
static bool is_loop(const struct collector *c, uint64_t frame)
{
	uint32_t index = module_table__of_number(&c->table->modules, frame >> FRAME_MODULE_SHIFT);
	uint64_t off = (frame & FRAME_OFFSET_MASK) - 1; /* where the call is */
	const struct module *module;

	if (!(frame >> FRAME_MODULE_SHIFT) || index == MODULE_NONE)
		return false;
	module = &c->table->modules.modules.items[index];
	for (size_t i = 0; module->is_interpreter && i < module->loops.cnt; i++)
		if (module->loops.items[i].start <= off && off < module->loops.items[i].end)
			return true;
	return false;
}

/* Counts a stack that could not be merged, once for each process. */
static int note_violation(struct collector *c, const struct space_info *space, uint64_t stack_id)
{
	bool is_new;

	if (!hashmap__insert(&c->violations, stack_id, space->id, &is_new))
		return -ENOMEM;
	if (is_new)
		pass__python(c, space->id)->merge_violations++;
	return 0;
}

static int add_merged(struct collector *c, struct snapshot *snap, const struct space_info *space,
		      uint64_t stack_id, const struct cached_stack *stack,
		      const struct cached_python_stack *python, struct frame_list *frames)
{
	bool loops[MAX_FRAMES], lasts[MAX_PYTHON_FRAMES];
	struct merged_frame merged[MAX_MERGED];
	enum merge_result result;
	size_t cnt;
	int err = 0;

	for (size_t i = 0; i < stack->frame_cnt; i++)
		loops[i] = is_loop(c, stack->frame[i]);
	for (size_t i = 0; i < python->frame_cnt; i++)
		lasts[i] = python->frame[i] & PYTHON_FRAME_LAST;
	result = python_merge(loops, stack->frame_cnt, stack->end == UNWIND_COMPLETE, lasts,
			      python->frame_cnt, python->end == PYTHON_END_COMPLETE, merged, &cnt);
	if (result == MERGE_VIOLATED)
		err = note_violation(c, space, stack_id);
	for (size_t i = 0; i < cnt && !err; i++) {
		uint64_t frame;

		if (!merged[i].is_python) {
			frame = stack->frame[merged[i].idx];
			err = push_frame(frames, add_native(c, snap, space, frame));
			continue;
		}
		frame = python->frame[merged[i].idx];
		if (PYTHON_FRAME_CODE(frame) != PYTHON_CODE_NONE)
			err = push_frame(frames, add_python(c, snap, frame));
	}
	return err;
}

/* *ret is the stack's Python frames, NULL when it has none that may be shown. */
static int find_python(struct collector *c, const struct space_info *space,
		       const struct cached_stack *stack, const struct cached_python_stack **ret)
{
	const struct python_pass *python = pass__python(c, space->id);
	int err;

	*ret = NULL;
	if (!stack->python || !python || python->view->frames != COVERAGE_PROBED)
		return 0;
	err = python_stacks__find(c->python_stacks, stack->python, ret);
	return err == -ENOENT ? 0 : err;
}

int pass__add_stack(struct collector *c, struct snapshot *snap, const struct space_info *space,
		    uint64_t stack_id, struct pass_stack *ret)
{
	const struct cached_stack *stack = stack_cache__find(c->stacks, stack_id);
	const struct cached_python_stack *python = NULL;
	struct frame_list frames = {.cnt = 0};
	uint32_t node;
	int err = 0;

	if (stack)
		err = find_python(c, space, stack, &python);
	if (!err && python)
		err = add_merged(c, snap, space, stack_id, stack, python, &frames);
	for (size_t i = 0; !err && stack && !python && i < stack->frame_cnt; i++)
		err = push_frame(&frames, add_native(c, snap, space, stack->frame[i]));
	if (err)
		return err;
	node = snapshot__add_stack(snap, frames.items, frames.cnt);
	if (node == SNAP_NONE)
		return -ENOMEM;
	ret->node = node;
	ret->unwind = stack ? stack->end : UNWIND_LOST;
	if (python && python->end == PYTHON_END_TRUNCATED && ret->unwind == UNWIND_COMPLETE)
		ret->unwind = UNWIND_TRUNCATED;
	ret->chained = stack && stack->chained;
	return 0;
}
