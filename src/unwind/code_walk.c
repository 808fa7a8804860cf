/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/code_walk.h"

#include <errno.h>

/*
 * Compilers align what is jumped to, and functions. Padding behind a call, and no jump to what
 * comes after it: that is the next function, and the call does not come back. A single byte is left
 * out: at -O0 gcc puts a nop wherever a line of the source has no code.
 */
static bool ends_function(struct code_flow *flow, const struct code_edge *edge)
{
	const struct code_insn *call = code_walk__insn(flow, flow->nodes.items[edge->from].insn);
	uint32_t insn_idx = code_text__find(flow->text, edge->to);

	return edge->to - call->at - call->len >= 2 && insn_idx != CODE_NO_INSN &&
	       code_walk__insn(flow, insn_idx)->op != CODE_NOP &&
	       !(code_walk__insn(flow, insn_idx)->flags & CODE_TARGET);
}

static void go_on(struct code_flow *flow, uint32_t node, const struct code_insn *insn,
		  const struct code_state *state)
{
	struct code_edge edge = {.from = node, .to = (int64_t)insn->at + insn->len};

	if (insn->op == CODE_CALL || insn->op == CODE_CALL_INDIRECT) {
		edge.behind_call = true;
	} else if (insn->op == CODE_NOP && flow->nodes.items[node].call) {
		edge.behind_call = true;
		edge.from = flow->nodes.items[node].call - 1;
		if (ends_function(flow, &edge)) {
			code_walk__mark_no_way(flow, edge.from);
			return;
		}
	}
	code_walk__follow_edge(flow, &edge, state);
}

/*
 * A jump without a frame, to beyond where other functions begin, is a tail call, or as good as one:
 * the state is that of an entry.
 */
static void note_tail_call(struct code_flow *flow, const struct code_insn *insn)
{
	int64_t to = code_insn__target(insn);

	if (to < 0 || to > INT32_MAX ||
	    code_seeds__lower(flow->seeds, (uint32_t)to + 1) ==
		    code_seeds__lower(flow->seeds, insn->at + 1))
		return;
	if (array_push(&flow->tail_calls, (uint32_t)to))
		flow->err = -ENOMEM;
}

static void jump(struct code_flow *flow, uint32_t node, const struct code_insn *insn,
		 const struct code_state *state)
{
	struct code_edge edge = {
		.from = node,
		.to = code_insn__target(insn),
		.is_branch = insn->op == CODE_BRANCH,
	};

	if (flow->mode == MODE_CERTAIN && insn->op == CODE_JUMP && code_state__is_entry(state))
		note_tail_call(flow, insn);

	code_walk__follow_edge(flow, &edge, state);
}

/* Whether the call or jump through a slot goes to a function that does not return. */
static bool ends_in_slot(const struct code_flow *flow, const struct code_insn *insn)
{
	const struct code_slot *slot;
	const struct code_seed *seed;
	uint32_t at, idx;

	if (!(insn->flags & CODE_BY_SLOT))
		return false;
	slot = code_seeds__slot(flow->seeds, flow->text->base + (uint64_t)code_insn__target(insn));
	if (!slot || !slot->function)
		return slot != NULL;
	if (!code_text__offset(flow->text, slot->function, &at))
		return false;
	idx = code_text__find(flow->text, at);
	seed = idx == CODE_NO_INSN ? NULL : code_walk__seed_at(flow, code_walk__insn(flow, idx));
	return seed && seed->no_return;
}

/* A function that jumps with and without its frame makes tail calls, too. */
static void note_jump(struct code_flow *flow, const struct code_insn *insn,
		      const struct code_state *state)
{
	bool had_frame = flow->has_jump && !code_state__is_entry(&flow->at_jump);
	bool has_frame = !code_state__is_entry(state);

	if (flow->has_jump && had_frame && !has_frame)
		return;
	if (!flow->has_jump || (has_frame && !had_frame)) {
		flow->at_jump = *state;
		flow->jump_at = insn->at;
		flow->has_jump = true;
	} else if (code_state__contradicts(&flow->at_jump, state)) {
		flow->jumps_differ = true;
	} else {
		code_state__join(&flow->at_jump, state);
	}
}

