/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/code_flow.h"

#include <errno.h>
#include <string.h>

#include "unwind/code_state.h"

#define MAX_RESTARTS 64	    /* of one function */
#define MAX_CASE_PASSES 4   /* what is found behind makes more lie between */
#define STEPS_PER_INSN 64   /* in all; compilers' code takes 10 to 15 */
#define MIN_STEPS (1U << 20)

enum row_status {
	ROW_UNSEEN,
	ROW_KEPT,
	ROW_DISPUTED,
};

/* An instruction of the function being followed. */
struct node {
	uint32_t insn;
	uint32_t call; /* 1 + node of the call that it was first reached behind, 0 = none */
	uint32_t last_call; /* the same, of the last call before it on that way */
	struct code_state state;
};

struct undo {
	uint32_t node;
	struct code_state state;
};

enum follow_mode {
	MODE_CERTAIN,
	MODE_SEED, /* as MODE_CERTAIN, now with guesses at which call does not come back */
	MODE_CASES, /* as MODE_SEED, now with what might be cases of a switch */
	MODE_TRY,
};

struct code_flow {
	struct code_text *text;
	struct code_seeds *seeds;
	uint64_t steps_left;
	bool learned;
	ARRAY(uint32_t) node_of;       /* by instruction: 1 + node, 0 = not reached */
	ARRAY(struct unwind_row) rows; /* by instruction; .pc is enum row_status */

	/* the function */
	uint32_t at, end; /* the next one begins at `end` */
	uint32_t last;	  /* instruction before that that was reached */
	enum follow_mode mode;
	bool is_taken; /* only its address is known from somewhere */
	ARRAY(struct node) nodes;
	ARRAY(uint32_t) work, calls; /* nodes: to visit; to go on behind, when work is done */
	ARRAY(struct undo) undo;
	bool failed, restart, returns, proven, blamed;
	bool has_jump, jumps_differ; /* indirect ones */
	struct code_state at_jump;
	int err;
};

struct code_flow *code_flow__new(struct code_text *text, struct code_seeds *seeds)
{
	struct code_flow *flow = calloc(1, sizeof(*flow));

	if (!flow)
		return NULL;
	flow->text = text;
	flow->seeds = seeds;
	flow->steps_left = MIN_STEPS + STEPS_PER_INSN * (uint64_t)text->insns.cnt;
	return flow;
}

void code_flow__free(struct code_flow *flow)
{
	if (!flow)
		return;
	array_free(&flow->node_of);
	array_free(&flow->rows);
	array_free(&flow->nodes);
	array_free(&flow->work);
	array_free(&flow->calls);
	array_free(&flow->undo);
	free(flow);
}

/* ---- nodes -------------------------------------------------------------------------------------- */

static struct code_insn *insn_of(struct code_flow *flow, uint32_t insn_idx)
{
	return &flow->text->insns.items[insn_idx];
}

/* Instructions may have been decoded since. */
static bool make_room(struct code_flow *flow)
{
	while (flow->node_of.cnt < flow->text->insns.cnt)
		if (array_push(&flow->node_of, 0))
			return false;
	while (flow->rows.cnt < flow->text->insns.cnt)
		if (array_push(&flow->rows, (struct unwind_row){0}))
			return false;
	return true;
}

static void add_work(struct code_flow *flow, uint32_t node)
{
	if (array_push(&flow->work, node))
		flow->err = -ENOMEM;
}

struct edge {
	uint32_t from; /* node */
	int64_t to;
	bool behind_call; /* ... which is `from`, perhaps with padding between */
};

