/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stack.bpf.h"

/*
 * A probe on a function's return replaces the return address on the stack by its trampoline; the
 * kernel keeps the real one (struct return_instance, kernel/events/uprobes.c), newest first. A
 * function of its own for the verifier, which looks at it once and not once a frame.
 */
__noinline __u64 stack_real_pc(__u64 slot, __u64 pc)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct return_instance *instance = BPF_CORE_READ(task, utask, return_instances);
	__u64 real_pc = pc;

	/* Of several on one slot (tail calls) the oldest holds the address that was there first. */
	for (int i = 0; i < MAX_PENDING && instance; i++) {
		if (BPF_CORE_READ(instance, stack) == slot)
			real_pc = BPF_CORE_READ(instance, orig_ret_vaddr);
		instance = BPF_CORE_READ(instance, next);
	}
	return real_pc;
}
