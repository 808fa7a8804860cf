/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which rule unwinds a frame at an address. */
#ifndef LEAKSWEEP_CODE_BPF_H
#define LEAKSWEEP_CODE_BPF_H

#include "maps.bpf.h"

/* Beside enum unwind_rule. */
enum {
	CODE_NOWHERE = UNWIND_RULE_MAX, /* no code is mapped there */
	CODE_NO_TABLE,			/* code of a file whose table is not loaded */
};

/* Returns 0, CODE_NOWHERE (nothing executable there; *ret_found tells what else), or CODE_NO_TABLE
 * when the kernel's list of mappings is busy. */
int code_find_mapping(__u64 addr, struct found_code *ret_found);

/* Whether executable code is mapped at `addr`. */
bool is_code(__u64 addr);

/* The two places where the thread may know a rule for the address. */
static __always_inline struct known_rule *known_rules(struct thread *thread, __u64 pc)
{
	return &thread->rules[(pc * 0x9e3779b97f4a7c15ULL >> 56) & (KNOWN_RULES - 2)];
}

/* The slow path of code_find_rule(). */
int code_look_up(struct thread *thread, struct walker *walker, __u64 pc);

/*
 * Finds the rule at `pc` in thread->space and leaves it in walker->walk.row, and how a frame is
 * told whose return address is one byte behind `pc` in walker->walk.frame. Returns the rule, or one
 * of the above.
 */
static __always_inline int code_find_rule(struct thread *thread, struct walker *walker, __u64 pc)
{
	struct known_rule *known = known_rules(thread, pc);

	if (known->pc != pc)
		known++;
	if (known->pc != pc)
		return code_look_up(thread, walker, pc);
	walker->walk.row = known->row;
	walker->walk.frame = known->frame;
	return known->row.rule;
}

#endif
