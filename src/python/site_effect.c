/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_effect.h"

#include "util/x86_reg.h"

struct effect {
	struct values *values;
	const cs_insn *insn;
	const cs_x86 *x86;
	uint16_t at;
};

/* ---- operands -------------------------------------------------------------------------------- */

static struct value register_value(const struct effect *e, x86_reg reg)
{
	enum gpr gpr = gpr_of(reg);

	return gpr == GPR_NONE ? values__any(e->values, 8) : e->values->regs[gpr];
}

static struct value address_of(const struct effect *e, const cs_x86_op *op)
{
	struct value addr;

	/* Segments other than fs and gs begin at 0, and with those it is another's address. */
	if (e->x86->addr_size != 8 || op->mem.segment == X86_REG_FS ||
	    op->mem.segment == X86_REG_GS)
		return values__any(e->values, 8);
	if (op->mem.base == X86_REG_RIP)
		addr = value_const((int64_t)(e->insn->address + e->insn->size));
	else if (op->mem.base != X86_REG_INVALID)
		addr = register_value(e, op->mem.base);
	else
		addr = value_const(0);
	if (op->mem.index != X86_REG_INVALID)
		addr = values__add(e->values, addr,
				   value__times(register_value(e, op->mem.index), op->mem.scale));
	return value__plus(addr, op->mem.disp);
}

static struct value read_operand(const struct effect *e, const cs_x86_op *op)
{
	switch (op->type) {
	case X86_OP_IMM:
		return op->size == 4 ? value_const((int32_t)op->imm) : value_const(op->imm);
	case X86_OP_MEM:
		return values__load(e->values, address_of(e, op), op->size);
	case X86_OP_REG:
		if (op->size == 8)
			return register_value(e, op->reg);
		if (op->size == 4)
			return values__low(e->values, register_value(e, op->reg));
		return values__any(e->values, 4);
	default:
		return values__any(e->values, 8);
	}
}

static void write_register(const struct effect *e, x86_reg reg, uint8_t size, struct value value)
{
	enum gpr gpr = gpr_of(reg);

	if (gpr == GPR_NONE)
		return;
	if (size == 4)
		value = values__low(e->values, value);
	else if (size != 8) /* a part of it stays */
		value = values__any(e->values, 8);
	e->values->regs[gpr] = value;
}

static void write_operand(const struct effect *e, const cs_x86_op *op, struct value value)
{
	if (op->type == X86_OP_REG) {
		write_register(e, op->reg, op->size, value);
	} else if (op->type == X86_OP_MEM) {
		if (op->size == 4)
			value = values__low(e->values, value);
		else if (op->size != 8)
			value = values__any(e->values, 8);
		values__store(e->values, address_of(e, op), op->size ? op->size : 64, value, e->at);
	}
}

/* ---- instructions that are not understood ---------------------------------------------------- */

static void forget(const struct effect *e)
{
	const cs_detail *detail = e->insn->detail;

	if (x86_insn__changes_nothing(e->insn->id))
		return;
	for (unsigned int i = 0; i < e->x86->op_count; i++)
		if (x86_insn__may_write(e->insn, i))
			write_operand(e, &e->x86->operands[i], values__any(e->values, 8));
	for (unsigned int i = 0; i < detail->regs_write_count; i++)
		write_register(e, detail->regs_write[i], 8, values__any(e->values, 8));
}

/* ---- those that are -------------------------------------------------------------------------- */

static void apply_push(const struct effect *e)
{
	const cs_x86_op *op = &e->x86->operands[0];
	struct value value =
		e->x86->op_count == 1 ? read_operand(e, op) : values__any(e->values, 8);
	struct value *rsp = &e->values->regs[GPR_RSP];

	*rsp = value__plus(*rsp, -8);
	values__store(e->values, *rsp, 8, value, e->at);
}

static void apply_pop(const struct effect *e)
{
	struct value *rsp = &e->values->regs[GPR_RSP];
	struct value value = values__load(e->values, *rsp, 8);

	*rsp = value__plus(*rsp, 8);
	if (e->x86->op_count == 1)
		write_operand(e, &e->x86->operands[0], value);
}

/* Instructions with a constant count of bits. */
static bool apply_shift(const struct effect *e, const cs_x86_op *to, const cs_x86_op *from)
{
	if (from->type != X86_OP_IMM || from->imm < 0 || from->imm >= to->size * 8)
		return false;
	write_operand(e, to, value__times(read_operand(e, to), (int64_t)(1ULL << from->imm)));
	return true;
}

