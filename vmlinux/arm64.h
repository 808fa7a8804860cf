/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What only arm64 has of vmlinux.h. */
struct thread_struct {
	struct {
		unsigned long tp_value; /* of user code: its thread pointer */
	} uw;
};

/* The part of it that user space knows too (arch/arm64/include/uapi/asm/ptrace.h); it comes first. */
struct pt_regs {
	struct user_pt_regs user_regs;
};
