/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/x86_reg.h"

#include <stdint.h>

enum gpr gpr_of(x86_reg reg)
{
	/* One more than the number: what is not listed is none. */
#define PART(name, full) [X86_REG_##name] = GPR_##full + 1
#define FAMILY(full, e, x, b) PART(full, full), PART(e, full), PART(x, full), PART(b, full)
#define FAMILY_N(n) FAMILY(R##n, R##n##D, R##n##W, R##n##B)
	static const uint8_t families[X86_REG_ENDING] = {
		FAMILY(RAX, EAX, AX, AL),
		PART(AH, RAX),
		FAMILY(RCX, ECX, CX, CL),
		PART(CH, RCX),
		FAMILY(RDX, EDX, DX, DL),
		PART(DH, RDX),
		FAMILY(RBX, EBX, BX, BL),
		PART(BH, RBX),
		FAMILY(RSP, ESP, SP, SPL),
		FAMILY(RBP, EBP, BP, BPL),
		FAMILY(RSI, ESI, SI, SIL),
		FAMILY(RDI, EDI, DI, DIL),
		FAMILY_N(8),
		FAMILY_N(9),
		FAMILY_N(10),
		FAMILY_N(11),
		FAMILY_N(12),
		FAMILY_N(13),
		FAMILY_N(14),
		FAMILY_N(15),
	};
#undef FAMILY_N
#undef FAMILY
#undef PART
	uint8_t found = (unsigned int)reg < X86_REG_ENDING ? families[reg] : 0;

	return found ? (enum gpr)(found - 1) : GPR_NONE;
}

bool x86_insn__changes_nothing(unsigned int id)
{
	return id == X86_INS_CMP || id == X86_INS_TEST || id == X86_INS_BT || id == X86_INS_NOP;
}

/* Capstone does not say of every instruction what it does with its operands: then all count. */
bool x86_insn__may_write(const cs_insn *insn, unsigned int i)
{
	unsigned int id = insn->id;

	if (x86_insn__changes_nothing(id))
		return false;
	return i == 0 || insn->detail->x86.operands[i].access & CS_AC_WRITE || id == X86_INS_XCHG ||
	       id == X86_INS_XADD || id == X86_INS_CMPXCHG || id == X86_INS_MULX;
}
