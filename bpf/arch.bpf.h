/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What differs between architectures on the kernel side alone; include/arch.h has what both sides
 * know. */
#ifndef LEAKSWEEP_ARCH_BPF_H
#define LEAKSWEEP_ARCH_BPF_H

#include "include/arch.h"
#include "maps.bpf.h"

/* A barrier keeps clang from merging the loads into one at a computed address, which ctx does not
 * allow. */
#define REG_CASE(n, reg)                                                                           \
	case n:                                                                                    \
		value = reg;                                                                       \
		asm volatile("" : "+r"(value));                                                    \
		return value

/* ---- x86-64 ---- */
#if defined(__TARGET_ARCH_x86)

#define RETURN_SP_SHIFT 8 /* `call` pushes the return address, `ret` has popped it */
#define NR_MMAP 9
#define NR_MPROTECT 10
#define NR_MUNMAP 11
#define NR_BRK 12
#define NR_MREMAP 25
#define NR_PKEY_MPROTECT 329
#define NR_MADVISE 28
#define NR_MLOCK 149
#define NR_MLOCKALL 151
#define NR_MLOCK2 325

/* Returns the system call that the current thread is in, negative = none. */
static __always_inline int syscall_running(void)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u64 nr = -1;

	bpf_probe_read_kernel(&nr, sizeof(nr), &regs->orig_rax);
	return nr;
}

/* Returns one of the first three arguments of that call, `n` counted from 1. */
static __always_inline __u64 syscall_arg(unsigned int n)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value),
			      n == 1   ? &regs->rdi
			      : n == 2 ? &regs->rsi
				       : &regs->rdx);
	return value;
}

/* Returns the address the function being entered will return to. */
static __always_inline __u64 function_ret_pc(struct pt_regs *ctx)
{
	__u64 pc = 0;

	bpf_probe_read_user(&pc, sizeof(pc), (void *)PT_REGS_SP(ctx));
	return pc;
}

/* Returns the register that calls put their return address in, as it was when the current thread
 * entered the kernel; 0 = calls use the stack. */
static __always_inline __u64 link_register(void)
{
	return 0;
}

/* Returns the current thread's pointer to its own storage in user space. */
static __always_inline __u64 thread_pointer(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, thread.fsbase);
}

/* Returns a register by its number in machine code. */
static __always_inline __u64 register_of(struct pt_regs *ctx, unsigned int reg)
{
	__u64 value = 0;

	switch (reg) {
		REG_CASE(0, ctx->rax);
		REG_CASE(1, ctx->rcx);
		REG_CASE(2, ctx->rdx);
		REG_CASE(3, ctx->rbx);
		REG_CASE(4, ctx->rsp);
		REG_CASE(5, ctx->rbp);
		REG_CASE(6, ctx->rsi);
		REG_CASE(7, ctx->rdi);
		REG_CASE(8, ctx->r8);
		REG_CASE(9, ctx->r9);
		REG_CASE(10, ctx->r10);
		REG_CASE(11, ctx->r11);
		REG_CASE(12, ctx->r12);
		REG_CASE(13, ctx->r13);
		REG_CASE(14, ctx->r14);
		REG_CASE(15, ctx->r15);
	}
	return value;
}

/* Whether the code before a return address is a call: frame pointers alone may lead anywhere. */
static __always_inline bool is_behind_call(__u64 pc)
{
	__u8 code[8];

	if (bpf_probe_read_user(code, 7, (void *)(pc - 7)))
		return false;
	return code[2] == 0xe8 ||				/* call rel32 */
	       (code[5] == 0xff && (code[6] & 0x38) == 0x10) || /* call *reg, *(reg) */
	       (code[4] == 0xff && (code[5] & 0x38) == 0x10) || /* call *disp8(reg) */
	       (code[3] == 0xff && (code[4] & 0x38) == 0x10) || /* call *disp8(reg,reg) */
	       (code[1] == 0xff && (code[2] & 0x38) == 0x10) || /* call *disp32(reg), (%rip) */
	       (code[0] == 0xff && (code[1] & 0x38) == 0x10);	/* call *disp32(reg,reg) */
}

/* ---- arm64 ---- */
#elif defined(__TARGET_ARCH_arm64)

#define RETURN_SP_SHIFT 0
#define NR_BRK 214
#define NR_MUNMAP 215
#define NR_MREMAP 216
#define NR_MMAP 222
#define NR_MPROTECT 226
#define NR_PKEY_MPROTECT 288
#define NR_MLOCK 228
#define NR_MLOCKALL 230
#define NR_MADVISE 233
#define NR_MLOCK2 284

/* arch/arm64/include/asm/ptrace.h */
struct pt_regs___syscall {
	__u64 orig_x0;
	int syscallno;
} __attribute__((preserve_access_index));

static __always_inline int syscall_running(void)
{
	struct pt_regs___syscall *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());

	return BPF_CORE_READ(regs, syscallno);
}

static __always_inline __u64 syscall_arg(unsigned int n)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u64 value = 0;

	if (n == 1)
		return BPF_CORE_READ((struct pt_regs___syscall *)regs, orig_x0);
	bpf_probe_read_kernel(&value, sizeof(value), &regs->user_regs.regs[n == 2 ? 1 : 2]);
	return value;
}

static __always_inline __u64 function_ret_pc(struct pt_regs *ctx)
{
	return PT_REGS_RET(ctx);
}

static __always_inline __u64 link_register(void)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), &PT_REGS_RET(regs));
	return value;
}

static __always_inline __u64 thread_pointer(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, thread.uw.tp_value);
}

/* Asked for where an object's block is when it is made: no such places are known on arm64. */
static __always_inline __u64 register_of(struct pt_regs *ctx, unsigned int reg)
{
	return 0;
}

static __always_inline bool is_behind_call(__u64 pc)
{
	__u32 code[2];

	if (bpf_probe_read_user(code, sizeof(code), (void *)(pc - sizeof(code[0]))))
		return false;
	return (code[0] & 0xfc000000) == 0x94000000 || /* bl */
	       (code[0] & 0xfffffc1f) == 0xd63f0000 || /* blr */
	       (code[0] & 0xfefff800) == 0xd63f0800 || /* blraa, blrab, blraaz, blrabz */
	       code[1] == 0xd2801168; /* mov x8, #139: the vDSO's end of signal handlers */
}

#endif

#define ARG_CASE(n) REG_CASE(n, PT_REGS_PARM##n(ctx))

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

#endif
