/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/code_state.h"

#include <string.h>

#define MAX_FRAME (1 << 30) /* bytes; beyond it a displacement is something else */
#define MIN_SAVED_FP (-127) /* words; below is UNWIND_FP_SAME */

static const struct code_value other = {VALUE_OTHER, 0};

static bool same(struct code_value a, struct code_value b)
{
	return a.kind == b.kind && a.off == b.off;
}

/* A place whose distance from others of its kind is known. */
static bool is_place(struct code_value value)
{
	return value.kind == VALUE_FRAME || value.kind == VALUE_ALIGNED;
}

static bool is_caller_fp(struct code_value value)
{
	return value.kind == VALUE_CALLER && value.off == CODE_RBP;
}

static struct code_value add(struct code_value value, int32_t imm)
{
	int32_t off;

	if (!imm)
		return value;
	if (!is_place(value) || __builtin_add_overflow(value.off, imm, &off) || off > MAX_FRAME ||
	    off < -MAX_FRAME)
		return other;
	return (struct code_value){value.kind, off};
}

struct code_state code_state__entry(enum code_caller caller)
{
	struct code_state state = {.caller = (uint8_t)caller, .compared = CODE_NO_REG};

	for (unsigned int i = 0; i < CODE_REG_CNT; i++)
		state.regs[i] = (struct code_value){VALUE_CALLER, (int32_t)i};
	state.regs[CODE_RSP] = (struct code_value){VALUE_FRAME, -8};
	return state;
}

bool code_state__is_entry(const struct code_state *state)
{
	return state->caller == CALLER_KNOWN && state->regs[CODE_RSP].kind == VALUE_FRAME &&
	       state->regs[CODE_RSP].off == -8 && is_caller_fp(state->regs[CODE_RBP]);
}

/* ---- where paths meet ------------------------------------------------------------------------ */

bool code_state__contradicts(const struct code_state *a, const struct code_state *b)
{
	struct code_value x = a->regs[CODE_RSP], y = b->regs[CODE_RSP];

	return a->caller != b->caller || (is_place(x) && is_place(y) && !same(x, y));
}

bool code_state__confirms(const struct code_state *a, const struct code_state *b)
{
	struct code_value x = a->regs[CODE_RSP], y = b->regs[CODE_RSP];

	if (!is_place(x) && !is_place(y)) {
		x = a->regs[CODE_RBP];
		y = b->regs[CODE_RBP];
	}
	return a->caller == b->caller && is_place(x) && same(x, y);
}

static bool join_value(struct code_value *value, struct code_value with)
{
	if (value->kind == VALUE_OTHER || same(*value, with))
		return false;
	*value = other;
	return true;
}

bool code_state__join(struct code_state *state, const struct code_state *with)
{
	bool changed = false;

	for (unsigned int i = 0; i < CODE_REG_CNT; i++)
		changed |= join_value(&state->regs[i], with->regs[i]);
	changed |= join_value(&state->saved_fp, with->saved_fp);
	if (state->saved_cfa_off != with->saved_cfa_off)
		changed |= join_value(&state->saved_cfa, other);
	else
		changed |= join_value(&state->saved_cfa, with->saved_cfa);
	if (state->caller != with->caller && state->caller != CALLER_UNKNOWN) {
		state->caller = CALLER_UNKNOWN;
		changed = true;
	}
	if (state->after_syscall && !with->after_syscall) {
		state->after_syscall = false;
		changed = true;
	}
	if (state->saved & ~with->saved) {
		state->saved &= with->saved;
		changed = true;
	}
	if (state->compared != with->compared && state->compared != CODE_NO_REG) {
		state->compared = CODE_NO_REG;
		changed = true;
	}
	return changed;
}

/* ---- one instruction ------------------------------------------------------------------------- */

/* Places that count from where the stack pointer was aligned before mean nothing any more. */
static void forget_aligned(struct code_state *state)
{
	for (unsigned int i = 0; i < CODE_REG_CNT; i++)
		if (state->regs[i].kind == VALUE_ALIGNED)
			state->regs[i] = other;
	if (state->saved_fp.kind == VALUE_ALIGNED)
		state->saved_fp = other;
	if (state->saved_cfa.kind == VALUE_ALIGNED)
		state->saved_cfa = other;
}

