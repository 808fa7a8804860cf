/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long an x86-64 instruction is and what it looks like, without what it does (Intel SDM
 * volume 2, chapter 2 and appendix A): a whole interpreter is swept with it, which takes
 * capstone nine times as long.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_INSN_H
#define LEAKSWEEP_PYTHON_SITE_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/x86_opcode.h"

enum site_map {
	SITE_MAP_ONE = 0,   /* one-byte opcodes */
	SITE_MAP_0F = 1,    /* 0f xx */
	SITE_MAP_OTHER = 2, /* 0f 38, 0f 3a, VEX, EVEX, XOP */
};

struct site_insn {
	uint8_t len; /* bytes */
	uint8_t map; /* enum site_map */
	uint8_t op;  /* the last opcode byte */
	uint8_t rex; /* 0 = none */
	bool opsize; /* prefix 66 */
	uint8_t modrm;
	uint8_t modrm_at, disp_at, imm_at; /* where they are in the instruction, 0 = none */
	uint8_t disp_len, imm_len;	   /* bytes */
};

/* Returns false for what is no instruction, or does not end within `len` bytes. */
bool site_insn__decode(const uint8_t *code, size_t len, struct site_insn *ret);

/* How an instruction passes control on. */
enum site_control {
	SITE_NEXT,   /* to the next one */
	SITE_BRANCH, /* jcc, loop, jrcxz: there or to the next one */
	SITE_JUMP,   /* direct jmp */
	SITE_CALL,   /* direct call */
	SITE_CALL_INDIRECT,
	SITE_END, /* return, indirect jump, trap: it does not go on */
};

/*
 * `at` is the instruction's address; *ret_target is the address that it can go to for
 * SITE_BRANCH, SITE_JUMP and SITE_CALL, untouched for others.
 */
enum site_control site_insn__control(const struct site_insn *insn, const uint8_t *code, uint64_t at,
				     uint64_t *ret_target);

#endif
