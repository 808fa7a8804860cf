/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where in a function an entry probe costs least.
 *
 * A hit on an instruction that the kernel emulates is one trap; any other is copied out of line and
 * stepped, which is a second trap and six to seven times the price (measured on 6.1, 6.12
 * and 6.18). Functions seldom begin with an emulated instruction: free() of glibc 2.36 begins with
 * `test`, builds with CET begin with `endbr64`. So the walk steps over instructions that change
 * nothing a probe looks at, to the first emulated one, and uses it only if every call passes there
 * exactly once: the walk never passes a jump, and no branch of the function may land between the
 * entry and the chosen place.
 *
 * Which ones are emulated is told by util/x86_opcode.h; placement_arm64.c has the other machine's.
 */
#include "discover/placement.h"

#include <capstone/capstone.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "discover/placement_arm64.h"
#include "util/arch.h"
#include "util/x86_opcode.h"
#include "util/x86_reg.h"

/* How far behind the entry to look: free() of jemalloc 5.3 has its first jump at +48. */
#define MAX_STEP_BYTES 63

/*
 * Decodes the whole function in a line and returns a bit per byte of its first MAX_STEP_BYTES + 1:
 * set where a branch lands. Bytes that are no instruction are stepped over one by one, which finds
 * the line again.
 */
static uint64_t find_targets(csh handle, const uint8_t *code, size_t len)
{
	cs_insn *insn = cs_malloc(handle);
	uint64_t targets = 0;
	size_t off = 0;

	if (!insn)
		return UINT64_MAX;
	while (off < len) {
		const uint8_t *pos = code + off;
		size_t left = len - off;
		uint64_t address = off;
		int64_t target;

		if (x86_opcode__is_endbr64(pos, left)) {
			off += 4;
			continue;
		}
		if (!cs_disasm_iter(handle, &pos, &left, &address, insn)) {
			off++;
			continue;
		}
		if (x86_opcode__branch_target(code + off, insn->size, off, &target) &&
		    target >= 0 && target <= MAX_STEP_BYTES)
			targets |= 1ULL << target;
		off += insn->size;
	}
	cs_free(insn, 1);
	return targets;
}

/* ---- which instructions may be stepped over ------------------------------------------------- */

static bool is_vector(x86_reg reg)
{
	return (reg >= X86_REG_XMM0 && reg <= X86_REG_XMM31) ||
	       (reg >= X86_REG_YMM0 && reg <= X86_REG_YMM31) ||
	       (reg >= X86_REG_ZMM0 && reg <= X86_REG_ZMM31);
}

enum step {
	STEP_OVER,  /* nothing that a probe looks at changes */
	STEP_ARG,   /* an argument register does */
	STEP_STACK, /* the stack pointer or a register that the caller owns does */
	STEP_OTHER, /* control may leave, or too little is known */
};

static enum step step_into_register(x86_reg reg, unsigned int arg_cnt)
{
	/* The System V order of integer arguments. */
	static const uint8_t args[] = {GPR_RDI, GPR_RSI, GPR_RDX, GPR_RCX, GPR_R8, GPR_R9};
	enum gpr gpr = gpr_of(reg);

	if (gpr == GPR_NONE)
		return is_vector(reg) ? STEP_OVER : STEP_OTHER;
	/*
	 * rbp, too: frames are found by it. Compilers save these with a push, which ends the walk,
	 * first.
	 */
	if (gpr == GPR_RSP || gpr == GPR_RBP || gpr == GPR_RBX || gpr >= GPR_R12)
		return STEP_STACK;
	for (unsigned int i = 0; i < arg_cnt && i < sizeof(args); i++)
		if (gpr == args[i])
			return STEP_ARG;
	return STEP_OVER;
}

/* Instructions that write nothing but flags. */
static bool writes_no_operand(unsigned int id)
{
	return id == X86_INS_NOP || id == X86_INS_TEST || id == X86_INS_CMP || id == X86_INS_BT;
}

/* Instructions that write their first operand (and flags), and nothing else. */
static bool writes_first_operand(unsigned int id)
{
	static const uint16_t ids[] = {
		X86_INS_MOV,	X86_INS_MOVABS, X86_INS_MOVZX,	X86_INS_MOVSX,	X86_INS_MOVSXD,
		X86_INS_LEA,	X86_INS_XOR,	X86_INS_AND,	X86_INS_OR,	X86_INS_ADD,
		X86_INS_SUB,	X86_INS_ADC,	X86_INS_SBB,	X86_INS_INC,	X86_INS_DEC,
		X86_INS_NEG,	X86_INS_NOT,	X86_INS_SHL,	X86_INS_SHR,	X86_INS_SAR,
		X86_INS_ROL,	X86_INS_ROR,	X86_INS_BSF,	X86_INS_BSR,	X86_INS_BSWAP,
		X86_INS_LZCNT,	X86_INS_TZCNT,	X86_INS_POPCNT, X86_INS_SETA,	X86_INS_SETAE,
		X86_INS_SETB,	X86_INS_SETBE,	X86_INS_SETE,	X86_INS_SETNE,	X86_INS_SETG,
		X86_INS_SETGE,	X86_INS_SETL,	X86_INS_SETLE,	X86_INS_SETS,	X86_INS_SETNS,
		X86_INS_CMOVA,	X86_INS_CMOVAE, X86_INS_CMOVB,	X86_INS_CMOVBE, X86_INS_CMOVE,
		X86_INS_CMOVNE, X86_INS_CMOVG,	X86_INS_CMOVGE, X86_INS_CMOVL,	X86_INS_CMOVLE,
		X86_INS_CMOVS,	X86_INS_CMOVNS, X86_INS_MOVD,	X86_INS_MOVQ,	X86_INS_MOVAPS,
		X86_INS_MOVUPS, X86_INS_MOVDQA, X86_INS_MOVDQU, X86_INS_PXOR,	X86_INS_XORPS,
	};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (ids[i] == id)
			return true;
	return false;
}