static void add_node(struct code_flow *flow, uint32_t insn, const struct edge *edge,
		     const struct code_state *state)
{
	struct node node = {.insn = insn, .state = *state};

	if (edge && edge->behind_call)
		node.call = node.last_call = edge->from + 1;
	else if (edge)
		node.last_call = flow->nodes.items[edge->from].last_call;

	if (array_push(&flow->nodes, node)) {
		flow->err = -ENOMEM;
		return;
	}
	flow->node_of.items[insn] = (uint32_t)flow->nodes.cnt;
	if (insn_of(flow, insn)->at < flow->end && insn_of(flow, insn)->at > flow->last)
		flow->last = insn_of(flow, insn)->at;
	add_work(flow, (uint32_t)flow->nodes.cnt - 1);
}

static void drop_nodes(struct code_flow *flow, size_t keep)
{
	while (flow->nodes.cnt > keep)
		flow->node_of.items[flow->nodes.items[--flow->nodes.cnt].insn] = 0;
	flow->work.cnt = 0;
	flow->calls.cnt = 0;
}

/* ---- edges -------------------------------------------------------------------------------------- */

static void mark_no_way(struct code_flow *flow, uint32_t node)
{
	struct code_insn *insn = insn_of(flow, flow->nodes.items[node].insn);

	if (flow->mode <= MODE_SEED && !(insn->flags & CODE_NO_WAY)) {
		insn->flags |= CODE_NO_WAY;
		flow->learned = true;
	}
}

/* Returns the seed at an instruction, or NULL. */
static struct code_seed *seed_at(struct code_flow *flow, const struct code_insn *insn)
{
	struct code_seed *seed;

	if (!(insn->flags & CODE_START))
		return NULL;
	seed = &flow->seeds->list.items[code_seeds__lower(flow->seeds, insn->at)];
	return seed->trust == SEED_REVOKED ? NULL : seed;
}

/*
 * Code that leads to where another function begins: a tail call, or the end of a call that does not
 * come back, or no function begins there. Returns whether to go on there.
 */
static bool enter_function(struct code_flow *flow, const struct edge *edge,
			   const struct code_state *state, struct code_seed *seed)
{
	if (edge->behind_call) {
		mark_no_way(flow, edge->from);
		return false;
	}
	if (code_state__is_entry(state)) {
		flow->proven = true;
		flow->returns |= !seed->no_return;
		return false;
	}
	if (state->caller == CALLER_NONE)
		return false;
	if (seed->trust == SEED_TAKEN && flow->mode <= MODE_SEED) {
		seed->trust = SEED_REVOKED;
		flow->learned = true;
		return true;
	}
	flow->failed = true;
	return false;
}

/* Code that is in nobody's text, or in somebody else's. */
static void leave_text(struct code_flow *flow, const struct edge *edge,
		       const struct code_state *state)
{
	bool is_foreign = code_text__is_foreign(flow->text, edge->to);

	if (edge->behind_call) {
		mark_no_way(flow, edge->from);
	} else if (is_foreign) {
		flow->returns = true;
		flow->proven |= code_state__is_entry(state);
	} else {
		flow->failed = true;
	}
}

/* Where rows are kept already, a function that is only tried must fit. */
static bool meet_kept(struct code_flow *flow, uint32_t insn_idx, const struct code_state *state)
{
	struct unwind_row kept = flow->rows.items[insn_idx], row = code_state__row(state);

	if (flow->mode != MODE_TRY || kept.pc == ROW_UNSEEN)
		return false;
	if (kept.pc != ROW_KEPT || kept.rule != row.rule || kept.fp != row.fp ||
	    kept.cfa != row.cfa)
		flow->failed = true;
	flow->proven = true;
	flow->returns = true;
	return true;
}

static void meet_node(struct code_flow *flow, const struct edge *edge,
		      const struct code_state *state, uint32_t idx)
{
	struct node *node = &flow->nodes.items[idx];
	struct undo undo = {idx, node->state};

	if (code_state__contradicts(&node->state, state)) {
		if (edge->behind_call) {
			if (flow->mode == MODE_SEED)
				mark_no_way(flow, edge->from);
			return;
		}
		if (flow->mode > MODE_SEED) {
			flow->failed = true;
			return;
		}
		if (node->call && flow->mode == MODE_SEED) {
			mark_no_way(flow, node->call - 1);
			flow->restart = true;
			return;
		}
	} else if (flow->mode == MODE_CASES) {
		flow->proven = true;
	}
	if (!edge->behind_call)
		node->call = 0;
	if (!code_state__join(&node->state, state))
		return;
	if (flow->mode == MODE_CASES && array_push(&flow->undo, undo))
		flow->err = -ENOMEM;
	add_work(flow, idx);
}

