/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Following one function (code_flow.h): a node is an instruction with what is known before it, an
 * edge is a step from one to another. For the code_*.c of this folder only.
 */
#ifndef LEAKSWEEP_UNWIND_CODE_WALK_H
#define LEAKSWEEP_UNWIND_CODE_WALK_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "include/unwind.h"
#include "unwind/code_seeds.h"
#include "unwind/code_state.h"
#include "unwind/code_text.h"
#include "util/array.h"

enum row_status {
	ROW_UNSEEN,
	ROW_KEPT,
	ROW_DISPUTED,
};

/* An instruction of the function being followed. */
struct code_node {
	uint32_t insn;
	uint32_t call;	    /* 1 + node of the call that it was first reached behind, 0 = none */
	uint32_t last_call; /* the same, of the last call before it on that way */
	bool good;	    /* leads to where the state is known to be right */
	bool disputed;	    /* ways that contradict each other meet here */
	struct code_state state;
};

struct code_step {
	uint32_t from, to;
};

struct code_undo {
	uint32_t node;
	struct code_state state;
};

enum code_mode {
	MODE_CERTAIN,
	MODE_SEED,  /* as MODE_CERTAIN, now with guesses at which call does not come back */
	MODE_CASES, /* as MODE_SEED, now with what might be cases of a switch */
	MODE_TRY,
};

struct code_flow {
	struct code_text *text;
	struct code_seeds *seeds;
	uint64_t steps_left;
	bool learned;
	ARRAY(uint32_t) tail_calls;    /* offsets that functions without a frame jump to */
	ARRAY(uint32_t) node_of;       /* by instruction: 1 + node, 0 = not reached */
	ARRAY(struct unwind_row) rows; /* by instruction; .pc is enum row_status */

	/* the function */
	uint32_t at;
	enum code_mode mode;
	bool is_taken; /* only its address is known from somewhere */
	ARRAY(struct code_node) nodes;
	ARRAY(uint32_t) work, calls; /* nodes: to visit; to go on behind, when work is done */
	ARRAY(struct code_undo) undo;
	ARRAY(struct code_step) steps; /* from node to node */
	bool failed, restart, returns, proven, blamed, disputed;
	bool has_call;
	bool has_jump, jumps_differ; /* indirect ones */
	struct code_state at_jump;
	uint32_t jump_at;

	/* the code around an indirect jump, up to the next function */
	uint32_t end;
	uint32_t first, last; /* instructions in it that were reached */
	size_t sure_cnt;      /* nodes before the case that is being tried */
	int err;
};

struct code_edge {
	uint32_t from; /* node */
	int64_t to;
	bool behind_call; /* ... which is `from`, perhaps with padding between */
	bool is_branch;
};

static inline struct code_insn *code_walk__insn(const struct code_flow *flow, uint32_t insn_idx)
{
	return &flow->text->insns.items[insn_idx];
}

/* Makes a function of the instruction, with one node. What goes wrong is in flow->err. */
void code_walk__begin(struct code_flow *flow, uint32_t insn_idx, const struct code_state *state);

/*
 * Visits nodes until there is nothing new. The result is in flow->failed, ->restart, ->err,
 * ->returns,
 * ->proven, ->has_call, ->has_jump and the nodes.
 */
void code_walk__run(struct code_flow *flow);

/* Takes a step of work. Returns false, and sets flow->err, when it has become too much. */
static inline bool code_walk__step(struct code_flow *flow)
{
	if (!flow->steps_left)
		flow->err = -ETIME;
	else
		flow->steps_left--;
	return !flow->err;
}

/* Adds a node; `edge` is the one that led there, NULL = none. */
void code_walk__add_node(struct code_flow *flow, uint32_t insn, const struct code_edge *edge,
			 const struct code_state *state);

/* Removes all nodes but the first `keep`, and all work. */
void code_walk__drop_nodes(struct code_flow *flow, size_t keep);

/* Steps along an edge: to another node, or out of the function. */
void code_walk__follow_edge(struct code_flow *flow, const struct code_edge *edge,
			    const struct code_state *state);

/* Notes that the call at a node does not come back. */
void code_walk__mark_no_way(struct code_flow *flow, uint32_t node);

/* Returns the seed at an instruction, or NULL. */
struct code_seed *code_walk__seed_at(const struct code_flow *flow, const struct code_insn *insn);

/*
 * Adds to a function with an indirect jump what seem to be the cases of a switch. Code up to the
 * next function that nothing leads to is tried with the state of the jump.
 */
void code_cases__follow(struct code_flow *flow);

#endif
