/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Capstone's names of x86-64 registers, as the general registers that they are all or a part of. */
#ifndef LEAKSWEEP_UTIL_X86_REG_H
#define LEAKSWEEP_UTIL_X86_REG_H

#include <capstone/capstone.h>

/*
 * General registers as instructions number them (Intel SDM volume 2, table 3-1, with REX as the
 * fourth bit).
 */
enum gpr {
	GPR_RAX,
	GPR_RCX,
	GPR_RDX,
	GPR_RBX,
	GPR_RSP,
	GPR_RBP,
	GPR_RSI,
	GPR_RDI,
	GPR_R8,
	GPR_R9,
	GPR_R10,
	GPR_R11,
	GPR_R12,
	GPR_R13,
	GPR_R14,
	GPR_R15,
	GPR_CNT,
	GPR_NONE = 0xff,
};

/*
 * The general register of any width's name: GPR_RAX for rax, eax, ax, al and ah. GPR_NONE for all
 * others, X86_REG_INVALID and values that capstone has no name for.
 */
enum gpr gpr_of(x86_reg reg);

#endif
