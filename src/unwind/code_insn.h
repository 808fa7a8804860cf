/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86-64 instructions, reduced to what they do to the stack, to frame pointers and to control. */
#ifndef LEAKSWEEP_UNWIND_CODE_INSN_H
#define LEAKSWEEP_UNWIND_CODE_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_CODE_INSN 15 /* bytes; the processor takes no longer ones */

/* General registers as instructions number them. */
enum code_reg {
	CODE_RAX,
	CODE_RCX,
	CODE_RDX,
	CODE_RBX,
	CODE_RSP,
	CODE_RBP,
	CODE_RSI,
	CODE_RDI,
	CODE_R8,
	CODE_R11 = 11,
	CODE_R12,
	CODE_R13,
	CODE_R14,
	CODE_R15,
	CODE_REG_CNT,
	CODE_NO_REG = 0xff,
};

enum code_op {
	CODE_PLAIN,   /* no general register changes */
	CODE_NOP,     /* padding */
	CODE_CLOBBER, /* the registers of the mask `imm` change in an unknown way */
	CODE_ADD,     /* reg = src + imm */
	CODE_ALIGN,   /* reg &= imm, a negated power of two */
	CODE_ZERO,    /* reg = 0 */
	CODE_ADDRESS, /* reg = the address of the byte `imm` behind the instruction's end */
	CODE_PUSH,    /* of src, which may be CODE_NO_REG */
	CODE_POP,     /* into reg, which may be CODE_NO_REG */
	CODE_STORE,   /* `size` bytes at [reg + imm] = src, which may be CODE_NO_REG */
	CODE_LOAD,    /* reg = 64-bit [src + imm] */
	CODE_LEAVE,
	CODE_COMPARE, /* reg with src */
	CODE_SYSCALL,
	CODE_CALL, /* `imm` bytes behind the instruction's end */
	CODE_CALL_INDIRECT,
	CODE_JUMP,	    /* as CODE_CALL */
	CODE_JUMP_INDIRECT, /* reg: a register, or CODE_NO_REG: through memory */
	CODE_BRANCH,	    /* as CODE_CALL, or goes on; reg is 1 for jne */
	CODE_RETURN,
	CODE_STOP, /* goes nowhere that is known */
};

enum code_insn_flag {
	CODE_START = 1,	  /* a function may begin here */
	CODE_NO_WAY = 2,  /* a call that does not come back */
	CODE_BY_SLOT = 4, /* an indirect call or jump through memory at code_insn__target */
	CODE_TARGET = 8,  /* some jump or branch leads here */
};

struct code_insn {
	uint32_t at; /* offset from the beginning of the code */
	int32_t imm;
	uint8_t len; /* bytes */
	uint8_t op;  /* enum code_op */
	uint8_t reg, src;
	uint8_t reads; /* callee-saved registers that it calculates with: code_reg__saved_bit */
	uint8_t flags; /* enum code_insn_flag; set by others */
	uint8_t size;  /* of a CODE_STORE, bytes */
};

/* The bit of a register in sets of callee-saved ones; 0 if its value does not outlive a call. */
static inline uint8_t code_reg__saved_bit(unsigned int reg)
{
	if (reg == CODE_RBX)
		return 1;
	if (reg == CODE_RBP)
		return 2;
	return reg >= CODE_R12 && reg <= CODE_R15 ? (uint8_t)(4U << (reg - CODE_R12)) : 0;
}

static inline bool code_insn__goes_on(const struct code_insn *insn)
{
	return insn->op != CODE_JUMP && insn->op != CODE_JUMP_INDIRECT && insn->op != CODE_RETURN &&
	       insn->op != CODE_STOP;
}

/*
 * What a CODE_CALL, CODE_JUMP, CODE_BRANCH, CODE_ADDRESS or CODE_BY_SLOT refers to, as an offset
 * like `at`.
 */
static inline int64_t code_insn__target(const struct code_insn *insn)
{
	return (int64_t)insn->at + insn->len + insn->imm;
}

struct insn_decoder;

/*
 * `base` is the address of the code's beginning; `fixed` says that the program runs at that
 * address, so constants may be addresses. Returns NULL when out of memory.
 */
struct insn_decoder *insn_decoder__new(uint64_t base, bool fixed);
void insn_decoder__free(struct insn_decoder *decoder);

/* Decodes the instruction at `bytes`, which lies at offset `at`. Returns false when there is none.
 */
bool insn_decoder__decode(struct insn_decoder *decoder, const uint8_t *bytes, size_t len,
			  uint32_t at, struct code_insn *ret);

#endif
