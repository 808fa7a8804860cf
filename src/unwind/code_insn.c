/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/code_insn.h"

#include <assert.h>
#include <capstone/capstone.h>
#include <stdlib.h>
#include <string.h>

#include "util/x86_reg.h"

struct insn_decoder {
	csh handle;
	cs_insn *insn;
	uint64_t base;
	bool fixed;
};

struct insn_decoder *insn_decoder__new(uint64_t base, bool fixed)
{
	struct insn_decoder *decoder = calloc(1, sizeof(*decoder));

	if (!decoder)
		return NULL;
	decoder->base = base;
	decoder->fixed = fixed;
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &decoder->handle) != CS_ERR_OK) {
		free(decoder);
		return NULL;
	}
	if (cs_option(decoder->handle, CS_OPT_DETAIL, CS_OPT_ON) != CS_ERR_OK ||
	    !(decoder->insn = cs_malloc(decoder->handle))) {
		insn_decoder__free(decoder);
		return NULL;
	}
	return decoder;
}

void insn_decoder__free(struct insn_decoder *decoder)
{
	if (!decoder)
		return;
	if (decoder->insn)
		cs_free(decoder->insn, 1);
	cs_close(&decoder->handle);
	free(decoder);
}

/* ---- operands -------------------------------------------------------------------------------- */

static_assert((int)CODE_RAX == (int)GPR_RAX && (int)CODE_RDI == (int)GPR_RDI &&
		      (int)CODE_R11 == (int)GPR_R11 && (int)CODE_R15 == (int)GPR_R15 &&
		      (int)CODE_REG_CNT == (int)GPR_CNT && (int)CODE_NO_REG == (int)GPR_NONE,
	      "enum code_reg has the numbers of enum gpr");

static uint8_t reg_of(x86_reg reg)
{
	return (uint8_t)gpr_of(reg);
}

static bool is_reg64(const cs_x86_op *op)
{
	return op->type == X86_OP_REG && op->size == 8 && reg_of(op->reg) != CODE_NO_REG;
}

/* Memory at a register plus a constant. */
static bool is_simple_memory(const cs_x86 *x86, const cs_x86_op *op)
{
	return op->type == X86_OP_MEM && x86->addr_size == 8 &&
	       op->mem.segment == X86_REG_INVALID && op->mem.index == X86_REG_INVALID &&
	       reg_of(op->mem.base) != CODE_NO_REG && op->mem.disp >= INT32_MIN &&
	       op->mem.disp <= INT32_MAX;
}

static bool is_near(int64_t value)
{
	return value >= INT32_MIN && value <= INT32_MAX;
}

/* ---- what any instruction may do ------------------------------------------------------------- */

static uint32_t written_regs(const cs_insn *insn)
{
	const cs_x86 *x86 = &insn->detail->x86;
	uint32_t mask = 0;
	uint8_t reg;

	for (unsigned int i = 0; i < x86->op_count; i++) {
		if (x86->operands[i].type != X86_OP_REG || !x86_insn__may_write(insn, i))
			continue;
		reg = reg_of(x86->operands[i].reg);
		if (reg != CODE_NO_REG)
			mask |= 1U << reg;
	}
	for (unsigned int i = 0; i < insn->detail->regs_write_count; i++) {
		reg = reg_of(insn->detail->regs_write[i]);
		if (reg != CODE_NO_REG)
			mask |= 1U << reg;
	}
	return mask;
}

/*
 * Copying a register, or saving it, tells nothing about its value; anything else would be odd
 * before the register was set.
 */
static uint8_t read_saved_regs(const cs_insn *insn)
{
	const cs_x86 *x86 = &insn->detail->x86;
	bool copies = insn->id == X86_INS_MOV || insn->id == X86_INS_PUSH ||
		      insn->id == X86_INS_POP || insn->id == X86_INS_XCHG;
	uint8_t mask = 0;

	for (unsigned int i = 0; i < x86->op_count; i++) {
		const cs_x86_op *op = &x86->operands[i];

		if (op->type == X86_OP_MEM) {
			mask |= code_reg__saved_bit(reg_of(op->mem.base));
			mask |= code_reg__saved_bit(reg_of(op->mem.index));
		} else if (op->type == X86_OP_REG && !copies &&
			   (i > 0 || (op->access & CS_AC_READ))) {
			mask |= code_reg__saved_bit(reg_of(op->reg));
		}
	}
	return mask;
}

