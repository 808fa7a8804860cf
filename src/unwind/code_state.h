/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known before an instruction: where the stack pointer and the caller's frame pointer are.
 */
#ifndef LEAKSWEEP_UNWIND_CODE_STATE_H
#define LEAKSWEEP_UNWIND_CODE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "include/unwind.h"
#include "unwind/code_insn.h"

enum value_kind {
	VALUE_OTHER,
	VALUE_FRAME,   /* the canonical frame address + off */
	VALUE_ALIGNED, /* the stack pointer when it was aligned last + off */
	VALUE_CALLER,  /* what register `off` held at the function's entry */
};

struct code_value {
	uint32_t kind; /* enum value_kind */
	int32_t off;
};

enum code_caller {
	CALLER_KNOWN = 0,
	CALLER_NONE = 1,    /* the first function of a thread */
	CALLER_UNKNOWN = 2, /* paths disagree */
};

struct code_state {
	struct code_value regs[CODE_REG_CNT];
	struct code_value saved_fp;  /* address at which the caller's frame pointer is */
	struct code_value saved_cfa; /* address of a copy of the canonical frame address ... */
	int32_t saved_cfa_off;	     /* ... + this */
	uint8_t caller;		     /* enum code_caller */
	uint8_t after_syscall;	     /* there was one on the way here */
	uint8_t compared;	     /* register that the stack pointer was just compared with */
	uint8_t saved;		     /* bits of registers whose caller's value was stored */
};

/* At a function's first instruction. */
struct code_state code_state__entry(enum code_caller caller);

/* Whether a function's caller would find all in place if a function began here. */
bool code_state__is_entry(const struct code_state *state);

/* Whether two states cannot both be right, and not just less be known in one. */
bool code_state__contradicts(const struct code_state *a, const struct code_state *b);

/* Whether two states say the same of the frame. */
bool code_state__confirms(const struct code_state *a, const struct code_state *b);

/* Keeps in `state` what `other` says, too. Returns whether something was given up. */
bool code_state__join(struct code_state *state, const struct code_state *other);

/*
 * Goes over an instruction that leads to the next one. Returns false if no function that keeps the
 * ABI can do it here.
 */
bool code_state__step(struct code_state *state, const struct code_insn *insn);

/* Adds what else is known if a CODE_BRANCH is not taken. Returns false if it surely is. */
bool code_state__not_taken(struct code_state *state, const struct code_insn *branch);

/* Says it as a row, UNWIND_RULE_NONE if it cannot be said. */
struct unwind_row code_state__row(const struct code_state *state);

#endif
