/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/code_walk.h"

#include <errno.h>

/* ---- nodes ----------------------------------------------------------------------------------- */

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

void code_walk__add_node(struct code_flow *flow, uint32_t insn, const struct code_edge *edge,
			 const struct code_state *state)
{
	struct code_node node = {.insn = insn, .state = *state};

	if (edge && edge->behind_call)
		node.call = node.last_call = edge->from + 1;
	else if (edge)
		node.last_call = flow->nodes.items[edge->from].last_call;
	if (!make_room(flow) || array_push(&flow->nodes, node)) {
		flow->err = -ENOMEM;
		return;
	}
	flow->node_of.items[insn] = (uint32_t)flow->nodes.cnt;
	if (code_walk__insn(flow, insn)->at < flow->end &&
	    code_walk__insn(flow, insn)->at > flow->last)
		flow->last = code_walk__insn(flow, insn)->at;
	add_work(flow, (uint32_t)flow->nodes.cnt - 1);
}

void code_walk__drop_nodes(struct code_flow *flow, size_t keep)
{
	while (flow->nodes.cnt > keep)
		flow->node_of.items[flow->nodes.items[--flow->nodes.cnt].insn] = 0;
	flow->work.cnt = 0;
	flow->calls.cnt = 0;
}

/* ---- edges ----------------------------------------------------------------------------------- */

void code_walk__mark_no_way(struct code_flow *flow, uint32_t node)
{
	struct code_insn *insn = code_walk__insn(flow, flow->nodes.items[node].insn);

	if (flow->mode <= MODE_SEED && !(insn->flags & CODE_NO_WAY)) {
		insn->flags |= CODE_NO_WAY;
		flow->learned = true;
	}
}

struct code_seed *code_walk__seed_at(const struct code_flow *flow, const struct code_insn *insn)
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
static bool enter_function(struct code_flow *flow, const struct code_edge *edge,
			   const struct code_state *state, struct code_seed *seed)
{
	if (edge->behind_call) {
		code_walk__mark_no_way(flow, edge->from);
		return false;
	}
	if (code_state__is_entry(state)) {
		/* What cannot be is often a branch to the end of a function, and that is another.
		 */
		flow->proven |= seed->trust > SEED_TAKEN && !edge->is_branch;
		flow->nodes.items[edge->from].good = true;
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
static void leave_text(struct code_flow *flow, const struct code_edge *edge,
		       const struct code_state *state)
{
	bool is_foreign = code_text__is_foreign(flow->text, edge->to);

	if (edge->behind_call) {
		code_walk__mark_no_way(flow, edge->from);
	} else if (is_foreign) {
		flow->returns = true;
		if (code_state__is_entry(state)) {
			flow->nodes.items[edge->from].good = true;
			flow->proven |= !edge->is_branch;
		}
	} else {
		flow->failed = true;
	}
}

/* Where rows are kept already, a function that is only tried must fit. */
static bool meet_kept(struct code_flow *flow, const struct code_edge *edge, uint32_t insn_idx,
		      const struct code_state *state)
{
	struct unwind_row kept = flow->rows.items[insn_idx], row = code_state__row(state);

	if (flow->mode != MODE_TRY || kept.pc == ROW_UNSEEN)
		return false;
	if (kept.pc != ROW_KEPT || kept.rule != row.rule || kept.fp != row.fp ||
	    kept.cfa != row.cfa)
		flow->failed = true;
	flow->proven |= !edge->is_branch;
	flow->returns = true;
	flow->nodes.items[edge->from].good = true;
	return true;
}

static void note_step(struct code_flow *flow, uint32_t from, uint32_t to)
{
	struct code_step step = {from, to};

	if (array_push(&flow->steps, step))
		flow->err = -ENOMEM;
}

static void meet_node(struct code_flow *flow, const struct code_edge *edge,
		      const struct code_state *state, uint32_t idx)
{
	struct code_node *node = &flow->nodes.items[idx];
	struct code_undo undo = {idx, node->state};

	if (code_state__contradicts(&node->state, state)) {
		if (edge->behind_call) {
			if (flow->mode == MODE_SEED)
				code_walk__mark_no_way(flow, edge->from);
			return;
		}
		if (flow->mode > MODE_SEED) {
			flow->failed = true;
			return;
		}
		if (node->call && flow->mode == MODE_SEED) {
			code_walk__mark_no_way(flow, node->call - 1);
			flow->restart = true;
			return;
		}
		node->disputed = flow->disputed = true;
	} else if (flow->mode == MODE_CASES && idx < flow->sure_cnt &&
		   code_state__confirms(&node->state, state)) {
		flow->proven = true;
	}
	note_step(flow, edge->from, idx);
	if (!edge->behind_call)
		node->call = 0;
	if (!code_state__join(&node->state, state))
		return;
	if (flow->mode == MODE_CASES && array_push(&flow->undo, undo))
		flow->err = -ENOMEM;
	add_work(flow, idx);
}

static void add_next_node(struct code_flow *flow, const struct code_edge *edge, uint32_t insn_idx,
			  const struct code_state *state)
{
	code_walk__add_node(flow, insn_idx, edge, state);
	if (!flow->err)
		note_step(flow, edge->from, (uint32_t)flow->nodes.cnt - 1);
}

void code_walk__follow_edge(struct code_flow *flow, const struct code_edge *edge,
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
	seed = edge->to == flow->at ? NULL
				    : code_walk__seed_at(flow, code_walk__insn(flow, insn_idx));
	if (seed && !enter_function(flow, edge, state, seed))
		return;
	if (meet_kept(flow, edge, insn_idx, state))
		return;
	if (flow->node_of.items[insn_idx])
		meet_node(flow, edge, state, flow->node_of.items[insn_idx] - 1);
	else
		add_next_node(flow, edge, insn_idx, state);
}