static void jump_indirect(struct code_flow *flow, uint32_t node, const struct code_insn *insn,
			  const struct code_state *state)
{
	flow->nodes.items[node].good = code_state__is_entry(state);
	if (ends_in_slot(flow, insn))
		return;
	flow->returns = true;
	/* A tail call, if the stack was aligned for a call before. */
	flow->proven |= flow->has_call && code_state__is_entry(state);
	if (insn->flags & CODE_BY_SLOT || state->caller != CALLER_KNOWN)
		return;
	if (flow->mode != MODE_CASES)
		note_jump(flow, insn, state);
	else if (!code_state__is_entry(state) && code_state__contradicts(&flow->at_jump, state))
		flow->failed = true; /* the switch of another function */
}

/* Whether what comes behind a call, and behind padding, may be a function. */
static bool may_end_function(struct code_flow *flow, const struct code_insn *call)
{
	int64_t at = (int64_t)call->at + call->len, start = at;
	const struct code_insn *insn;
	uint32_t idx;

	while ((idx = code_text__find(flow->text, at)) != CODE_NO_INSN &&
	       code_walk__insn(flow, idx)->op == CODE_NOP)
		at += code_walk__insn(flow, idx)->len;
	if (idx == CODE_NO_INSN)
		return false;
	insn = code_walk__insn(flow, idx);
	return (flow->text->base + insn->at) % 16 == 0 &&
	       (at - start >= 2 || !(insn->flags & CODE_TARGET));
}

/*
 * Something is wrong at `node`. If the way there leads from a call into what may be a function, the
 * call may not come back. Returns false if there is none.
 */
static bool blame_call(struct code_flow *flow, uint32_t node)
{
	for (uint32_t call = flow->nodes.items[node].last_call; call && flow->mode == MODE_SEED;
	     call = flow->nodes.items[call - 1].last_call) {
		if (!may_end_function(flow,
				      code_walk__insn(flow, flow->nodes.items[call - 1].insn)))
			continue;
		code_walk__mark_no_way(flow, call - 1);
		flow->restart = flow->blamed = true;
		return true;
	}
	return false;
}

static void return_to_caller(struct code_flow *flow, uint32_t node, const struct code_state *state)
{
	flow->returns = true;
	flow->nodes.items[node].good = true;
	if (code_state__is_entry(state))
		flow->proven = true;
	else if (state->caller == CALLER_KNOWN && !blame_call(flow, node))
		flow->failed = true;
}

/* Returns the seed that a direct call goes to, or NULL. */
static struct code_seed *callee(struct code_flow *flow, const struct code_insn *insn)
{
	uint32_t idx = code_text__find(flow->text, code_insn__target(insn));

	return idx == CODE_NO_INSN ? NULL : code_walk__seed_at(flow, code_walk__insn(flow, idx));
}

static bool comes_back(struct code_flow *flow, const struct code_insn *insn)
{
	const struct code_seed *seed;

	if (insn->flags & CODE_NO_WAY || ends_in_slot(flow, insn))
		return false;
	if (insn->op != CODE_CALL)
		return true;
	seed = callee(flow, insn);
	return !seed || !seed->no_return;
}

/* A function does not calculate with registers that belong to its caller before it has saved them.
 */
static bool reads_callers(const struct code_insn *insn, const struct code_state *state)
{
	for (unsigned int reg = 0; reg < CODE_REG_CNT && insn->reads & ~state->saved; reg++)
		if (insn->reads & ~state->saved & code_reg__saved_bit(reg) &&
		    state->regs[reg].kind == VALUE_CALLER && state->regs[reg].off == (int32_t)reg)
			return true;
	return false;
}

/* Calls are made with the stack aligned to 16 bytes (psABI 3.2.2), at least by compilers. */
static bool is_aligned(const struct code_state *state)
{
	return state->regs[CODE_RSP].kind == VALUE_FRAME && state->regs[CODE_RSP].off % 16 == 0;
}

