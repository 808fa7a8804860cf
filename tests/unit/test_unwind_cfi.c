/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of each shape of call frame information. */
#include "unit/compile.h"
#include "unit/cfi_fixture.h"

#define FP 6
#define SP 7
#define RIP 16

/* A table of one function of 256 bytes at CODE + 256 with that program, in .eh_frame. */
static struct unwind_table compile_program(const struct bytes *program)
{
	struct cfi_file *file = new_file();
	size_t cie = eh_common(&file->eh);

	eh_function(&file->eh, cie, CODE + 256, 256, program);
	return compile_file(file);
}

/* Compiles the program and checks what its one row says. */
static void check_row(const struct bytes *program, int rule, int cfa_value, int fp)
{
	struct unwind_table table = compile_program(program);

	assert_no_row(&table, CODE + 255);
	assert_row(&table, CODE + 256, rule, cfa_value, fp);
	assert_row(&table, CODE + 511, rule, cfa_value, fp);
	assert_no_row(&table, CODE + 512);
	assert_int_equal(table.counts.fdes, 1);
	assert_int_equal(table.counts.broken_fdes, 0);
	assert_int_equal(table.counts.odd_rows, rule == UNWIND_RULE_ODD);
	unwind_table__free(&table);
}

/* ---- the canonical frame address ------------------------------------------------------------- */

