/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libdw answers in DWARF location expressions. In elfutils 0.188 and later "CFA = register +
 * offset" is one DW_OP_bregx, "saved at CFA + offset" is DW_OP_call_frame_cfa with
 * DW_OP_plus_uconst unless the offset is 0, and no expression at all means undefined or untouched
 * (libdw.h, dwarf_frame_register). Expressions of the file itself come as they are.
 */
#include "unwind/cfi_row.h"

#include <dwarf.h>
#include <stdbool.h>
#include <stddef.h>

/* Numbers of the x86-64 psABI, figure 3.36. */
#define REG_FP 6
#define REG_SP 7
#define REG_PC 16

#define MAX_FP 126    /* in words; UNWIND_FP_LOST is 127 */
#define MIN_FP (-127) /* UNWIND_FP_SAME is -128 */
#define MAX_REG_OFFSET ((1 << 23) - 1)

/* The word of a general register in the kernel's struct sigcontext, by DWARF number. */
static const uint8_t context_word[REG_PC] = {
	13, 12, 14, 11, 9, 8, 10, 15, 0, 1, 2, 3, 4, 5, 6, 7,
};

/* An address, as expressions give it. */
enum base {
	BASE_SAME,	/* no address: the register was not touched */
	BASE_UNDEFINED, /* no address: the value is gone */
	BASE_CFA,
	BASE_REG,
	BASE_OTHER,
};

struct place {
	enum base base;
	uint64_t reg;
	int64_t offset;
};

/* One op that means register + offset. */
static bool is_reg_offset(const Dwarf_Op *op, struct place *ret)
{
	if (op->atom == DW_OP_bregx)
		*ret = (struct place){BASE_REG, op->number, (int64_t)op->number2};
	else if (op->atom >= DW_OP_breg0 && op->atom <= DW_OP_breg31)
		*ret = (struct place){BASE_REG, op->atom - DW_OP_breg0, (int64_t)op->number};
	else
		return false;
	return true;
}

static struct place read_place(const Dwarf_Op *ops, size_t cnt)
{
	struct place place = {.base = BASE_OTHER};
	size_t at = 1;

	if (!cnt || (ops[0].atom != DW_OP_call_frame_cfa && !is_reg_offset(&ops[0], &place)))
		return place;
	if (ops[0].atom == DW_OP_call_frame_cfa) {
		place.base = BASE_CFA;
		/* An expression finds the CFA on the stack, which need not interest it. */
		if (cnt > 1 && is_reg_offset(&ops[1], &place))
			at++;
	}
	if (at < cnt && ops[at].atom == DW_OP_plus_uconst)
		place.offset = (int64_t)((uint64_t)place.offset + ops[at++].number);
	if (at < cnt)
		place.base = BASE_OTHER;
	return place;
}

/* Where the caller's value of a register is saved. */
static struct place find_saved(Dwarf_Frame *frame, int reg)
{
	Dwarf_Op memory[3], *ops = NULL;
	size_t cnt = 0;

	if (dwarf_frame_register(frame, reg, memory, &ops, &cnt))
		return (struct place){.base = BASE_OTHER};
	if (!cnt)
		return (struct place){.base = ops ? BASE_UNDEFINED : BASE_SAME};
	return read_place(ops, cnt);
}

/* ---- the canonical frame address ------------------------------------------------------------- */

static bool fits(int64_t value, int64_t min, int64_t max)
{
	return value >= min && value <= max;
}

/* CFA = register + offset. */
static void set_reg_rule(struct unwind_row *row, const struct place *cfa)
{
	if (cfa->reg == REG_SP || cfa->reg == REG_FP) {
		if (!fits(cfa->offset, INT32_MIN, INT32_MAX))
			return;
		row->rule = cfa->reg == REG_SP ? UNWIND_RULE_SP : UNWIND_RULE_FP;
		row->cfa = (int32_t)cfa->offset;
	} else if (cfa->reg < REG_PC && fits(cfa->offset, -MAX_REG_OFFSET - 1, MAX_REG_OFFSET)) {
		row->rule = UNWIND_RULE_REG;
		row->cfa = (int32_t)cfa->offset * 256 + context_word[cfa->reg];
	}
}