static void follow_edge(struct code_flow *flow, const struct edge *edge,
			const struct code_state *state)
{
	uint32_t insn_idx = code_text__decode(flow->text, edge->to);
	struct code_seed *seed;

	if (insn_idx == CODE_NO_INSN) {
		leave_text(flow, edge, state);
		return;
	}
	if (!make_room(flow)) {
		flow->err = -ENOMEM;
		return;
	}
	seed = edge->to == flow->at ? NULL : seed_at(flow, insn_of(flow, insn_idx));
	if (seed && !enter_function(flow, edge, state, seed))
		return;
	if (meet_kept(flow, insn_idx, state))
		return;
	if (flow->node_of.items[insn_idx])
		meet_node(flow, edge, state, flow->node_of.items[insn_idx] - 1);
	else
		add_node(flow, insn_idx, edge, state);
}

/* ---- instructions ------------------------------------------------------------------------------- */

/*
 * Compilers align what is jumped to, and functions. Padding behind a call, and no jump to what comes
 * after it: that is the next function, and the call does not come back. A single byte is left out: at
 * -O0 gcc puts a nop wherever a line of the source has no code.
 */
static bool ends_function(struct code_flow *flow, const struct edge *edge)
{
	const struct code_insn *call = insn_of(flow, flow->nodes.items[edge->from].insn);
	uint32_t insn_idx = code_text__find(flow->text, edge->to);

	return edge->to - call->at - call->len >= 2 && insn_idx != CODE_NO_INSN &&
	       insn_of(flow, insn_idx)->op != CODE_NOP &&
	       !(insn_of(flow, insn_idx)->flags & CODE_TARGET);
}

static void go_on(struct code_flow *flow, uint32_t node, const struct code_insn *insn,
		  const struct code_state *state)
{
	struct edge edge = {.from = node, .to = (int64_t)insn->at + insn->len};

	if (insn->op == CODE_CALL || insn->op == CODE_CALL_INDIRECT) {
		edge.behind_call = true;
	} else if (insn->op == CODE_NOP && flow->nodes.items[node].call) {
		edge.behind_call = true;
		edge.from = flow->nodes.items[node].call - 1;
		if (ends_function(flow, &edge)) {
			mark_no_way(flow, edge.from);
			return;
		}
	}
	follow_edge(flow, &edge, state);
}

static void jump(struct code_flow *flow, uint32_t node, const struct code_insn *insn,
		 const struct code_state *state)
{
	struct edge edge = {
		.from = node,
		.to = code_insn__target(insn),
	};

	follow_edge(flow, &edge, state);
}

static bool is_no_return_slot(const struct code_flow *flow, const struct code_insn *insn)
{
	return insn->flags & CODE_BY_SLOT &&
	       code_seeds__is_no_return_slot(flow->seeds, flow->text->base +
							  (uint64_t)code_insn__target(insn));
}

static void jump_indirect(struct code_flow *flow, const struct code_insn *insn,
			  const struct code_state *state)
{
	if (is_no_return_slot(flow, insn))
		return;
	flow->returns = true;
	if (insn->flags & CODE_BY_SLOT || state->caller != CALLER_KNOWN ||
	    flow->mode == MODE_CASES)
		return;
	if (!flow->has_jump) {
		flow->at_jump = *state;
		flow->has_jump = true;
	} else if (code_state__contradicts(&flow->at_jump, state)) {
		flow->jumps_differ = true;
	} else {
		code_state__join(&flow->at_jump, state);
	}
}

