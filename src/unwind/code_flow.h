/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Follows functions along every path from where they begin, with the state before each instruction.
 * A return must find the stack and the frame pointer as the entry had them; a function where one
 * does not, or that does what the ABI forbids, is left out as a whole. Where paths meet with
 * different states, what they do not agree on is unknown.
 *
 * Whether a call comes back is learned: one behind which code lies that other paths enter with
 * another state, or another function, or nothing, does not; and so a function that only ends in
 * such calls does not return itself.
 */
#ifndef LEAKSWEEP_UNWIND_CODE_FLOW_H
#define LEAKSWEEP_UNWIND_CODE_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "include/unwind.h"
#include "unwind/code_seeds.h"
#include "unwind/code_text.h"

struct code_flow;

/* Both are borrowed, and changed, until code_flow__free. Returns NULL when out of memory. */
struct code_flow *code_flow__new(struct code_text *text, struct code_seeds *seeds);
void code_flow__free(struct code_flow *flow);

/*
 * Follows the function of a seed to see which calls come back and which seeds are none. What is
 * `certain` should be known of all functions before guesses are made. Returns 0, -ENOMEM, or -ETIME
 * (the code is too tangled; nothing should be made of it).
 */
int code_flow__learn(struct code_flow *flow, size_t seed_idx, bool certain);

/*
 * After all seeds: adds those that were found. *ret_learned tells whether something was learned, so
 * that another pass may learn more. Returns 0 or -ENOMEM.
 */
int code_flow__end_pass(struct code_flow *flow, bool *ret_learned);

/*
 * Follows the function of a seed and keeps its rows. Code up to the next function that nothing
 * leads to is taken for the cases of a switch when there is an indirect jump. Returns as
 * code_flow__learn.
 */
int code_flow__keep(struct code_flow *flow, size_t seed_idx);

/*
 * The same for an instruction that might begin a function: rows are kept only if that is proven by
 * a path that ends well.
 */
int code_flow__try(struct code_flow *flow, uint32_t insn_idx);

/*
 * Says what holds before an instruction; UNWIND_RULE_NONE if nothing is known, or if functions that
 * share the instruction disagree. *ret_seen is false if none was kept that has it.
 */
struct unwind_row code_flow__row(const struct code_flow *flow, uint32_t insn_idx, bool *ret_seen);

#endif
