/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/code_flow.h"

#include <errno.h>

#include "unwind/code_state.h"
#include "unwind/code_walk.h"

#define MAX_RESTARTS 64	  /* of one function */
#define STEPS_PER_INSN 24 /* in all; compilers' code takes 3 to 10 */
#define MIN_STEPS (1U << 20)

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
	array_free(&flow->tail_calls);
	array_free(&flow->node_of);
	array_free(&flow->rows);
	array_free(&flow->nodes);
	array_free(&flow->work);
	array_free(&flow->calls);
	array_free(&flow->undo);
	array_free(&flow->steps);
	free(flow);
}

/* ---- functions ------------------------------------------------------------------------------- */

/* Follows the function at a seed, from anew whenever a call turned out not to come back. */
static int follow_seed(struct code_flow *flow, const struct code_seed *seed, enum code_mode mode)
{
	uint32_t insn_idx = code_text__find(flow->text, seed->at);
	struct code_state entry = code_state__entry(seed->is_entry ? CALLER_NONE : CALLER_KNOWN);

	flow->mode = mode;
	flow->is_taken = seed->trust == SEED_TAKEN;
	flow->blamed = false;
	for (unsigned int i = 0; i <= MAX_RESTARTS && !flow->err; i++) {
		code_walk__begin(flow, insn_idx, &entry);
		code_walk__run(flow);
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
	/* Labels for computed jumps look like this. */
	if (!certain && seed->trust == SEED_TAKEN &&
	    (flow->failed || (flow->has_jump && !flow->proven))) {
		seed->trust = SEED_REVOKED;
		flow->learned = true;
	}
	return 0;
}

int code_flow__end_pass(struct code_flow *flow, bool *ret_learned)
{
	bool added;
	int err;

	err = code_seeds__add(flow->seeds, flow->text, flow->tail_calls.items, flow->tail_calls.cnt,
			      &added);
	flow->tail_calls.cnt = 0;
	if (err)
		return err;
	*ret_learned = flow->learned || added;
	flow->learned = false;
	return 0;
}

static void keep_row(struct code_flow *flow, const struct code_node *node)
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

/* Finds the nodes from which a way leads to a good end without passing a place that is disputed. */
static void find_good_nodes(struct code_flow *flow)
{
	struct code_node *nodes = flow->nodes.items;
	bool changed = true;

	while (changed && !flow->err) {
		changed = false;
		/* They were added on the way from the entry, so this goes against most of them. */
		for (size_t i = flow->steps.cnt; i > 0 && code_walk__step(flow); i--) {
			struct code_step step = flow->steps.items[i - 1];

			if (nodes[step.from].good || !nodes[step.to].good ||
			    nodes[step.to].disputed)
				continue;
			nodes[step.from].good = true;
			changed = true;
		}
	}
}

/*
 * Where ways contradict each other at least one of them is wrong, and so is all that it came by.
 * Only what a frame pointer says, and what must be so because it ends well, is kept then.
 */
static void keep_rows(struct code_flow *flow)
{
	if (flow->disputed)
		find_good_nodes(flow);
	for (size_t i = 0; i < flow->nodes.cnt && !flow->err; i++) {
		const struct code_node *node = &flow->nodes.items[i];

		if (!flow->disputed || node->good ||
		    code_state__row(&node->state).rule != UNWIND_RULE_SP)
			keep_row(flow, node);
	}
}

int code_flow__keep(struct code_flow *flow, size_t seed_idx)
{
	struct code_seed *seed = &flow->seeds->list.items[seed_idx];

	if (seed->trust == SEED_REVOKED || follow_seed(flow, seed, MODE_SEED) || flow->failed)
		return flow->err;
	code_cases__follow(flow);
	if (!flow->err)
		keep_rows(flow);
	return flow->err;
}

int code_flow__try(struct code_flow *flow, uint32_t insn_idx)
{
	struct code_state entry = code_state__entry(CALLER_KNOWN);

	flow->mode = MODE_TRY;
	flow->is_taken = true;
	code_walk__begin(flow, insn_idx, &entry);
	code_walk__run(flow);
	if (flow->err || flow->failed)
		return flow->err;
	/* Without a frame, what comes to a good end behind a jump may be any other function. */
	if (!flow->proven && (!flow->has_jump || code_state__is_entry(&flow->at_jump)))
		return 0;
	code_cases__follow(flow);
	if (!flow->err && flow->proven)
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