/* Whether what comes behind a call, and behind padding, may be a function. */
static bool may_end_function(struct code_flow *flow, const struct code_insn *call)
{
	int64_t at = (int64_t)call->at + call->len, start = at;
	const struct code_insn *insn;
	uint32_t idx;

	while ((idx = code_text__find(flow->text, at)) != CODE_NO_INSN &&
	       insn_of(flow, idx)->op == CODE_NOP)
		at += insn_of(flow, idx)->len;
	if (idx == CODE_NO_INSN)
		return false;
	insn = insn_of(flow, idx);
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
		if (!may_end_function(flow, insn_of(flow, flow->nodes.items[call - 1].insn)))
			continue;
		mark_no_way(flow, call - 1);
		flow->restart = flow->blamed = true;
		return true;
	}
	return false;
}

static void return_to_caller(struct code_flow *flow, uint32_t node, const struct code_state *state)
{
	flow->returns = true;
	if (code_state__is_entry(state))
		flow->proven = true;
	else if (state->caller == CALLER_KNOWN && !blame_call(flow, node))
		flow->failed = true;
}

/* Returns the seed that a direct call goes to, or NULL. */
static struct code_seed *callee(struct code_flow *flow, const struct code_insn *insn)
{
	uint32_t idx = code_text__find(flow->text, code_insn__target(insn));

	return idx == CODE_NO_INSN ? NULL : seed_at(flow, insn_of(flow, idx));
}

static bool comes_back(struct code_flow *flow, const struct code_insn *insn)
{
	const struct code_seed *seed;

	if (insn->flags & CODE_NO_WAY || is_no_return_slot(flow, insn))
		return false;
	if (insn->op != CODE_CALL)
		return true;
	seed = callee(flow, insn);
	return !seed || !seed->no_return;
}

/* A function does not calculate with registers that belong to its caller. */
static bool reads_callers(const struct code_insn *insn, const struct code_state *state)
{
	for (unsigned int reg = 0; reg < CODE_REG_CNT && insn->reads; reg++)
		if (insn->reads & code_reg__saved_bit(reg) &&
		    state->regs[reg].kind == VALUE_CALLER &&
		    state->regs[reg].off == (int32_t)reg)
			return true;
	return false;
}

/* Calls are made with the stack aligned to 16 bytes (psABI 3.2.2), at least by compilers. */
static bool calls_astray(const struct code_insn *insn, const struct code_state *state)
{
	struct code_value sp = state->regs[CODE_RSP];

	return (insn->op == CODE_CALL || insn->op == CODE_CALL_INDIRECT) &&
	       sp.kind == VALUE_FRAME && sp.off % 16 != 0;
}

/* Whether this cannot be what the function of a seed that is not sure does. */
static bool is_astray(struct code_flow *flow, const struct code_insn *insn,
		      const struct code_state *state)
{
	if (!flow->is_taken)
		return false;
	return reads_callers(insn, state) ||
	       (calls_astray(insn, state) &&
		(flow->mode > MODE_SEED || state->regs[CODE_RSP].off == -8));
}

static void visit(struct code_flow *flow, uint32_t node)
{
	struct code_insn insn = *insn_of(flow, flow->nodes.items[node].insn);
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
		jump_indirect(flow, &insn, &state);
		break;
	case CODE_JUMP:
		jump(flow, node, &insn, &state);
		break;
	case CODE_BRANCH:
		jump(flow, node, &insn, &state);
		code_state__not_taken(&state, &insn);
		go_on(flow, node, &insn, &state);
		break;
	case CODE_CALL:
	case CODE_CALL_INDIRECT:
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
	struct code_insn insn = *insn_of(flow, flow->nodes.items[node].insn);
	struct code_state state = flow->nodes.items[node].state;

	if (code_state__step(&state, &insn))
		go_on(flow, node, &insn, &state);
	else
		flow->failed = true;
}

