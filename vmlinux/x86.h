/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What only x86-64 has of vmlinux.h; struct pt_regs is that of <asm/ptrace.h>. */
struct thread_struct {
	unsigned long fsbase; /* of user code: its thread pointer */
};