static void set_any(const cs_insn *insn, struct code_insn *ret)
{
	uint32_t mask = written_regs(insn);
	const cs_x86 *x86 = &insn->detail->x86;

	ret->op = mask ? CODE_CLOBBER : CODE_PLAIN;
	ret->imm = (int32_t)mask;
	if (mask || x86_insn__changes_nothing(insn->id) || x86->op_count < 1 ||
	    !is_simple_memory(x86, &x86->operands[0]))
		return;
	ret->op = CODE_STORE;
	ret->reg = reg_of(x86->operands[0].mem.base);
	ret->imm = (int32_t)x86->operands[0].mem.disp;
	ret->size = x86->operands[0].size ? x86->operands[0].size : 64;
}

/* ---- instructions that are understood -------------------------------------------------------- */

static void set_mov_to_reg(const struct insn_decoder *decoder, const cs_x86 *x86,
			   struct code_insn *ret)
{
	const cs_x86_op *to = &x86->operands[0], *from = &x86->operands[1];
	int64_t distance;

	if (from->type == X86_OP_IMM) {
		/* Also mov $imm32, %edi: addresses of programs at fixed addresses are small. */
		if (!decoder->fixed || to->size < 4 ||
		    __builtin_sub_overflow(from->imm, (int64_t)(decoder->base + ret->at + ret->len),
					   &distance) ||
		    !is_near(distance))
			return;
		ret->op = CODE_ADDRESS;
		ret->imm = (int32_t)distance;
	} else if (!is_reg64(to)) {
		return;
	} else if (is_reg64(from)) {
		ret->op = CODE_ADD;
		ret->src = reg_of(from->reg);
		ret->imm = 0;
	} else if (is_simple_memory(x86, from)) {
		ret->op = CODE_LOAD;
		ret->src = reg_of(from->mem.base);
		ret->imm = (int32_t)from->mem.disp;
	} else {
		return;
	}
	ret->reg = reg_of(to->reg);
}

static void set_mov(const struct insn_decoder *decoder, const cs_x86 *x86, struct code_insn *ret)
{
	const cs_x86_op *to, *from;

	if (x86->op_count != 2)
		return;
	to = &x86->operands[0];
	from = &x86->operands[1];
	if (to->type == X86_OP_REG && reg_of(to->reg) != CODE_NO_REG)
		set_mov_to_reg(decoder, x86, ret);
	else if (ret->op == CODE_STORE && is_reg64(from))
		ret->src = reg_of(from->reg);
}

static void set_lea(const cs_x86 *x86, struct code_insn *ret)
{
	const cs_x86_op *from = &x86->operands[1];

	if (x86->op_count != 2 || !is_reg64(&x86->operands[0]) || from->type != X86_OP_MEM ||
	    x86->addr_size != 8)
		return;
	if (is_simple_memory(x86, from)) {
		ret->op = CODE_ADD;
		ret->src = reg_of(from->mem.base);
	} else if (from->mem.base == X86_REG_RIP && is_near(from->mem.disp)) {
		ret->op = CODE_ADDRESS;
	} else {
		return;
	}
	ret->reg = reg_of(x86->operands[0].reg);
	ret->imm = (int32_t)from->mem.disp;
}