/* CFA = *(register + offset) + addend. */
static bool set_deref_rule(struct unwind_row *row, const Dwarf_Op *ops, size_t cnt)
{
	struct place place;
	int64_t addend = 0;

	if (cnt < 2 || cnt > 3 || !is_reg_offset(&ops[0], &place) || ops[1].atom != DW_OP_deref)
		return false;
	if (cnt == 3) {
		if (ops[2].atom != DW_OP_plus_uconst)
			return false;
		addend = (int64_t)ops[2].number;
	}
	if ((place.reg != REG_SP && place.reg != REG_FP) ||
	    !fits(place.offset, INT16_MIN, INT16_MAX) || !fits(addend, INT16_MIN, INT16_MAX))
		return false;
	row->rule = place.reg == REG_SP ? UNWIND_RULE_SP_DEREF : UNWIND_RULE_FP_DEREF;
	row->cfa = (int32_t)addend * 65536 + (int32_t)(uint16_t)place.offset;
	return true;
}

/*
 * The lazy binding stubs: rsp + 8 + ((rip & 15) >= N) << 3, as binutils and LLD write it for .plt;
 * N is where the stub's push is over.
 */
static bool set_plt_rule(struct unwind_row *row, const Dwarf_Op *ops, size_t cnt)
{
	static const uint8_t shape[] = {
		DW_OP_breg7, DW_OP_breg16, DW_OP_lit15, DW_OP_and,  0 /* litN */,
		DW_OP_ge,    DW_OP_lit3,   DW_OP_shl,	DW_OP_plus,
	};

	if (cnt != sizeof(shape) || ops[0].number != 8 || ops[1].number != 0 ||
	    ops[4].atom < DW_OP_lit1 || ops[4].atom > DW_OP_lit15)
		return false;
	for (size_t i = 0; i < cnt; i++)
		if (shape[i] && ops[i].atom != shape[i])
			return false;
	row->rule = UNWIND_RULE_PLT;
	row->cfa = ops[4].atom - DW_OP_lit0;
	return true;
}

static void set_rule(struct unwind_row *row, Dwarf_Frame *frame)
{
	struct place cfa;
	Dwarf_Op *ops;
	size_t cnt;

	row->rule = UNWIND_RULE_ODD;
	if (dwarf_frame_cfa(frame, &ops, &cnt) || !cnt || set_plt_rule(row, ops, cnt) ||
	    set_deref_rule(row, ops, cnt))
		return;
	cfa = read_place(ops, cnt);
	if (cfa.base == BASE_REG)
		set_reg_rule(row, &cfa);
}

/* ---- the frame pointer ----------------------------------------------------------------------- */

/* Says of which register the rule's own address is an offset, and what offset. */
static bool relate_to_cfa(const struct unwind_row *row, struct place *saved)
{
	bool fp_rule = row->rule == UNWIND_RULE_FP || row->rule == UNWIND_RULE_FP_DEREF;

	if (saved->base == BASE_CFA)
		return row->rule != UNWIND_RULE_FP_DEREF;
	if (saved->base != BASE_REG || saved->reg != (fp_rule ? REG_FP : REG_SP))
		return false;
	if (row->rule == UNWIND_RULE_FP_DEREF)
		return true; /* such a row counts from the frame pointer */
	if (row->rule != UNWIND_RULE_FP && row->rule != UNWIND_RULE_SP)
		return false;
	return !__builtin_sub_overflow(saved->offset, (int64_t)row->cfa, &saved->offset);
}

/*
 * A caller's frame pointer that no row can tell the place of is as good as lost: a walk that needs
 * it ends there, and is not misled.
 */
static void set_fp(struct unwind_row *row, Dwarf_Frame *frame)
{
	struct place saved = find_saved(frame, REG_FP);

	if (saved.base == BASE_SAME)
		row->fp = UNWIND_FP_SAME;
	else if (relate_to_cfa(row, &saved) && saved.offset % 8 == 0 &&
		 fits(saved.offset / 8, MIN_FP, MAX_FP))
		row->fp = (int8_t)(saved.offset / 8);
	else
		row->fp = UNWIND_FP_LOST;
}

struct unwind_row cfi_row__make(Dwarf_Frame *frame, uint64_t *ret_start, uint64_t *ret_end)
{
	struct unwind_row row = {.rule = UNWIND_RULE_ODD, .fp = UNWIND_FP_SAME};
	Dwarf_Addr start = 0, end = 0;
	struct place caller;
	bool is_signal = false;
	int reg;

	reg = dwarf_frame_info(frame, &start, &end, &is_signal);
	*ret_start = start;
	*ret_end = end;
	caller = reg < 0 ? (struct place){.base = BASE_OTHER} : find_saved(frame, reg);
	if (caller.base == BASE_UNDEFINED) {
		row.rule = UNWIND_RULE_END;
	} else if (caller.base == BASE_CFA && caller.offset == -8) {
		set_rule(&row, frame);
		set_fp(&row, frame);
	} else if (is_signal) {
		row.rule = UNWIND_RULE_SIGNAL;
	}
	return row;
}
