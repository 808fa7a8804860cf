/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/walk.h"

#include <string.h>

#include "include/arch.h"
#include "include/unwind_cfa.h"

#define GO_ON UNWIND_LOST

static bool read_word(const struct stack_walk *walk, uint64_t addr, uint64_t *ret_value)
{
	const struct raw_stack *raw = walk->raw;
	uint64_t at = addr - raw->sp;
	uint32_t len = raw->len < sizeof(raw->bytes) ? raw->len : sizeof(raw->bytes);

	if (at > len || len - at < sizeof(*ret_value))
		return false;
	memcpy(ret_value, raw->bytes + at, sizeof(*ret_value));
	return true;
}

/* Finds the rule at walk->look. Returns GO_ON, or how the walk ends without one. */
static enum unwind_end find_rule(struct stack_walk *walk)
{
	for (size_t i = walk->code_cnt; i-- > 0;) {
		const struct walk_code *code = &walk->code[i];

		if (walk->look < code->start || walk->look >= code->end)
			continue;
		if (code->module == WALK_NOT_LOADED)
			return UNWIND_NO_TABLE;
		walk->row = (struct unwind_row){.rule = UNWIND_RULE_NONE};
		walk->frame = walk->look + 1;
		if (code->module == UNWIND_MODULE_NONE)
			return GO_ON;
		walk->row =
			table_store__find(walk->store, code->module, walk->look + code->to_offset);
		walk->frame = (uint64_t)code->module << FRAME_MODULE_SHIFT |
			      ((walk->look + 1 + code->to_offset) & FRAME_OFFSET_MASK);
		return GO_ON;
	}
	return UNWIND_NO_CODE;
}

static enum unwind_end enter_frame(struct stack_walk *walk, uint64_t pc, bool interrupted)
{
	enum unwind_end end;

	if (!pc)
		return UNWIND_COMPLETE;
	if (walk->frame_cnt >= MAX_FRAMES)
		return UNWIND_TRUNCATED;
	walk->look = interrupted ? pc : pc - 1;
	end = find_rule(walk);
	if (end == GO_ON)
		walk->frames[walk->frame_cnt++] =
			walk->frame + (walk->row.rule == UNWIND_RULE_SIGNAL && !interrupted);
	return end;
}

/* The address that was there before a probe on the function's return put its trampoline. */
static uint64_t real_pc(const struct stack_walk *walk, uint64_t slot, uint64_t pc)
{
	const struct raw_stack *raw = walk->raw;
	uint64_t real = pc, found = 0;

	if (!raw->trampoline || pc != raw->trampoline)
		return pc;
	for (uint32_t i = 0; i < raw->return_cnt && i < MAX_RAW_RETURNS; i++)
		if (return_is_at(raw->returns[i].slot, slot, found)) {
			found = raw->returns[i].slot;
			real = raw->returns[i].pc; /* of several the oldest */
		}
	return real;
}

static enum unwind_end step_signal(struct stack_walk *walk)
{
	uint64_t context = walk->sp + SIGNAL_CONTEXT, pc, sp, fp;

	if (!read_word(walk, unwind_context_word(context, CONTEXT_FP), &fp) ||
	    !read_word(walk, unwind_context_word(context, CONTEXT_SP), &sp) ||
	    !read_word(walk, unwind_context_word(context, CONTEXT_PC), &pc))
		return UNWIND_UNREADABLE;
	walk->context = context;
	walk->sp = sp;
	walk->fp = fp;
	walk->fp_lost = false;
	return enter_frame(walk, pc, true);
}

static struct unwind_regs regs_of(const struct stack_walk *walk)
{
	return (struct unwind_regs){
		.pc = walk->look + !walk->context, /* enter_frame() has taken one byte off */
		.sp = walk->sp,
		.fp = walk->fp,
		.context = walk->context,
		.fp_lost = walk->fp_lost,
	};
}

/* Finds the canonical frame address. */
static enum unwind_end find_cfa(const struct stack_walk *walk, const struct unwind_regs *regs,
				uint64_t *ret_cfa)
{
	struct unwind_cfa cfa;
	uint64_t value;
	int end;

	end = unwind_find_cfa(&walk->row, regs, &cfa);
	if (end)
		return end;
	value = cfa.value;
	if (cfa.indirect && !read_word(walk, value, &value))
		return UNWIND_UNREADABLE;
	*ret_cfa = value + cfa.add;
	return GO_ON;
}

static enum unwind_end step_rule(struct stack_walk *walk)
{
	const struct unwind_regs regs = regs_of(walk);
	struct unwind_caller caller;
	uint64_t cfa, fp, pc;
	int end;

	end = find_cfa(walk, &regs, &cfa);
	if (end)
		return end;
	end = unwind_find_caller(&walk->row, &regs, cfa, &caller);
	if (end)
		return end;
	fp = caller.fp;
	if ((caller.fp_saved && !read_word(walk, fp, &fp)) || !read_word(walk, caller.pc_at, &pc))
		return UNWIND_UNREADABLE;
	pc = real_pc(walk, caller.pc_at, pc);
	walk->sp = cfa;
	walk->fp = fp;
	walk->fp_lost = caller.fp_lost;
	walk->context = 0;
	return enter_frame(walk, pc, false);
}

/*
 * Code without a rule. Where programs have no tables, all of it: the frame pointer is followed as
 * long as it leads to code. Elsewhere it is only trusted behind a call, and no code is here to look
 * at.
 */
static enum unwind_end step_chain(struct stack_walk *walk)
{
	uint64_t fp, pc;

	if (ARCH_HAS_TABLES)
		return UNWIND_NO_RULE;
	if (!walk->fp && walk->chained)
		return UNWIND_COMPLETE;
	if (walk->fp < walk->sp || walk->fp & 7 || !read_word(walk, walk->fp, &fp) ||
	    !read_word(walk, walk->fp + 8, &pc))
		return UNWIND_NO_RULE;
	pc = real_pc(walk, walk->fp + 8, return_address(pc));
	walk->sp = walk->fp + 16;
	walk->fp = fp;
	walk->chained = true;
	return enter_frame(walk, pc, false);
}

static enum unwind_end step(struct stack_walk *walk)
{
	switch (walk->row.rule) {
	case UNWIND_RULE_END:
		return UNWIND_COMPLETE;
	case UNWIND_RULE_SIGNAL:
		return step_signal(walk);
	case UNWIND_RULE_NONE:
		return step_chain(walk);
	default:
		return step_rule(walk);
	}
}

enum unwind_end stack_walk__finish(struct stack_walk *walk)
{
	const struct raw_stack *raw = walk->raw;
	enum unwind_end end;

	walk->look = raw->pc;
	walk->sp = raw->sp;
	walk->fp = raw->fp;
	walk->context = raw->context;
	walk->fp_lost = raw->fp_lost;
	end = find_rule(walk);
	if (end == GO_ON && walk->frame_cnt) /* now it is known whose code the last frame is in */
		walk->frames[walk->frame_cnt - 1] =
			walk->frame + (walk->row.rule == UNWIND_RULE_SIGNAL);
	for (int i = 0; i <= MAX_FRAMES && end == GO_ON; i++)
		end = step(walk);
	return end == GO_ON ? UNWIND_TRUNCATED : end;
}
