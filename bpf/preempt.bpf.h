/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Since Linux 7.0 a task can be preempted in a raw tracepoint's program, and while it is, the
 * kernel leaves out every other run of the same program on that CPU: who then forks, execs or exits
 * there is not seen. So programs of which no run may be missed are not to be preempted. What is
 * left are the moments before they begin, which the kernel counts (recursion_misses of struct
 * bpf_prog_info).
 */
#ifndef LEAKSWEEP_PREEMPT_BPF_H
#define LEAKSWEEP_PREEMPT_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

/* Not before: there tracepoints are not preemptible, and the kernel functions are not there up to
 * 6.9, and from 6.10 on do not allow what these programs call. */
#define PREEMPT_KERNEL (7 << 16)

extern int LINUX_KERNEL_VERSION __kconfig;
extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;

static __always_inline void preempt_off(void)
{
	if (LINUX_KERNEL_VERSION >= PREEMPT_KERNEL)
		bpf_preempt_disable();
}

static __always_inline void preempt_on(void)
{
	if (LINUX_KERNEL_VERSION >= PREEMPT_KERNEL)
		bpf_preempt_enable();
}

/* Defines a raw tracepoint's program that is not preempted: its body returns nothing. */
#define UNPREEMPTED(name, section)                                                                 \
	static __always_inline void name##_body(struct bpf_raw_tracepoint_args *ctx);              \
	SEC(section)                                                                               \
	int name(struct bpf_raw_tracepoint_args *ctx)                                              \
	{                                                                                          \
		preempt_off();                                                                     \
		name##_body(ctx);                                                                  \
		preempt_on();                                                                      \
		return 0;                                                                          \
	}                                                                                          \
	static __always_inline void name##_body(struct bpf_raw_tracepoint_args *ctx)

#endif