static void run(struct code_flow *flow)
{
	while (!flow->failed && !flow->restart && !flow->err &&
	       (flow->work.cnt || flow->calls.cnt)) {
		if (!flow->steps_left) {
			flow->err = -ETIME;
			return;
		}
		flow->steps_left--;
		if (flow->work.cnt)
			visit(flow, flow->work.items[--flow->work.cnt]);
		else
			go_behind_call(flow, flow->calls.items[--flow->calls.cnt]);
	}
}

/* ---- functions ---------------------------------------------------------------------------------- */

static uint32_t end_of_function(const struct code_flow *flow, uint32_t at)
{
	const struct code_seeds *seeds = flow->seeds;
	size_t next = code_seeds__lower(seeds, at + 1);

	while (next < seeds->list.cnt && seeds->list.items[next].trust == SEED_REVOKED)
		next++;
	return next < seeds->list.cnt ? seeds->list.items[next].at : UINT32_MAX;
}

static void begin(struct code_flow *flow, uint32_t insn_idx, const struct code_state *state)
{
	drop_nodes(flow, 0);
	flow->at = flow->last = insn_of(flow, insn_idx)->at;
	flow->end = end_of_function(flow, flow->at);
	flow->failed = flow->restart = flow->returns = flow->proven = false;
	flow->has_jump = flow->jumps_differ = false;
	if (make_room(flow))
		add_node(flow, insn_idx, NULL, state);
	else
		flow->err = -ENOMEM;
}

/* Follows the function at a seed, from anew whenever a call turned out not to come back. */
static int follow_seed(struct code_flow *flow, const struct code_seed *seed, enum follow_mode mode)
{
	uint32_t insn_idx = code_text__find(flow->text, seed->at);
	struct code_state entry = code_state__entry(seed->is_entry ? CALLER_NONE : CALLER_KNOWN);

	flow->mode = mode;
	flow->is_taken = seed->trust == SEED_TAKEN;
	flow->blamed = false;
	for (unsigned int i = 0; i <= MAX_RESTARTS && !flow->err; i++) {
		begin(flow, insn_idx, &entry);
		run(flow);
		if (!flow->restart)
			break;
	}
	flow->failed |= flow->restart || (flow->blamed && flow->is_taken && !flow->proven);
	return flow->err;
}

int code_flow__learn(struct code_flow *flow, size_t seed_idx, bool certain)
{
	struct code_seed *seed = &flow->seeds->list.items[seed_idx];
	bool no_return;

	if (seed->trust == SEED_REVOKED ||
	    follow_seed(flow, seed, certain ? MODE_CERTAIN : MODE_SEED))
		return flow->err;
	no_return = !flow->failed && !flow->returns && !seed->is_entry;
	if (no_return != seed->no_return) {
		seed->no_return = no_return;
		flow->learned = true;
	}
	return 0;
}

bool code_flow__has_learned(struct code_flow *flow)
{
	bool learned = flow->learned;

	flow->learned = false;
	return learned;
}

static void keep_row(struct code_flow *flow, const struct node *node)
{
	struct unwind_row *kept = &flow->rows.items[node->insn];
	struct unwind_row row = code_state__row(&node->state);

	if (kept->pc == ROW_UNSEEN) {
		*kept = row;
		kept->pc = ROW_KEPT;
	} else if (kept->rule != row.rule || kept->fp != row.fp || kept->cfa != row.cfa) {
		*kept = (struct unwind_row){.pc = ROW_DISPUTED};
	}
}

static void keep_rows(struct code_flow *flow)
{
	for (size_t i = 0; i < flow->nodes.cnt; i++)
		keep_row(flow, &flow->nodes.items[i]);
}

/* ---- switches ----------------------------------------------------------------------------------- */

/* Takes back what came of a case that was none. */
static void undo_case(struct code_flow *flow, size_t keep)
{
	while (flow->undo.cnt) {
		struct undo *undo = &flow->undo.items[--flow->undo.cnt];

		flow->nodes.items[undo->node].state = undo->state;
	}
	drop_nodes(flow, keep);
}