/* What the stack pointer goes past upwards is free for others. */
static void forget_below(struct code_value *place, struct code_value from, struct code_value to)
{
	if (place->kind == to.kind && from.kind == to.kind && place->off >= from.off &&
	    place->off < to.off)
		*place = other;
}

static void set_reg(struct code_state *state, unsigned int reg, struct code_value value)
{
	if (reg >= CODE_REG_CNT)
		return;
	if (reg == CODE_RSP && is_place(value)) {
		forget_below(&state->saved_fp, state->regs[reg], value);
		forget_below(&state->saved_cfa, state->regs[reg], value);
	}
	state->regs[reg] = value;
}

/* Whether `size` bytes at `to` change the word at `place`. */
static bool overlaps(struct code_value place, struct code_value to, int32_t size)
{
	return is_place(place) && place.kind == to.kind && place.off - to.off < size &&
	       to.off - place.off < 8;
}

static void store(struct code_state *state, struct code_value to, int32_t size,
		  struct code_value value)
{
	if (value.kind == VALUE_CALLER)
		state->saved |= code_reg__saved_bit((unsigned int)value.off);
	if (!is_place(to))
		return;
	if (is_caller_fp(value) && state->saved_fp.kind == VALUE_OTHER)
		state->saved_fp = to;
	else if (overlaps(state->saved_fp, to, size) &&
		 !(is_caller_fp(value) && same(state->saved_fp, to)))
		state->saved_fp = other;
	if (overlaps(state->saved_cfa, to, size))
		state->saved_cfa = other;
	if (to.kind == VALUE_ALIGNED && value.kind == VALUE_FRAME) {
		state->saved_cfa = to;
		state->saved_cfa_off = value.off;
	}
}

static struct code_value load(const struct code_state *state, struct code_value from)
{
	if (is_place(from) && same(from, state->saved_fp))
		return (struct code_value){VALUE_CALLER, CODE_RBP};
	if (is_place(from) && same(from, state->saved_cfa))
		return (struct code_value){VALUE_FRAME, state->saved_cfa_off};
	return other;
}

static struct code_value reg_value(const struct code_state *state, unsigned int reg)
{
	return reg < CODE_REG_CNT ? state->regs[reg] : other;
}

static void push(struct code_state *state, struct code_value value)
{
	set_reg(state, CODE_RSP, add(state->regs[CODE_RSP], -8));
	store(state, state->regs[CODE_RSP], 8, value);
}

static void pop(struct code_state *state, unsigned int reg)
{
	struct code_value value = load(state, state->regs[CODE_RSP]);

	set_reg(state, CODE_RSP, add(state->regs[CODE_RSP], 8));
	set_reg(state, reg, value);
}

static void align(struct code_state *state, unsigned int reg)
{
	if (reg != CODE_RSP) {
		set_reg(state, reg, other);
		return;
	}
	forget_aligned(state);
	state->regs[CODE_RSP] = (struct code_value){VALUE_ALIGNED, 0};
}

static void clobber(struct code_state *state, uint32_t mask)
{
	for (unsigned int i = 0; i < CODE_REG_CNT; i++)
		if (mask & 1U << i)
			state->regs[i] = other;
}

/*
 * Code that the kernel starts on a new stack says so by clearing the frame pointer (psABI 3.4.1):
 * where it is not saved first, nobody will want it back.
 */
static void zero(struct code_state *state, unsigned int reg)
{
	if (reg == CODE_RBP && state->after_syscall && is_caller_fp(state->regs[reg]) &&
	    state->saved_fp.kind == VALUE_OTHER)
		state->caller = CALLER_NONE;
	set_reg(state, reg, other);
}

static void compare(struct code_state *state, const struct code_insn *insn)
{
	if (insn->reg == CODE_RSP)
		state->compared = insn->src;
	else if (insn->src == CODE_RSP)
		state->compared = insn->reg;
}

