/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What differs between architectures, in one place. */
#ifndef LEAKSWEEP_ARCH_BPF_H
#define LEAKSWEEP_ARCH_BPF_H

#include "maps.bpf.h"

#if defined(__TARGET_ARCH_x86)
/* `call` pushes the return address, `ret` has popped it. */
#define RETURN_SP_SHIFT 8
#define NR_MMAP 9
#define NR_MPROTECT 10
#define NR_MUNMAP 11
#define NR_BRK 12
#define NR_MREMAP 25
#define NR_PKEY_MPROTECT 329
#elif defined(__TARGET_ARCH_arm64)
#define RETURN_SP_SHIFT 0
#define NR_MMAP 222
#define NR_MPROTECT 226
#define NR_MUNMAP 215
#define NR_BRK 214
#define NR_MREMAP 216
#define NR_PKEY_MPROTECT 288
#else
#error "unsupported architecture"
#endif

/* A barrier keeps clang from merging the loads into one at a computed address, which ctx does not
 * allow. */
#define ARG_CASE(n)                                                                                \
	case n:                                                                                    \
		value = PT_REGS_PARM##n(ctx);                                                      \
		asm volatile("" : "+r"(value));                                                    \
		return value

/* Returns integer argument `n`, counted from 1, of the function that is being entered. */
static __always_inline __u64 function_arg(struct pt_regs *ctx, unsigned int n)
{
	__u64 value;

	switch (n) {
		ARG_CASE(1);
		ARG_CASE(2);
		ARG_CASE(3);
		ARG_CASE(4);
		ARG_CASE(5);
	default:
		return 0;
	}
}

/* Returns the address the function being entered will return to. */
static __always_inline __u64 function_ret_pc(struct pt_regs *ctx)
{
#if defined(__TARGET_ARCH_x86)
	__u64 pc = 0;

	bpf_probe_read_user(&pc, sizeof(pc), (void *)PT_REGS_SP(ctx));
	return pc;
#else
	return PT_REGS_RET(ctx);
#endif
}

#endif
