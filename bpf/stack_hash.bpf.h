/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stack's identity: two independent 64-bit hashes of its frames and its end. Pure; user space
 * uses it too. */
#ifndef LEAKSWEEP_STACK_HASH_BPF_H
#define LEAKSWEEP_STACK_HASH_BPF_H

#include <linux/types.h>

struct stack_hash {
	__u64 id, check;
};

static inline __attribute__((always_inline)) struct stack_hash stack_hash_begin(__u64 seed)
{
	return (struct stack_hash){.id = seed, .check = ~seed};
}

static inline __attribute__((always_inline)) void stack_hash_add(struct stack_hash *hash, __u64 pc)
{
	hash->id = (hash->id ^ pc) * 0x9e3779b97f4a7c15ULL;
	hash->id ^= hash->id >> 32;
	hash->check = (hash->check + pc) * 0xd6e8feb86659fd93ULL;
	hash->check ^= hash->check >> 29;
}

/* Equal frames with different ends are different stacks. An id is never 0. */
static inline __attribute__((always_inline)) void stack_hash_end(struct stack_hash *hash, __u32 end)
{
	hash->check += end;
	hash->id ^= (__u64)end << 56;
	if (!hash->id)
		hash->id = 1;
}

#endif
