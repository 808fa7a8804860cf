/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel side and the tool both know of an architecture's stacks beside the tables of
 * include/unwind.h. The tool is built for the machine whose programs it traces.
 */
#ifndef LEAKSWEEP_ARCH_H
#define LEAKSWEEP_ARCH_H

#include <linux/types.h>
#include <stdbool.h>

#if defined(__TARGET_ARCH_x86) || defined(__x86_64__)
#define ARCH_HAS_TABLES 1

/* Returns the address that a saved return address means. */
static inline __u64 return_address(__u64 saved)
{
	return saved;
}

/*
 * Whether a return that a probe has replaced (struct return_instance of the kernel, `stack`) is the
 * one that is saved at `slot`. Instances are asked newest first; `found` is the `stack` of the last
 * that was, or 0.
 */
static inline bool return_is_at(__u64 stack, __u64 slot, __u64 found)
{
	(void)found;
	return stack == slot;
}

#elif defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
#define ARCH_HAS_TABLES 0 /* stacks are chains of frame records (AAPCS64, 6.4.6): x29, x30 */
#define ARM64_VA_MASK ((1ULL << 48) - 1)

/* Above the address there may be an authentication code (paciasp): user space has bit 55 clear. */
static inline __u64 return_address(__u64 saved)
{
	return saved & ARM64_VA_MASK;
}

/* `stack` is the stack pointer at the call; the record lies in the frame below it. */
static inline bool return_is_at(__u64 stack, __u64 slot, __u64 found)
{
	return found ? stack == found : stack > slot;
}

#else
#error "unsupported architecture"
#endif

#endif