static void test_prologue(void **state)
{
	struct bytes program = {.size = 0};
	struct unwind_table table;

	(void)state;
	/* push %rbp; mov %rsp,%rbp; ... */
	advance(&program, 1);
	cfa(&program, SP, 16);
	saved(&program, FP, 2);
	advance(&program, 3);
	cfa(&program, FP, 16);
	advance(&program, 100);
	cfa(&program, SP, 8);
	put_u8(&program, DW_CFA_same_value);
	put_uleb(&program, FP);
	table = compile_program(&program);
	assert_no_row(&table, CODE + 255);
	assert_row(&table, CODE + 256, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	assert_row(&table, CODE + 257, UNWIND_RULE_SP, 16, -2);
	assert_row(&table, CODE + 259, UNWIND_RULE_SP, 16, -2);
	assert_row(&table, CODE + 260, UNWIND_RULE_FP, 16, -2);
	assert_row(&table, CODE + 359, UNWIND_RULE_FP, 16, -2);
	assert_row(&table, CODE + 360, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	assert_row(&table, CODE + 511, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	assert_no_row(&table, CODE + 512);
	assert_int_equal(table.row_cnt, 6);
	assert_int_equal(table.page_cnt, 1);
	unwind_table__free(&table);
}

static void check_cfa(unsigned int reg, int64_t offset, int rule, int cfa_value)
{
	struct bytes program = {.size = 0};

	put_u8(&program, DW_CFA_def_cfa_sf);
	put_uleb(&program, reg);
	put_sleb(&program, offset / -8);
	check_row(&program, rule, cfa_value, UNWIND_FP_SAME);
}

static void test_registers(void **state)
{
	/* The kernel's struct sigcontext_64, by the psABI's register numbers. */
	static const int words[] = {13, 12, 14, 11, 9, 8, -1, -1, 0, 1, 2, 3, 4, 5, 6, 7};

	(void)state;
	check_cfa(SP, 65600, UNWIND_RULE_SP, 65600);
	check_cfa(SP, -16, UNWIND_RULE_SP, -16);
	check_cfa(FP, 2147483640, UNWIND_RULE_FP, 2147483640);
	check_cfa(FP, -2147483648LL, UNWIND_RULE_FP, INT32_MIN);
	check_cfa(SP, 2147483648LL, UNWIND_RULE_ODD, 0);
	check_cfa(SP, -2147483656LL, UNWIND_RULE_ODD, 0);
	check_cfa(SP, INT64_MIN, UNWIND_RULE_ODD, 0);
	for (unsigned int reg = 0; reg < 16; reg++)
		if (words[reg] >= 0)
			check_cfa(reg, 24, UNWIND_RULE_REG, 24 << 8 | words[reg]);
	check_cfa(10, -8, UNWIND_RULE_REG, -8 * 256 + 2);
	check_cfa(10, (1 << 23) - 8, UNWIND_RULE_REG, ((1 << 23) - 8) * 256 + 2);
	check_cfa(10, -(1 << 23), UNWIND_RULE_REG, -(1 << 23) * 256 + 2);
	check_cfa(10, 1 << 23, UNWIND_RULE_ODD, 0);
	check_cfa(10, -(1 << 23) - 8, UNWIND_RULE_ODD, 0);
	check_cfa(RIP, 0, UNWIND_RULE_ODD, 0);
	check_cfa(17, 0, UNWIND_RULE_ODD, 0);
	check_cfa(1000, 0, UNWIND_RULE_ODD, 0);
}

static void check_cfa_expression(const struct bytes *ops, int rule, int cfa_value)
{
	struct bytes program = {.size = 0};

	expression(&program, DW_CFA_def_cfa_expression, 0, ops);
	check_row(&program, rule, cfa_value, UNWIND_FP_SAME);
}

static struct bytes deref(uint8_t breg, int64_t offset)
{
	struct bytes ops = {.size = 0};

	put_u8(&ops, breg);
	put_sleb(&ops, offset);
	put_u8(&ops, DW_OP_deref);
	return ops;
}

static void test_deref(void **state)
{
	struct bytes ops;

	(void)state;
	ops = deref(DW_OP_breg6, -8);
	check_cfa_expression(&ops, UNWIND_RULE_FP_DEREF, 0xfff8);
	put_u8(&ops, DW_OP_plus_uconst);
	put_uleb(&ops, 8);
	check_cfa_expression(&ops, UNWIND_RULE_FP_DEREF, 8 << 16 | 0xfff8);
	ops = deref(DW_OP_breg7, 80);
	check_cfa_expression(&ops, UNWIND_RULE_SP_DEREF, 80);
	put_u8(&ops, DW_OP_plus_uconst);
	put_uleb(&ops, 32767);
	check_cfa_expression(&ops, UNWIND_RULE_SP_DEREF, 32767 << 16 | 80);
	ops.size = 0;
	put_u8(&ops, DW_OP_breg7);
	put_sleb(&ops, 24);
	check_cfa_expression(&ops, UNWIND_RULE_SP, 24);
}

static void test_odd_expressions(void **state)
{
	struct bytes ops;

	(void)state;
	ops = deref(DW_OP_breg6, 32768);
	check_cfa_expression(&ops, UNWIND_RULE_ODD, 0);
	ops = deref(DW_OP_breg6, -32769);
	check_cfa_expression(&ops, UNWIND_RULE_ODD, 0);
	ops = deref(DW_OP_breg10, 0);
	check_cfa_expression(&ops, UNWIND_RULE_ODD, 0);
	ops = deref(DW_OP_breg7, 8);
	put_u8(&ops, DW_OP_plus_uconst);
	put_uleb(&ops, 32768);
	check_cfa_expression(&ops, UNWIND_RULE_ODD, 0);
	ops = deref(DW_OP_breg7, 8);
	put_u8(&ops, DW_OP_deref);
	check_cfa_expression(&ops, UNWIND_RULE_ODD, 0);
}

static void put_plt(struct bytes *ops, uint8_t limit, uint8_t last)
{
	const uint8_t code[] = {DW_OP_breg7, 8,		DW_OP_breg16, 0,
				DW_OP_lit15, DW_OP_and, limit,	      DW_OP_ge,
				DW_OP_lit3,  DW_OP_shl, last};

	ops->size = 0;
	put(ops, code, sizeof(code));
}

static void test_plt(void **state)
{
	struct bytes ops;

	(void)state;
	put_plt(&ops, DW_OP_lit11, DW_OP_plus);
	check_cfa_expression(&ops, UNWIND_RULE_PLT, 11);
	put_plt(&ops, DW_OP_lit10, DW_OP_plus);
	check_cfa_expression(&ops, UNWIND_RULE_PLT, 10);
	put_plt(&ops, DW_OP_lit0, DW_OP_plus);
	check_cfa_expression(&ops, UNWIND_RULE_ODD, 0);
	put_plt(&ops, DW_OP_lit16, DW_OP_plus);
	check_cfa_expression(&ops, UNWIND_RULE_ODD, 0);
	put_plt(&ops, DW_OP_lit11, DW_OP_minus);
	check_cfa_expression(&ops, UNWIND_RULE_ODD, 0);
}

/* ---- the return address ---------------------------------------------------------------------- */

static void check_caller(uint8_t instruction, int64_t operand, int rule)
{
	struct bytes program = {.size = 0};

	put_u8(&program, instruction);
	put_uleb(&program, RIP);
	if (instruction == DW_CFA_offset_extended_sf)
		put_sleb(&program, operand);
	else if (instruction == DW_CFA_register)
		put_uleb(&program, (uint64_t)operand);
	check_row(&program, rule, rule == UNWIND_RULE_SP ? 8 : 0, UNWIND_FP_SAME);
}

static void test_return_address(void **state)
{
	struct bytes program = {.size = 0}, ops = {.size = 0};

	(void)state;
	check_caller(DW_CFA_undefined, 0, UNWIND_RULE_END);
	check_caller(DW_CFA_same_value, 0, UNWIND_RULE_ODD);
	check_caller(DW_CFA_register, 5, UNWIND_RULE_ODD); /* vfork */
	check_caller(DW_CFA_offset_extended_sf, 1, UNWIND_RULE_SP);
	check_caller(DW_CFA_offset_extended_sf, 0, UNWIND_RULE_ODD);
	check_caller(DW_CFA_offset_extended_sf, 2, UNWIND_RULE_ODD);
	check_caller(DW_CFA_offset_extended_sf, -1, UNWIND_RULE_ODD); /* above the CFA */
	put_u8(&ops, DW_OP_breg3);
	put_sleb(&ops, 56);
	expression(&program, DW_CFA_expression, RIP, &ops); /* longjmp */
	check_row(&program, UNWIND_RULE_ODD, 0, UNWIND_FP_SAME);
}

/* As glibc describes what its signal handlers return to. */
static void test_signal_frame(void **state)
{
	struct bytes program = {.size = 0}, ops;
	struct cfi_file *file = new_file();
	struct unwind_table table;
	size_t cie;

	(void)state;
	ops = deref(DW_OP_breg7, 160);
	expression(&program, DW_CFA_def_cfa_expression, 0, &ops);
	ops.size = 0;
	put_u8(&ops, DW_OP_breg7);
	put_sleb(&ops, 168);
	expression(&program, DW_CFA_expression, RIP, &ops);
	cie = common(&file->eh, true, "zRS", "\x1b", 1);
	eh_function(&file->eh, cie, CODE + 256, 10, &program);
	eh_function(&file->eh, cie, CODE + 512, 10, NULL);
	table = compile_file(file);
	assert_row(&table, CODE + 256, UNWIND_RULE_SIGNAL, 0, UNWIND_FP_SAME);
	assert_row(&table, CODE + 265, UNWIND_RULE_SIGNAL, 0, UNWIND_FP_SAME);
	assert_no_row(&table, CODE + 266);
	/* Marked, but with a return address where calls put it: then that is the rule. */
	assert_row(&table, CODE + 512, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	unwind_table__free(&table);
}

/* mov $15, %rax; syscall without a mark: right behind a function, and the byte before is its own.
 */
static void test_restorer(void **state)
{
	static const uint8_t restorer[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
	struct cfi_file *file = new_file();
	size_t cie = eh_common(&file->eh);
	struct unwind_table table;

	(void)state;
	memcpy(file->code + 512, restorer, sizeof(restorer));
	memcpy(file->code + 1024, restorer, sizeof(restorer) - 1);
	eh_function(&file->eh, cie, CODE + 256, 256, NULL);
	eh_function(&file->eh, cie, CODE + 512, 12, NULL);
	eh_function(&file->eh, cie, CODE + 1024, 12, NULL);
	table = compile_file(file);
	assert_row(&table, CODE + 510, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	assert_row(&table, CODE + 511, UNWIND_RULE_SIGNAL, 0, UNWIND_FP_SAME);
	assert_row(&table, CODE + 520, UNWIND_RULE_SIGNAL, 0, UNWIND_FP_SAME);
	assert_row(&table, CODE + 521, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	assert_row(&table, CODE + 1024, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	unwind_table__free(&table);
}

/* ---- the frame pointer ----------------------------------------------------------------------- */

static void check_saved_fp(int64_t words, int fp)
{
	struct bytes program = {.size = 0};

	put_u8(&program, DW_CFA_offset_extended_sf);
	put_uleb(&program, FP);
	put_sleb(&program, -words);
	check_row(&program, UNWIND_RULE_SP, 8, fp);
}

static void test_frame_pointer(void **state)
{
	struct bytes program = {.size = 0};

	(void)state;
	check_saved_fp(-2, -2);
	check_saved_fp(0, 0);
	check_saved_fp(3, 3);
	check_saved_fp(126, 126);
	check_saved_fp(-127, -127);
	check_saved_fp(127, UNWIND_FP_LOST);
	check_saved_fp(-128, UNWIND_FP_LOST);
	check_saved_fp(1000000, UNWIND_FP_LOST);
	put_u8(&program, DW_CFA_undefined);
	put_uleb(&program, FP);
	check_row(&program, UNWIND_RULE_SP, 8, UNWIND_FP_LOST);
	program.size = 0;
	put_u8(&program, DW_CFA_register);
	put_uleb(&program, FP);
	put_uleb(&program, 3);
	check_row(&program, UNWIND_RULE_SP, 8, UNWIND_FP_LOST);
	program.size = 0;
	put_u8(&program, DW_CFA_val_offset);
	put_uleb(&program, FP);
	put_uleb(&program, 2);
	check_row(&program, UNWIND_RULE_SP, 8, UNWIND_FP_LOST);
}

static void check_fp_expression(unsigned int reg, uint8_t instruction, uint8_t breg, int64_t offset,
				int rule, int fp)
{
	struct bytes program = {.size = 0}, ops;

	if (rule == UNWIND_RULE_FP_DEREF) {
		ops = deref(DW_OP_breg6, -8);
		expression(&program, DW_CFA_def_cfa_expression, 0, &ops);
	} else {
		cfa(&program, reg, 16);
	}
	ops.size = 0;
	put_u8(&ops, breg);
	put_sleb(&ops, offset);
	expression(&program, instruction, FP, &ops);
	check_row(&program, rule, rule == UNWIND_RULE_FP_DEREF ? 0xfff8 : 16, fp);
}

static void test_frame_pointer_expression(void **state)
{
	(void)state;
	/* What gcc writes for a realigned stack. */
	check_fp_expression(0, DW_CFA_expression, DW_OP_breg6, 0, UNWIND_RULE_FP_DEREF, 0);
	check_fp_expression(0, DW_CFA_expression, DW_OP_breg6, -24, UNWIND_RULE_FP_DEREF, -3);
	check_fp_expression(0, DW_CFA_expression, DW_OP_breg6, 4, UNWIND_RULE_FP_DEREF,
			    UNWIND_FP_LOST);
	check_fp_expression(0, DW_CFA_expression, DW_OP_breg7, 0, UNWIND_RULE_FP_DEREF,
			    UNWIND_FP_LOST);
	check_fp_expression(0, DW_CFA_val_expression, DW_OP_breg6, 0, UNWIND_RULE_FP_DEREF,
			    UNWIND_FP_LOST);
	/* From the register that the CFA is an offset of. */
	check_fp_expression(FP, DW_CFA_expression, DW_OP_breg6, 0, UNWIND_RULE_FP, -2);
	check_fp_expression(SP, DW_CFA_expression, DW_OP_breg7, 8, UNWIND_RULE_SP, -1);
	check_fp_expression(SP, DW_CFA_expression, DW_OP_breg6, 0, UNWIND_RULE_SP, UNWIND_FP_LOST);
}

/* Saved at an offset from the CFA where the CFA itself has to be read: no row can say both. */
static void test_frame_pointer_in_deref(void **state)
{
	struct bytes program = {.size = 0}, ops = deref(DW_OP_breg6, -8);

	(void)state;
	expression(&program, DW_CFA_def_cfa_expression, 0, &ops);
	saved(&program, FP, 2);
	check_row(&program, UNWIND_RULE_FP_DEREF, 0xfff8, UNWIND_FP_LOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prologue),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_deref),
		cmocka_unit_test(test_odd_expressions),
		cmocka_unit_test(test_plt),
		cmocka_unit_test(test_return_address),
		cmocka_unit_test(test_signal_frame),
		cmocka_unit_test(test_restorer),
		cmocka_unit_test(test_frame_pointer),
		cmocka_unit_test(test_frame_pointer_expression),
		cmocka_unit_test(test_frame_pointer_in_deref),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
