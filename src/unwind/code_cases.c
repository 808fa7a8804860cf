/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/code_walk.h"

#define MAX_CASE_PASSES 4 /* what is found behind makes more lie between */

/* Finds out what the code around the indirect jump is, and what of it belongs to the function. */
static void find_cases_range(struct code_flow *flow)
{
	const struct code_seeds *seeds = flow->seeds;
	size_t next = code_seeds__lower(seeds, flow->jump_at + 1), before = next;
	uint32_t start = 0;

	while (next < seeds->list.cnt && seeds->list.items[next].trust == SEED_REVOKED &&
	       code_walk__step(flow))
		next++;
	while (before && seeds->list.items[before - 1].trust == SEED_REVOKED &&
	       code_walk__step(flow))
		before--;
	if (before)
		start = seeds->list.items[before - 1].at;
	flow->end = next < seeds->list.cnt ? seeds->list.items[next].at : UINT32_MAX;
	flow->first = flow->last = flow->jump_at;
	for (size_t i = 0; i < flow->nodes.cnt; i++) {
		uint32_t at = code_walk__insn(flow, flow->nodes.items[i].insn)->at;

		if (at >= start && at < flow->first)
			flow->first = at;
		if (at > flow->last && at < flow->end)
			flow->last = at;
	}
}

/* Takes back what came of a case that was none. */
static void undo_case(struct code_flow *flow, size_t keep)
{
	while (flow->undo.cnt) {
		struct code_undo *undo = &flow->undo.items[--flow->undo.cnt];

		flow->nodes.items[undo->node].state = undo->state;
	}
	code_walk__drop_nodes(flow, keep);
}

/* Returns whether the instruction was one of the function's. */
static bool follow_case(struct code_flow *flow, uint32_t insn_idx, bool is_within)
{
	size_t keep = flow->nodes.cnt;
	size_t step_cnt = flow->steps.cnt;
	uint32_t last = flow->last;

	flow->undo.cnt = 0;
	flow->sure_cnt = keep;
	flow->failed = flow->proven = false;
	code_walk__add_node(flow, insn_idx, NULL, &flow->at_jump);
	code_walk__run(flow);
	if (flow->err || (!flow->failed && (flow->proven || is_within)))
		return true;
	undo_case(flow, keep);
	flow->last = last;
	flow->steps.cnt = step_cnt;
	return false;
}

/* Whether nothing is known to lead to the instruction, not even what comes before it. */
static bool may_be_case(struct code_flow *flow, uint32_t idx)
{
	const struct code_insn *insn = code_walk__insn(flow, idx), *before;

	if (flow->node_of.items[idx] || insn->op == CODE_NOP || insn->op == CODE_STOP)
		return false;
	before = idx ? code_walk__insn(flow, idx - 1) : NULL;
	return !before || before->at + before->len != insn->at || before->op == CODE_NOP ||
	       flow->node_of.items[idx - 1] || !code_insn__goes_on(before);
}

/*
 * Goes once over the function's code. What lies between its parts is the function's, too; what lies
 * behind them must come to a good end. Returns whether something was found; sets *proven if
 * something came to a good end.
 */
static bool look_for_cases(struct code_flow *flow, bool *proven)
{
	uint32_t idx = code_text__lower(flow->text, flow->first);
	bool found = false;

	for (; idx < flow->text->sweep_cnt && code_walk__step(flow); idx++) {
		uint32_t at = code_walk__insn(flow, idx)->at;

		if (at >= flow->end)
			break;
		if (!may_be_case(flow, idx))
			continue;
		if (follow_case(flow, idx, at < flow->last)) {
			found = true;
			*proven |= flow->proven;
		} else if (flow->failed && at > flow->last) {
			break;
		}
	}
	return found;
}

/*
 * What an indirect jump leads to is in tables that are hard to bound. All of a function's cases
 * begin with the state of its jump, and they lie before the next function.
 */
void code_cases__follow(struct code_flow *flow)
{
	bool proven = flow->proven;

	if (!flow->has_jump || flow->jumps_differ ||
	    code_state__row(&flow->at_jump).rule == UNWIND_RULE_NONE)
		return;
	/* It may as well be a tail call, and what follows the pieces of another function. */
	flow->is_taken = code_state__is_entry(&flow->at_jump);
	flow->mode = MODE_CASES;
	find_cases_range(flow);
	for (unsigned int i = 0; i < MAX_CASE_PASSES && !flow->err; i++)
		if (!look_for_cases(flow, &proven))
			break;
	flow->failed = false;
	flow->proven = proven;
}
