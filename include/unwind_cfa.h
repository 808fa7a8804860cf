/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arithmetic of one step, from a frame to its caller's, by the rules of include/unwind.h. Pure:
 * it says which words of the stack it takes; the kernel side reads them from the live stack,
 * src/unwind/walk.c from a copy. All sums wrap around: what is on a stack may be anything.
 *
 * The order: unwind_find_cfa(), read the CFA if it is indirect, unwind_find_caller(), read the
 * caller's return address and, if it was saved, its frame pointer.
 */
#ifndef LEAKSWEEP_UNWIND_CFA_H
#define LEAKSWEEP_UNWIND_CFA_H

#include <linux/types.h>
#ifndef __bpf__ /* vmlinux.h has its own */
#include <stdbool.h>
#endif

#include "include/maps.h"
#include "include/unwind.h"

/*
 * The kernel's signal frame of x86-64, counted from the stack pointer that the handler returns with
 * (struct rt_sigframe behind its return address, arch/x86/include/asm/sigframe.h): where the
 * machine context begins (struct ucontext, include/uapi/asm-generic/ucontext.h), in bytes, and
 * places of words in it (struct sigcontext_64, arch/x86/include/uapi/asm/sigcontext.h). No other
 * architecture has tables.
 */
#define SIGNAL_CONTEXT 40
#define CONTEXT_FP 10
#define CONTEXT_SP 15
#define CONTEXT_PC 16

/* What is known in a frame. */
struct unwind_regs {
	__u64 pc; /* the return address into it, or where a signal interrupted it */
	__u64 sp, fp;
	__u64 context; /* the machine context's address, if a signal interrupted it, or 0 */
	bool fp_lost;  /* fp is not the frame's */
};

/* The canonical frame address: value + add. */
struct unwind_cfa {
	__u64 value; /* indirect: the address of the word to put here */
	__s64 add;   /* bytes */
	bool indirect;
};

/* The caller's frame; its stack pointer is the CFA. */
struct unwind_caller {
	__u64 pc_at;   /* the address of its return address */
	__u64 fp;      /* fp_saved: the address of the word to put here */
	bool fp_saved; /* to memory */
	bool fp_lost;
};

/* Returns the address of a machine context's word. */
static inline __u64 unwind_context_word(__u64 context, __u8 word)
{
	return context + 8 * (__u64)word;
}

/*
 * Finds the CFA of a frame by the row of its code. Returns 0; UNWIND_BROKEN when the row counts
 * from a frame pointer that is lost; UNWIND_ODD_RULE for the rules that make no CFA, and where a
 * register is wanted that only a signal would have kept.
 */
static inline int unwind_find_cfa(const struct unwind_row *row, const struct unwind_regs *regs,
				  struct unwind_cfa *ret)
{
	__s32 cfa = row->cfa;

	switch (row->rule) {
	case UNWIND_RULE_SP:
		*ret = (struct unwind_cfa){.value = regs->sp, .add = cfa};
		return 0;
	case UNWIND_RULE_FP:
		if (regs->fp_lost)
			return UNWIND_BROKEN;
		*ret = (struct unwind_cfa){.value = regs->fp, .add = cfa};
		return 0;
	case UNWIND_RULE_PLT:
		*ret = (struct unwind_cfa){
			.value = regs->sp,
			.add = (regs->pc & 15) >= (__u32)cfa ? 16 : 8,
		};
		return 0;
	case UNWIND_RULE_SP_DEREF:
	case UNWIND_RULE_FP_DEREF:
		if (row->rule == UNWIND_RULE_FP_DEREF && regs->fp_lost)
			return UNWIND_BROKEN;
		*ret = (struct unwind_cfa){
			.value = (row->rule == UNWIND_RULE_SP_DEREF ? regs->sp : regs->fp) +
				 (__s64)(__s16)cfa,
			.add = cfa >> 16,
			.indirect = true,
		};
		return 0;
	case UNWIND_RULE_REG:
		if (!regs->context)
			return UNWIND_ODD_RULE;
		*ret = (struct unwind_cfa){
			.value = unwind_context_word(regs->context, (__u8)cfa),
			.add = cfa >> 8,
			.indirect = true,
		};
		return 0;
	default:
		return UNWIND_ODD_RULE;
	}
}

/*
 * Finds the caller's frame by the row of a frame's code and by its CFA. Returns 0, or UNWIND_BROKEN
 * for a CFA that is not above the frame's stack pointer.
 */
static inline int unwind_find_caller(const struct unwind_row *row, const struct unwind_regs *regs,
				     __u64 cfa, struct unwind_caller *ret)
{
	__u64 fp_base = row->rule == UNWIND_RULE_FP_DEREF ? regs->fp : cfa;

	if (cfa <= regs->sp)
		return UNWIND_BROKEN;
	ret->pc_at = cfa - 8;
	ret->fp = regs->fp;
	ret->fp_saved = false;
	ret->fp_lost = row->fp == UNWIND_FP_LOST;
	if (row->fp == UNWIND_FP_SAME) {
		ret->fp_lost = regs->fp_lost;
	} else if (row->fp != UNWIND_FP_LOST) {
		ret->fp = fp_base + 8 * (__s64)row->fp;
		ret->fp_saved = true;
	}
	return 0;
}

#endif