static bool is_arithmetic(unsigned int id)
{
	return id == X86_INS_ADD || id == X86_INS_SUB || id == X86_INS_AND || id == X86_INS_XOR ||
	       id == X86_INS_OR;
}

static bool apply_arithmetic(const struct effect *e, const cs_x86_op *to, const cs_x86_op *from)
{
	struct value a, b, result;

	if (!is_arithmetic(e->insn->id))
		return false;
	a = read_operand(e, to);
	b = read_operand(e, from);
	switch (e->insn->id) {
	case X86_INS_ADD:
		result = values__add(e->values, a, b);
		break;
	case X86_INS_SUB:
		result = values__add(e->values, a, value__times(b, -1));
		break;
	case X86_INS_AND:
		result = values__and(e->values, a, b);
		break;
	case X86_INS_XOR:
		if (!value__is_same(a, b))
			return false;
		result = value_const(0);
		break;
	default: /* or with -1: a short way to load it */
		if (!value__is_const(b) || b.add != -1)
			return false;
		result = b;
		break;
	}
	write_operand(e, to, result);
	return true;
}

static bool apply_two(const struct effect *e)
{
	const cs_x86_op *to = &e->x86->operands[0], *from = &e->x86->operands[1];

	switch (e->insn->id) {
	case X86_INS_MOV:
	case X86_INS_MOVABS:
		write_operand(e, to, read_operand(e, from));
		return true;
	case X86_INS_MOVSXD: /* of counts and indexes, which are not negative */
		if (to->size != 8 || from->size != 4)
			return false;
		write_operand(e, to, read_operand(e, from));
		return true;
	case X86_INS_LEA:
		write_operand(e, to, address_of(e, from));
		return true;
	case X86_INS_SHL:
		return apply_shift(e, to, from);
	default:
		return apply_arithmetic(e, to, from);
	}
}

static bool apply_one(const struct effect *e)
{
	const cs_x86_op *op = &e->x86->operands[0];

	switch (e->insn->id) {
	case X86_INS_INC:
		write_operand(e, op, value__plus(read_operand(e, op), 1));
		return true;
	case X86_INS_DEC:
		write_operand(e, op, value__plus(read_operand(e, op), -1));
		return true;
	case X86_INS_NEG:
		write_operand(e, op, value__times(read_operand(e, op), -1));
		return true;
	case X86_INS_NOT:
		write_operand(e, op, value__plus(value__times(read_operand(e, op), -1), -1));
		return true;
	case X86_INS_SHL: /* by 1, in its short form */
		write_operand(e, op, value__times(read_operand(e, op), 2));
		return true;
	default:
		return false;
	}
}

static bool is_understood(const struct effect *e)
{
	const cs_x86_op *ops = e->x86->operands;

	switch (e->insn->id) {
	case X86_INS_PUSH:
		if (ops[0].size != 8 && ops[0].type != X86_OP_IMM)
			return false;
		apply_push(e);
		return true;
	case X86_INS_POP:
		if (ops[0].size != 8)
			return false;
		apply_pop(e);
		return true;
	case X86_INS_IMUL:
		if (e->x86->op_count != 3 || ops[2].type != X86_OP_IMM)
			return false;
		write_operand(e, &ops[0], value__times(read_operand(e, &ops[1]), ops[2].imm));
		return true;
	default:
		break;
	}
	if (e->x86->op_count == 2)
		return apply_two(e);
	return e->x86->op_count == 1 && apply_one(e);
}

/* ---- comparisons ----------------------------------------------------------------------------- */

static bool compares_with_0(const struct effect *e, struct value *ret)
{
	const cs_x86_op *a = &e->x86->operands[0], *b = &e->x86->operands[1];
	struct value x, y;

	if (e->x86->op_count != 2 || a->size != 8)
		return false;
	if (e->insn->id != X86_INS_TEST && e->insn->id != X86_INS_CMP)
		return false;
	x = read_operand(e, a);
	y = read_operand(e, b);
	if (e->insn->id == X86_INS_TEST ? !value__is_same(x, y) : !value__is_const(y) || y.add != 0)
		return false;
	*ret = x;
	return true;
}

bool site_effect__apply(struct values *values, const cs_insn *insn, uint16_t at,
			struct value *ret_tested)
{
	const struct effect e = {
		.values = values, .insn = insn, .x86 = &insn->detail->x86, .at = at};
	bool tests = compares_with_0(&e, ret_tested);

	if (!is_understood(&e))
		forget(&e);
	return tests;
}
