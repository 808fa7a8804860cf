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

/*
 * Finds the rule at `pc` in thread->space and leaves it in walker->walk.row, and how a frame is told
 * whose return address is one byte behind `pc` in walker->walk.frame. Returns the rule, or one of
 * the above.
 */
int code_find_rule(struct thread *thread, struct walker *walker, __u64 pc);

#endif
