/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stacks of user code: walked by unwind tables, kept once by content. */
#ifndef LEAKSWEEP_STACK_BPF_H
#define LEAKSWEEP_STACK_BPF_H

#include "maps.bpf.h"

/*
 * Takes the stack of user code that is at `pc` with stack and frame pointer `sp` and `fp`. `at_pc`:
 * the instruction there comes next; else pc is a return address, or lies behind a system call.
 * Returns the stack's id or STACK_LOST.
 */
__u64 stack_capture(struct thread *thread, __u64 pc, __u64 sp, __u64 fp, bool at_pc);

/*
 * The same from where the current thread has entered the kernel: by a system call or, `at_pc`, by a
 * fault. Word by word: a struct pt_regs below stack_capture() is more stack than Linux 6.1 allows.
 */
static __always_inline __u64 stack_capture_entry(struct thread *thread, bool at_pc)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u64 pc, sp, fp;

	if (bpf_probe_read_kernel(&pc, sizeof(pc), &PT_REGS_IP(regs)) ||
	    bpf_probe_read_kernel(&sp, sizeof(sp), &PT_REGS_SP(regs)) ||
	    bpf_probe_read_kernel(&fp, sizeof(fp), &PT_REGS_FP(regs)))
		return STACK_LOST;
	return stack_capture(thread, pc, sp, fp, at_pc);
}

/* Must be called before code that has appeared in the thread's space can run. */
static __always_inline void code_has_changed(struct thread *thread)
{
	__sync_fetch_and_add(&code_epochs[thread->space & (CODE_EPOCHS - 1)], 1);
}

#endif