static void change(struct code_state *state, const struct code_insn *insn)
{
	/* rax, rcx, rdx, rsi, rdi, r8-r11: not preserved across calls (psABI, figure 3.4). */
	const uint32_t by_call = 0x0fc7;

	switch (insn->op) {
	case CODE_CLOBBER:
		clobber(state, (uint32_t)insn->imm);
		break;
	case CODE_ADD:
		set_reg(state, insn->reg, add(reg_value(state, insn->src), insn->imm));
		break;
	case CODE_ALIGN:
		align(state, insn->reg);
		break;
	case CODE_ZERO:
		zero(state, insn->reg);
		break;
	case CODE_ADDRESS:
		set_reg(state, insn->reg, other);
		break;
	case CODE_PUSH:
		push(state, reg_value(state, insn->src));
		break;
	case CODE_POP:
		pop(state, insn->reg);
		break;
	case CODE_STORE:
		store(state, add(reg_value(state, insn->reg), insn->imm), insn->size,
		      reg_value(state, insn->src));
		break;
	case CODE_LOAD:
		set_reg(state, insn->reg, load(state, add(reg_value(state, insn->src), insn->imm)));
		break;
	case CODE_LEAVE:
		set_reg(state, CODE_RSP, state->regs[CODE_RBP]);
		pop(state, CODE_RBP);
		break;
	case CODE_COMPARE:
		compare(state, insn);
		break;
	case CODE_SYSCALL:
		clobber(state, 1U << CODE_RAX | 1U << CODE_RCX | 1U << CODE_R11);
		state->after_syscall = true;
		break;
	case CODE_CALL:
	case CODE_CALL_INDIRECT:
		clobber(state, by_call);
		break;
	default:
		break;
	}
}

bool code_state__step(struct code_state *state, const struct code_insn *insn)
{
	struct code_value sp;

	state->compared = CODE_NO_REG;
	change(state, insn);
	sp = state->regs[CODE_RSP];
	/* The return address is the caller's. */
	return state->caller != CALLER_KNOWN || sp.kind != VALUE_FRAME || sp.off <= -8;
}

/*
 * Big frames are taken page by page, in a loop that ends when the stack pointer is where another
 * register says (gcc's -fstack-clash-protection).
 */
bool code_state__not_taken(struct code_state *state, const struct code_insn *branch)
{
	struct code_value *sp = &state->regs[CODE_RSP], with;

	if (branch->reg != 1 || state->compared >= CODE_REG_CNT)
		return true;
	with = state->regs[state->compared];
	if (!is_place(with))
		return true;
	if (sp->kind == with.kind)
		return sp->off == with.off;
	*sp = with;
	return true;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static int8_t fp_at(const struct code_state *state, struct code_value from)
{
	int32_t off = state->saved_fp.off - from.off;

	if (state->saved_fp.kind == from.kind && off % 8 == 0 && off / 8 >= MIN_SAVED_FP &&
	    off / 8 < UNWIND_FP_LOST)
		return (int8_t)(off / 8);
	return is_caller_fp(state->regs[CODE_RBP]) ? UNWIND_FP_SAME : UNWIND_FP_LOST;
}

/* Behind an aligned stack pointer only a saved copy tells the frame's address. */
static struct unwind_row aligned_row(const struct code_state *state)
{
	struct code_value fp = state->regs[CODE_RBP], cfa = state->saved_cfa;
	int32_t off = cfa.off - fp.off, addend = -state->saved_cfa_off;

	if (fp.kind != VALUE_ALIGNED || cfa.kind != VALUE_ALIGNED || off < INT16_MIN ||
	    off > INT16_MAX || addend < INT16_MIN || addend > INT16_MAX)
		return (struct unwind_row){0};
	return (struct unwind_row){
		.rule = UNWIND_RULE_FP_DEREF,
		.fp = fp_at(state, fp),
		.cfa = addend * 65536 + (int32_t)(uint16_t)off,
	};
}

struct unwind_row code_state__row(const struct code_state *state)
{
	static const struct code_value frame = {VALUE_FRAME, 0};
	struct code_value sp = state->regs[CODE_RSP], fp = state->regs[CODE_RBP];

	if (state->caller == CALLER_NONE)
		return (struct unwind_row){.rule = UNWIND_RULE_END, .fp = UNWIND_FP_SAME};
	if (state->caller != CALLER_KNOWN)
		return (struct unwind_row){0};
	/* `push %rbp; mov %rsp, %rbp`: a frame pointer as it should be. */
	if (fp.kind == VALUE_FRAME && (sp.kind != VALUE_FRAME || same(fp, state->saved_fp)))
		return (struct unwind_row){
			.rule = UNWIND_RULE_FP, .fp = fp_at(state, frame), .cfa = -fp.off};
	if (sp.kind == VALUE_FRAME)
		return (struct unwind_row){
			.rule = UNWIND_RULE_SP, .fp = fp_at(state, frame), .cfa = -sp.off};
	return aligned_row(state);
}
