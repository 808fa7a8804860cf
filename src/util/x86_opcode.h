/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x86-64 instructions as the kernel's own decoder sees them, prefixes and opcode: which ones it
 * emulates when they are probed. A hit on such a one is one trap; any other is copied out of line
 * and stepped, which is a second trap and six to seven times the price (measured on 6.1, 6.12 and
 * 6.18).
 *
 * Emulated from 6.1 to 7.2 (arch/x86/kernel/uprobes.c, branch_setup_xol_ops and
 * push_setup_xol_ops): push of a 64-bit register, relative jmp, jcc and call without an
 * operand-size prefix, nop 90 and 66 90. Refused (uprobe_init_insn): the prefixes es cs ss ds lock,
 * loads of ss, and opcodes that are invalid or must not be stepped.
 */
#ifndef LEAKSWEEP_UTIL_X86_OPCODE_H
#define LEAKSWEEP_UTIL_X86_OPCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_X86_INSN 15 /* bytes (Intel SDM volume 2, 2.3.11) */

struct x86_opcode {
	bool opsize;	     /* 66 */
	bool repeat;	     /* f2 or f3 */
	bool other_prefix;   /* 64 65 67 */
	bool refused_prefix; /* 26 2e 36 3e f0 */
	bool vex;
	uint8_t rex;
	uint8_t op[2]; /* op[1] is the byte behind op[0]: second opcode byte or ModRM */
	size_t rest;   /* bytes behind op[0] */
};

/* `size` is the length of the instruction, as a decoder says; 0 = undecodable, all fields are 0. */
struct x86_opcode x86_opcode__split(const uint8_t *code, size_t size);

/* f3 0f 1e fa: capstone 4 knows it only in some releases. */
bool x86_opcode__is_endbr64(const uint8_t *code, size_t len);

/* Whether the kernel, or good sense, will not have a probe there. */
bool x86_opcode__is_refused(const struct x86_opcode *opcode);

bool x86_opcode__is_emulated(const struct x86_opcode *opcode);

/*
 * Whether the instruction can go to `off` + its length + displacement, where `off` is its own
 * place: direct jumps, jcc, calls, loop and xbegin.
 */
bool x86_opcode__branch_target(const uint8_t *code, size_t size, uint64_t off, int64_t *ret_target);

#endif
