/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/walk.h"

#include <string.h>

/* The kernel's struct rt_sigframe of x86-64 behind its return address, as in bpf/arch.bpf.h. */
#define SIGNAL_CONTEXT 40
#define CONTEXT_FP 10
#define CONTEXT_SP 15
#define CONTEXT_PC 16

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
		walk->row = table_store__find(walk->store, code->module,
					      walk->look + code->to_offset);
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
	uint64_t real = pc;

	if (!raw->trampoline || pc != raw->trampoline)
		return pc;
	for (uint32_t i = 0; i < raw->return_cnt && i < MAX_RAW_RETURNS; i++)
		if (raw->returns[i].slot == slot)
			real = raw->returns[i].pc; /* of several the oldest */
	return real;
}

static enum unwind_end step_signal(struct stack_walk *walk)
{
	uint64_t context = walk->sp + SIGNAL_CONTEXT, pc, sp, fp;

	if (!read_word(walk, context + 8 * CONTEXT_FP, &fp) ||
	    !read_word(walk, context + 8 * CONTEXT_SP, &sp) ||
	    !read_word(walk, context + 8 * CONTEXT_PC, &pc))
		return UNWIND_UNREADABLE;
	walk->context = context;
	walk->sp = sp;
	walk->fp = fp;
	walk->fp_lost = false;
	return enter_frame(walk, pc, true);
}

/* Finds the canonical frame address. */
static enum unwind_end find_cfa(const struct stack_walk *walk, uint64_t *ret_cfa)
{
	int32_t cfa = walk->row.cfa;
	uint64_t word;

	switch (walk->row.rule) {
	case UNWIND_RULE_SP:
		*ret_cfa = walk->sp + (int64_t)cfa;
		return GO_ON;
	case UNWIND_RULE_FP:
		*ret_cfa = walk->fp + (int64_t)cfa;
		return walk->fp_lost ? UNWIND_BROKEN : GO_ON;
	case UNWIND_RULE_PLT:
		/* A call out of the table leaves `look` one byte before the address. */
		*ret_cfa = walk->sp + 8 + (((walk->look + !walk->context) & 15) >= (uint32_t)cfa ? 8 : 0);
		return GO_ON;
	case UNWIND_RULE_SP_DEREF:
	case UNWIND_RULE_FP_DEREF:
		if (walk->row.rule == UNWIND_RULE_FP_DEREF && walk->fp_lost)
			return UNWIND_BROKEN;
		word = walk->row.rule == UNWIND_RULE_SP_DEREF ? walk->sp : walk->fp;
		if (!read_word(walk, word + (int64_t)(int16_t)cfa, &word))
			return UNWIND_UNREADABLE;
		*ret_cfa = word + (int64_t)(cfa >> 16);
		return GO_ON;
	case UNWIND_RULE_REG:
		if (!walk->context)
			return UNWIND_ODD_RULE;
		if (!read_word(walk, walk->context + 8 * (uint64_t)(cfa & 0xff), &word))
			return UNWIND_UNREADABLE;
		*ret_cfa = word + (int64_t)(cfa >> 8);
		return GO_ON;
	default:
		return UNWIND_ODD_RULE;
	}
}

static enum unwind_end step_rule(struct stack_walk *walk)
{
	uint64_t cfa = 0, fp = walk->fp, fp_at, pc;
	enum unwind_end end = find_cfa(walk, &cfa);

	if (end != GO_ON)
		return end;
	if (cfa <= walk->sp)
		return UNWIND_BROKEN;
	if (walk->row.fp == UNWIND_FP_LOST) {
		walk->fp_lost = true;
	} else if (walk->row.fp != UNWIND_FP_SAME) {
		fp_at = walk->row.rule == UNWIND_RULE_FP_DEREF ? fp : cfa;
		if (!read_word(walk, fp_at + 8 * (int64_t)walk->row.fp, &fp))
			return UNWIND_UNREADABLE;
		walk->fp_lost = false;
	}
	if (!read_word(walk, cfa - 8, &pc))
		return UNWIND_UNREADABLE;
	pc = real_pc(walk, cfa - 8, pc);
	walk->sp = cfa;
	walk->fp = fp;
	walk->context = 0;
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
		return UNWIND_NO_RULE; /* the code that would vouch for a frame pointer is not here */
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