/* add, sub, and, xor */
static void set_arithmetic(unsigned int id, const cs_x86 *x86, struct code_insn *ret)
{
	const cs_x86_op *to = &x86->operands[0], *from = &x86->operands[1];
	int64_t imm;

	if (x86->op_count != 2 || to->type != X86_OP_REG)
		return;
	if ((id == X86_INS_XOR || id == X86_INS_SUB) && from->type == X86_OP_REG &&
	    from->reg == to->reg && to->size >= 4 && reg_of(to->reg) != CODE_NO_REG) {
		ret->op = CODE_ZERO;
		ret->reg = ret->src = reg_of(to->reg);
		ret->reads = 0;
		return;
	}
	if (!is_reg64(to) || from->type != X86_OP_IMM)
		return;
	imm = from->imm;
	if (id == X86_INS_AND) {
		if (!is_near(imm) || imm >= 0 || (-imm & (-imm - 1)))
			return;
		ret->op = CODE_ALIGN;
	} else if (id == X86_INS_ADD || id == X86_INS_SUB) {
		if (!is_near(imm) || !is_near(-imm))
			return;
		ret->op = CODE_ADD;
		if (id == X86_INS_SUB)
			imm = -imm;
	} else {
		return;
	}
	ret->reg = ret->src = reg_of(to->reg);
	ret->imm = (int32_t)imm;
}

static void set_compare(const cs_x86 *x86, struct code_insn *ret)
{
	if (x86->op_count != 2 || !is_reg64(&x86->operands[0]) || !is_reg64(&x86->operands[1]))
		return;
	ret->op = CODE_COMPARE;
	ret->reg = reg_of(x86->operands[0].reg);
	ret->src = reg_of(x86->operands[1].reg);
}

static void set_push_pop(unsigned int id, const cs_insn *insn, struct code_insn *ret)
{
	const cs_x86 *x86 = &insn->detail->x86;
	bool is_push = id == X86_INS_PUSH || id == X86_INS_PUSHFQ;
	const cs_x86_op *op = x86->op_count ? &x86->operands[0] : NULL;

	ret->op = CODE_CLOBBER;
	ret->imm = (int32_t)(written_regs(insn) | 1U << CODE_RSP);
	/* Of two bytes; and what goes to memory is found by the new stack pointer. */
	if (x86->prefix[2] == 0x66 || (op && op->type == X86_OP_REG &&
				       (!is_reg64(op) || reg_of(op->reg) == CODE_RSP) && !is_push))
		return;
	ret->op = is_push ? CODE_PUSH : CODE_POP;
	ret->imm = 0;
	if (!op || op->type != X86_OP_REG)
		return;
	if (is_push)
		ret->src = reg_of(op->reg);
	else
		ret->reg = reg_of(op->reg);
}

/* ---- control --------------------------------------------------------------------------------- */

static bool is_branch(unsigned int id)
{
	switch (id) {
	case X86_INS_JA:
	case X86_INS_JAE:
	case X86_INS_JB:
	case X86_INS_JBE:
	case X86_INS_JE:
	case X86_INS_JG:
	case X86_INS_JGE:
	case X86_INS_JL:
	case X86_INS_JLE:
	case X86_INS_JNE:
	case X86_INS_JNO:
	case X86_INS_JNP:
	case X86_INS_JNS:
	case X86_INS_JO:
	case X86_INS_JP:
	case X86_INS_JS:
	case X86_INS_JRCXZ:
	case X86_INS_JECXZ:
	case X86_INS_LOOP:
	case X86_INS_LOOPE:
	case X86_INS_LOOPNE:
	case X86_INS_XBEGIN:
		return true;
	default:
		return false;
	}
}

static bool is_stop(unsigned int id)
{
	switch (id) {
	case X86_INS_HLT:
	case X86_INS_UD2:
	case X86_INS_UD2B:
	case X86_INS_INT3:
	case X86_INS_LCALL:
	case X86_INS_LJMP:
	case X86_INS_RETF:
	case X86_INS_RETFQ:
	case X86_INS_IRET:
	case X86_INS_IRETD:
	case X86_INS_IRETQ:
	case X86_INS_SYSRET:
	case X86_INS_SYSEXIT:
		return true;
	default:
		return false;
	}
}

static void set_target(const cs_x86 *x86, enum code_op direct, enum code_op indirect,
		       struct code_insn *ret)
{
	const cs_x86_op *op = &x86->operands[0];
	int64_t distance;

