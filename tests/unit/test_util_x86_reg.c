/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The numbers come from encodings, so the processor's manual decides, not a second table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "util/x86_reg.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool seen[X86_REG_ENDING];

static int setup(void **state)
{
	csh handle;

	memset(seen, 0, sizeof(seen));
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK)
		return -1;
	if (cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON) != CS_ERR_OK) {
		cs_close(&handle);
		return -1;
	}
	*state = (void *)handle;
	return 0;
}

static int teardown(void **state)
{
	csh handle = (csh)*state;

	return cs_close(&handle) == CS_ERR_OK ? 0 : -1;
}

/* Decodes `mov %reg, %reg` of one register and compares its number. */
static void check_mov(csh handle, const uint8_t *code, size_t len, enum gpr expected)
{
	cs_insn *insn = NULL;
	x86_reg reg;

	assert_int_equal(cs_disasm(handle, code, len, 0, 1, &insn), 1);
	assert_int_equal(insn->size, len);
	assert_int_equal(insn->detail->x86.op_count, 2);
	reg = insn->detail->x86.operands[0].reg;
	if (gpr_of(reg) != expected)
		fail_msg("%s is %d, not %d", cs_reg_name(handle, reg), gpr_of(reg), expected);
	assert_true(reg < X86_REG_ENDING && !seen[reg]);
	seen[reg] = true;
	cs_free(insn, 1);
}

static void test_every_register(void **state)
{
	csh handle = (csh)*state;
	unsigned int cnt = 0;

	for (unsigned int n = 0; n < GPR_CNT; n++) {
		uint8_t rex = n < 8 ? 0x40 : 0x45, modrm = (uint8_t)(0xc0 | (n & 7) << 3 | (n & 7));
		uint8_t wide[] = {rex | 8, 0x89, modrm}, half[] = {rex, 0x89, modrm};
		uint8_t word[] = {0x66, rex, 0x89, modrm}, byte[] = {rex, 0x88, modrm};

		check_mov(handle, wide, sizeof(wide), n);
		check_mov(handle, half, sizeof(half), n);
		check_mov(handle, word, sizeof(word), n);
		check_mov(handle, byte, sizeof(byte), n);
		/* Without REX these are ah, ch, dh, bh. */
		if (n >= 4 && n < 8)
			check_mov(handle, byte + 1, sizeof(byte) - 1, n - 4);
	}
	for (unsigned int reg = 0; reg < X86_REG_ENDING; reg++) {
		cnt += seen[reg];
		if (!seen[reg] && gpr_of(reg) != GPR_NONE)
			fail_msg("%s is %d", cs_reg_name(handle, reg), gpr_of(reg));
	}
	assert_int_equal(cnt, 4 * GPR_CNT + 4);
}

static void test_none(void **state)
{
	static const x86_reg none[] = {
		X86_REG_INVALID, X86_REG_RIP,  X86_REG_EIP, X86_REG_EFLAGS, X86_REG_RIZ,
		X86_REG_FS,	 X86_REG_XMM8, X86_REG_K1,  X86_REG_ENDING, X86_REG_ENDING + 1,
	};

	(void)state;
	for (size_t i = 0; i < COUNT(none); i++)
		assert_int_equal(gpr_of(none[i]), GPR_NONE);
	assert_int_equal(gpr_of((x86_reg)-1), GPR_NONE);
	assert_int_equal(gpr_of((x86_reg)0x7fffffff), GPR_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_register),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests_name("util x86_reg", tests, setup, teardown);
}
