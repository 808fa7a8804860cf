/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Picks the instruction of a function's first block where an entry probe is cheapest and still sees
 * the arguments, the stack pointer and the return address as the caller left them.
 */
#ifndef LEAKSWEEP_DISCOVER_PLACEMENT_H
#define LEAKSWEEP_DISCOVER_PLACEMENT_H

#include <stddef.h>
#include <stdint.h>

#include "discover/elf_allocs.h"

struct placement {
	uint32_t off; /* bytes from the function's entry */
	enum probe_cost cost;
	char insn[32];
	const char *why; /* static sentence */
};

/*
 * `code` holds the function's `len` bytes as they stand in memory; `arg_cnt` integer arguments must
 * be intact at the chosen place. Decodes from the entry; steps over instructions that leave the
 * argument registers and the stack pointer alone; takes the first that the kernel emulates within
 * 64 bytes, unless a branch of the function targets a byte after the entry up to and including it;
 * otherwise the entry itself. Returns 0, or -ENOTSUP when not even the entry can be probed
 * (undecodable, or an instruction that the kernel refuses). *ret untouched on failure.
 */
int placement__choose(const uint8_t *code, size_t len, unsigned int arg_cnt, struct placement *ret);

#endif