	ret->op = CODE_STOP;
	if (x86->op_count != 1)
		return;
	if (op->type == X86_OP_IMM) {
		if (__builtin_sub_overflow(op->imm, (int64_t)(ret->at + ret->len), &distance) ||
		    !is_near(distance))
			return;
		ret->op = direct;
		ret->imm = (int32_t)distance;
		return;
	}
	ret->op = indirect;
	if (op->type == X86_OP_REG) {
		ret->reg = reg_of(op->reg);
	} else if (op->mem.base == X86_REG_RIP && is_near(op->mem.disp)) {
		ret->flags = CODE_BY_SLOT;
		ret->imm = (int32_t)op->mem.disp;
	}
}

/* Returns whether the instruction leads elsewhere. */
static bool set_control(const cs_insn *insn, struct code_insn *ret)
{
	const cs_x86 *x86 = &insn->detail->x86;

	if (is_stop(insn->id)) {
		ret->op = CODE_STOP;
	} else if (is_branch(insn->id)) {
		set_target(x86, CODE_BRANCH, CODE_STOP, ret);
		ret->reg = insn->id == X86_INS_JNE;
	} else if (insn->id == X86_INS_CALL) {
		set_target(x86, CODE_CALL, CODE_CALL_INDIRECT, ret);
	} else if (insn->id == X86_INS_JMP) {
		set_target(x86, CODE_JUMP, CODE_JUMP_INDIRECT, ret);
	} else if (insn->id == X86_INS_RET) {
		/* One that takes its arguments along is nothing that this ABI knows. */
		ret->op = x86->op_count ? CODE_STOP : CODE_RETURN;
	} else if (insn->id == X86_INS_SYSCALL) {
		ret->op = CODE_SYSCALL;
	} else {
		return false;
	}
	return true;
}

/* ---- all of it
 * ------------------------------------------------------------------------------------ */

static void set_effect(const struct insn_decoder *decoder, struct code_insn *ret)
{
	const cs_insn *insn = decoder->insn;
	const cs_x86 *x86 = &insn->detail->x86;

	ret->reads = read_saved_regs(insn);
	if (set_control(insn, ret))
		return;
	set_any(insn, ret);
	switch (insn->id) {
	case X86_INS_NOP:
		ret->op = CODE_NOP;
		ret->reads = 0;
		break;
	case X86_INS_MOV:
	case X86_INS_MOVABS:
		set_mov(decoder, x86, ret);
		break;
	case X86_INS_LEA:
		set_lea(x86, ret);
		break;
	case X86_INS_ADD:
	case X86_INS_SUB:
	case X86_INS_AND:
	case X86_INS_XOR:
		set_arithmetic(insn->id, x86, ret);
		break;
	case X86_INS_CMP:
		set_compare(x86, ret);
		break;
	case X86_INS_PUSH:
	case X86_INS_PUSHFQ:
	case X86_INS_POP:
	case X86_INS_POPFQ:
		set_push_pop(insn->id, insn, ret);
		break;
	case X86_INS_LEAVE:
		ret->op = CODE_LEAVE;
		break;
	case X86_INS_ENTER:
	case X86_INS_PUSHF:
	case X86_INS_POPF:
		ret->op = CODE_CLOBBER;
		ret->imm = 1 << CODE_RSP | 1 << CODE_RBP;
		break;
	default:
		break;
	}
}

/* f3 0f 1e fa: endbr64, which capstone 4 knows only in some releases. */
static bool is_endbr64(const uint8_t *bytes, size_t len)
{
	static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

	return len >= sizeof(endbr64) && !memcmp(bytes, endbr64, sizeof(endbr64));
}

bool insn_decoder__decode(struct insn_decoder *decoder, const uint8_t *bytes, size_t len,
			  uint32_t at, struct code_insn *ret)
{
	struct code_insn insn = {.at = at, .reg = CODE_NO_REG, .src = CODE_NO_REG};
	uint64_t address = at;

	if (is_endbr64(bytes, len)) {
		insn.op = CODE_PLAIN;
		insn.len = 4;
		*ret = insn;
		return true;
	}
	if (!cs_disasm_iter(decoder->handle, &bytes, &len, &address, decoder->insn) ||
	    !decoder->insn->size || decoder->insn->size > MAX_CODE_INSN)
		return false;
	insn.len = (uint8_t)decoder->insn->size;
	set_effect(decoder, &insn);
	*ret = insn;
	return true;
}