static bool calls_astray(const struct code_insn *insn, const struct code_state *state)
{
	return (insn->op == CODE_CALL || insn->op == CODE_CALL_INDIRECT) &&
	       state->regs[CODE_RSP].kind == VALUE_FRAME && !is_aligned(state);
}

/* Whether this cannot be what the function of a seed that is not sure does, or a case of a switch.
 */
static bool is_astray(struct code_flow *flow, const struct code_insn *insn,
		      const struct code_state *state)
{
	if (flow->mode == MODE_CASES && is_aligned(&flow->at_jump) && calls_astray(insn, state))
		return true;
	if (!flow->is_taken)
		return false;
	return reads_callers(insn, state) ||
	       (calls_astray(insn, state) &&
		(flow->mode > MODE_SEED || state->regs[CODE_RSP].off == -8));
}

static void visit(struct code_flow *flow, uint32_t node)
{
	struct code_insn insn = *code_walk__insn(flow, flow->nodes.items[node].insn);
	struct code_state state = flow->nodes.items[node].state;

	if (is_astray(flow, &insn, &state)) {
		flow->failed = true;
		return;
	}
	if (calls_astray(&insn, &state) && blame_call(flow, node))
		return;
	/* A call to what comes next, where no function begins, is a push. */
	if (insn.op == CODE_CALL && !insn.imm && !callee(flow, &insn))
		insn.op = CODE_PUSH;
	switch (insn.op) {
	case CODE_STOP:
		break;
	case CODE_RETURN:
		return_to_caller(flow, node, &state);
		break;
	case CODE_JUMP_INDIRECT:
		jump_indirect(flow, node, &insn, &state);
		break;
	case CODE_JUMP:
		jump(flow, node, &insn, &state);
		break;
	case CODE_BRANCH:
		jump(flow, node, &insn, &state);
		if (code_state__not_taken(&state, &insn))
			go_on(flow, node, &insn, &state);
		break;
	case CODE_CALL:
	case CODE_CALL_INDIRECT:
		flow->has_call = true;
		/* As a function's beginning the same code would find it misaligned. */
		if (flow->mode == MODE_CASES && is_aligned(&flow->at_jump) && is_aligned(&state))
			flow->proven = true;
		if (comes_back(flow, &insn) && array_push(&flow->calls, node))
			flow->err = -ENOMEM;
		break;
	default:
		if (code_state__step(&state, &insn))
			go_on(flow, node, &insn, &state);
		else
			flow->failed = true;
		break;
	}
}

/* Calls may not come back: whatever is reached without them is certain, and goes first. */
static void go_behind_call(struct code_flow *flow, uint32_t node)
{
	struct code_insn insn = *code_walk__insn(flow, flow->nodes.items[node].insn);
	struct code_state state = flow->nodes.items[node].state;

	if (code_state__step(&state, &insn))
		go_on(flow, node, &insn, &state);
	else
		flow->failed = true;
}

void code_walk__run(struct code_flow *flow)
{
	while (!flow->failed && !flow->restart && !flow->err &&
	       (flow->work.cnt || flow->calls.cnt) && code_walk__step(flow)) {
		if (flow->work.cnt)
			visit(flow, flow->work.items[--flow->work.cnt]);
		else
			go_behind_call(flow, flow->calls.items[--flow->calls.cnt]);
	}
}

void code_walk__begin(struct code_flow *flow, uint32_t insn_idx, const struct code_state *state)
{
	code_walk__drop_nodes(flow, 0);
	flow->at = code_walk__insn(flow, insn_idx)->at;
	flow->end = flow->last = 0;
	flow->failed = flow->restart = flow->returns = flow->proven = false;
	flow->has_jump = flow->jumps_differ = flow->has_call = flow->disputed = false;
	flow->steps.cnt = 0;
	code_walk__add_node(flow, insn_idx, NULL, state);
}
