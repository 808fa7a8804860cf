/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Capstone's names of x86-64 registers, as the general registers that they are all or a part of,
 * and which operands an instruction writes.
 */
#ifndef LEAKSWEEP_UTIL_X86_REG_H
#define LEAKSWEEP_UTIL_X86_REG_H

#include <capstone/capstone.h>
#include <stdbool.h>

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

/*
 * Whether an instruction (X86_INS_...) is known to change no operand and no general register; false
 * says nothing.
 */
bool x86_insn__changes_nothing(unsigned int id);

/*
 * Whether an instruction, decoded with details, may write its operand `i` (below op_count).
 * Registers that it writes without naming them are in insn->detail->regs_write.
 */
bool x86_insn__may_write(const cs_insn *insn, unsigned int i);

#endif