/* Returns whether the instruction was one of the function's. */
static bool follow_case(struct code_flow *flow, uint32_t insn_idx, bool is_within)
{
	size_t keep = flow->nodes.cnt;
	uint32_t last = flow->last;

	flow->undo.cnt = 0;
	flow->failed = flow->proven = false;
	add_node(flow, insn_idx, NULL, &flow->at_jump);
	run(flow);
	if (flow->err || (!flow->failed && (flow->proven || is_within)))
		return true;
	undo_case(flow, keep);
	flow->last = last;
	return false;
}

/* Whether nothing is known to lead to the instruction, not even what comes before it. */
static bool may_be_case(struct code_flow *flow, uint32_t idx)
{
	const struct code_insn *insn = insn_of(flow, idx), *before;

	if (flow->node_of.items[idx] || insn->op == CODE_NOP || insn->op == CODE_STOP)
		return false;
	before = idx ? insn_of(flow, idx - 1) : NULL;
	return !before || before->at + before->len != insn->at || before->op == CODE_NOP ||
	       flow->node_of.items[idx - 1] || !code_insn__goes_on(before);
}

/*
 * Goes once over the function's code. What lies between its parts is the function's, too; what lies
 * behind them must come to a good end. Returns whether something was found.
 */
static bool look_for_cases(struct code_flow *flow)
{
	uint32_t idx = code_text__lower(flow->text, flow->at);
	bool found = false;

	for (; idx < flow->text->sweep_cnt && !flow->err; idx++) {
		uint32_t at = insn_of(flow, idx)->at;

		if (at >= flow->end)
			break;
		if (!may_be_case(flow, idx))
			continue;
		if (follow_case(flow, idx, at < flow->last))
			found = true;
		else if (flow->failed && at > flow->last)
			break;
	}
	return found;
}

/*
 * What an indirect jump leads to is in tables that are hard to bound. All of a function's cases begin
 * with the state of its jump, and they lie before the next function.
 */
static void follow_cases(struct code_flow *flow)
{
	if (!flow->has_jump || flow->jumps_differ ||
	    code_state__row(&flow->at_jump).rule == UNWIND_RULE_NONE)
		return;
	/* It may as well be a tail call, and what follows the pieces of another function. */
	flow->is_taken = code_state__is_entry(&flow->at_jump);
	flow->mode = MODE_CASES;
	for (unsigned int i = 0; i < MAX_CASE_PASSES && !flow->err; i++)
		if (!look_for_cases(flow))
			break;
	flow->failed = false;
}

int code_flow__keep(struct code_flow *flow, size_t seed_idx)
{
	struct code_seed *seed = &flow->seeds->list.items[seed_idx];

	if (seed->trust == SEED_REVOKED || follow_seed(flow, seed, MODE_SEED) || flow->failed)
		return flow->err;
	follow_cases(flow);
	if (!flow->err)
		keep_rows(flow);
	return flow->err;
}

int code_flow__try(struct code_flow *flow, uint32_t insn_idx)
{
	struct code_state entry = code_state__entry(CALLER_KNOWN);

	flow->mode = MODE_TRY;
	flow->is_taken = true;
	begin(flow, insn_idx, &entry);
	run(flow);
	if (flow->err || flow->failed || !flow->proven)
		return flow->err;
	follow_cases(flow);
	if (!flow->err)
		keep_rows(flow);
	return flow->err;
}

struct unwind_row code_flow__row(const struct code_flow *flow, uint32_t insn_idx, bool *ret_seen)
{
	struct unwind_row row = {0};

	if (insn_idx < flow->rows.cnt)
		row = flow->rows.items[insn_idx];
	*ret_seen = row.pc != ROW_UNSEEN;
	if (row.pc != ROW_KEPT)
		row = (struct unwind_row){0};
	row.pc = 0;
	return row;
}