static enum step classify(const cs_insn *insn, unsigned int arg_cnt)
{
	const cs_x86 *x86 = &insn->detail->x86;

	if (writes_no_operand(insn->id))
		return STEP_OVER;
	/* imul with one operand writes rdx:rax; with two or three it writes the first. */
	if (!writes_first_operand(insn->id) && !(insn->id == X86_INS_IMUL && x86->op_count >= 2))
		return STEP_OTHER;
	if (x86->op_count < 1)
		return STEP_OTHER;
	if (x86->operands[0].type == X86_OP_MEM)
		return STEP_OVER;
	if (x86->operands[0].type != X86_OP_REG)
		return STEP_OTHER;
	return step_into_register(x86->operands[0].reg, arg_cnt);
}

/* ---- the choice ----------------------------------------------------------------------------- */

static void name_insn(const char *name, struct placement *place)
{
	snprintf(place->insn, sizeof(place->insn), "%s", name);
}

/*
 * Looks at the instruction at `off`. Returns its length (0 = undecodable), its name and how it
 * could be probed.
 */
static size_t decode_at(csh handle, const uint8_t *code, size_t len, size_t off, cs_insn *insn)
{
	const uint8_t *pos = code + off;
	size_t left = len - off;
	uint64_t address = off;

	if (x86_opcode__is_endbr64(pos, left)) { /* capstone 4 knows it only in some releases */
		snprintf(insn->mnemonic, sizeof(insn->mnemonic), "endbr64");
		insn->id = X86_INS_NOP;
		insn->size = 4;
		return insn->size;
	}
	if (!cs_disasm_iter(handle, &pos, &left, &address, insn) || insn->size > MAX_X86_INSN)
		return 0;
	return insn->size;
}

/*
 * Walks from the entry to the first emulated instruction. Returns true with *place filled in;
 * otherwise place->why tells what was in the way.
 */
static bool find_emulated(csh handle, const uint8_t *code, size_t len, unsigned int arg_cnt,
			  uint64_t targets, cs_insn *insn, struct placement *place)
{
	static const char *const reasons[] = {
		[STEP_ARG] = "entry: an argument changes before the first emulated instruction",
		[STEP_STACK] = "entry: the stack changes before the first emulated instruction",
		[STEP_OTHER] = "entry: an instruction that cannot be stepped over comes before the "
			       "first emulated one",
	};
	size_t off = 0;

	place->why = "entry: no emulated instruction within 64 bytes";
	while (off < len && off <= MAX_STEP_BYTES) {
		size_t size = decode_at(handle, code, len, off, insn);
		struct x86_opcode opcode = x86_opcode__split(code + off, size);
		enum step step;

		if (!size) {
			place->why = "entry: what follows cannot be decoded";
			return false;
		}
		if (off && targets & 1ULL << off) {
			place->why = "entry: a branch of the function lands before the first "
				     "emulated instruction";
			return false;
		}
		if (x86_opcode__is_emulated(&opcode)) {
			place->off = (uint32_t)off;
			place->cost = PROBE_EMULATED;
			place->why = off ? "first emulated instruction: arguments and stack are as "
					   "at the entry"
					 : "entry: emulated";
			name_insn(insn->mnemonic, place);
			return true;
		}
		step = classify(insn, arg_cnt);
		if (step != STEP_OVER) {
			place->why = reasons[step];
			return false;
		}
		/*
		 * A branch into the middle of an instruction is nothing a compiler makes: keep
		 * away.
		 */
		for (size_t i = 1; i < size && off + i <= MAX_STEP_BYTES; i++) {
			if (targets & 1ULL << (off + i)) {
				place->why = "entry: a branch of the function lands inside an "
					     "instruction";
				return false;
			}
		}
		off += size;
	}
	return false;
}

static int choose_x86(const uint8_t *code, size_t len, unsigned int arg_cnt, struct placement *ret)
{
	struct placement place = {.cost = PROBE_STEPPED};
	struct x86_opcode opcode;
	cs_insn *insn = NULL;
	uint64_t targets;
	csh handle;
	int err = 0;

	if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK)
		return -ENOMEM;
	targets = find_targets(handle, code, len); /* before details are on: they double the time */
	if (cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON) != CS_ERR_OK ||
	    !(insn = cs_malloc(handle))) {
		err = -ENOMEM;
		goto cleanup;
	}
	if (!find_emulated(handle, code, len, arg_cnt, targets, insn, &place)) {
		size_t size = decode_at(handle, code, len, 0, insn);

		opcode = x86_opcode__split(code, size);
		if (!size || x86_opcode__is_refused(&opcode)) {
			err = -ENOTSUP;
			goto cleanup;
		}
		name_insn(insn->mnemonic, &place);
	}
	*ret = place;
cleanup:
	if (insn)
		cs_free(insn, 1);
	cs_close(&handle);
	return err;
}

int placement__choose(const uint8_t *code, size_t len, unsigned int arg_cnt, struct placement *ret)
{
	if (!len)
		return -ENOTSUP;
	return ARCH_MACHINE == EM_X86_64 ? choose_x86(code, len, arg_cnt, ret)
					 : placement_arm64__choose(code, len, arg_cnt, ret);
}
