/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arithmetic of one unwinding step: what each rule takes from where, up to the ends of what a
 * row can say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <cmocka.h>

#include "include/unwind_cfa.h"

#define SP 0x7f0000001000ULL
#define FP 0x7f0000002000ULL
#define CONTEXT 0x7f0000003000ULL
#define PC 0x400000ULL

static const struct unwind_regs plain = {.pc = PC, .sp = SP, .fp = FP};
static const struct unwind_regs lost = {.pc = PC, .sp = SP, .fp = FP, .fp_lost = true};
static const struct unwind_regs interrupted = {.pc = PC, .sp = SP, .fp = FP, .context = CONTEXT};

static struct unwind_row row_of(enum unwind_rule rule, int32_t cfa)
{
	return (struct unwind_row){.rule = rule, .fp = UNWIND_FP_SAME, .cfa = cfa};
}

/* How a sum is split between value and add matters only when a word is read in between. */
static void expect_cfa(enum unwind_rule rule, int32_t cfa, const struct unwind_regs *regs,
		       bool indirect, uint64_t value, int64_t add)
{
	const struct unwind_row row = row_of(rule, cfa);
	struct unwind_cfa got;

	memset(&got, 0xa5, sizeof(got));
	assert_int_equal(unwind_find_cfa(&row, regs, &got), 0);
	assert_int_equal(got.indirect, indirect);
	if (indirect) {
		assert_int_equal(got.value, value);
		assert_int_equal(got.add, add);
	} else {
		assert_int_equal(got.value + got.add, value + add);
	}
}

static void expect_no_cfa(enum unwind_rule rule, int32_t cfa, const struct unwind_regs *regs,
			  enum unwind_end end)
{
	const struct unwind_row row = row_of(rule, cfa);
	struct unwind_cfa got, before;

	memset(&got, 0xa5, sizeof(got));
	memcpy(&before, &got, sizeof(before));
	assert_int_equal(unwind_find_cfa(&row, regs, &got), end);
	assert_memory_equal(&got, &before, sizeof(got));
}

static void test_registers(void **state)
{
	static const int32_t offsets[] = {8, 16, 0, -8, 1, 65536, INT32_MAX, INT32_MIN};

	(void)state;
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		expect_cfa(UNWIND_RULE_SP, offsets[i], &plain, false, SP, offsets[i]);
		expect_cfa(UNWIND_RULE_FP, offsets[i], &plain, false, FP, offsets[i]);
		/* From the stack pointer it matters to nobody. */
		expect_cfa(UNWIND_RULE_SP, offsets[i], &lost, false, SP, offsets[i]);
		expect_no_cfa(UNWIND_RULE_FP, offsets[i], &lost, UNWIND_BROKEN);
	}
}

static void test_plt(void **state)
{
	struct unwind_regs regs = plain;

	(void)state;
	for (uint32_t at = 0; at < 64; at++) {
		regs.pc = PC + at;
		for (int32_t from = 1; from < 16; from++)
			expect_cfa(UNWIND_RULE_PLT, from, &regs, false, SP,
				   (int32_t)(at % 16) >= from ? 16 : 8);
		/* No table has these; they are not read as small numbers. */
		expect_cfa(UNWIND_RULE_PLT, 0, &regs, false, SP, 16);
		expect_cfa(UNWIND_RULE_PLT, 16, &regs, false, SP, 8);
		expect_cfa(UNWIND_RULE_PLT, -1, &regs, false, SP, 8);
		expect_cfa(UNWIND_RULE_PLT, INT32_MIN, &regs, false, SP, 8);
	}
	regs.fp_lost = true;
	regs.context = CONTEXT;
	regs.pc = UINT64_MAX;
	expect_cfa(UNWIND_RULE_PLT, 15, &regs, false, SP, 16);
}

static int32_t halves(int low, int high)
{
	return (int32_t)((uint32_t)(uint16_t)low | (uint32_t)high << 16);
}

static void test_deref(void **state)
{
	static const int16_t ends[] = {0, 8, -8, 24, -1, INT16_MAX, INT16_MIN};

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		for (size_t j = 0; j < sizeof(ends) / sizeof(ends[0]); j++) {
			int32_t cfa = halves(ends[i], ends[j]);

			expect_cfa(UNWIND_RULE_SP_DEREF, cfa, &plain, true, SP + (int64_t)ends[i],
				   ends[j]);
			expect_cfa(UNWIND_RULE_SP_DEREF, cfa, &lost, true, SP + (int64_t)ends[i],
				   ends[j]);
			expect_cfa(UNWIND_RULE_FP_DEREF, cfa, &plain, true, FP + (int64_t)ends[i],
				   ends[j]);
			expect_no_cfa(UNWIND_RULE_FP_DEREF, cfa, &lost, UNWIND_BROKEN);
		}
	}
}

static void test_interrupted_register(void **state)
{
	static const int32_t offsets[] = {0, 8, -8, 1 << 22, (1 << 23) - 1, -(1 << 23)};

	(void)state;
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		for (int32_t word = 0; word < 256; word++) {
			int32_t cfa = (int32_t)((uint32_t)offsets[i] << 8 | (uint32_t)word);

			expect_cfa(UNWIND_RULE_REG, cfa, &interrupted, true,
				   CONTEXT + 8 * (uint64_t)word, offsets[i]);
			expect_no_cfa(UNWIND_RULE_REG, cfa, &plain, UNWIND_ODD_RULE);
		}
	}
}

static void test_rules_without_cfa(void **state)
{
	(void)state;
	for (int rule = 0; rule <= UINT8_MAX; rule++) {
		if (rule == UNWIND_RULE_SP || rule == UNWIND_RULE_FP || rule == UNWIND_RULE_PLT ||
		    rule == UNWIND_RULE_SP_DEREF || rule == UNWIND_RULE_FP_DEREF ||
		    rule == UNWIND_RULE_REG)
			continue;
		expect_no_cfa(rule, 8, &plain, UNWIND_ODD_RULE);
		expect_no_cfa(rule, 8, &interrupted, UNWIND_ODD_RULE);
		expect_no_cfa(rule, 8, &lost, UNWIND_ODD_RULE);
	}
}

static void test_addresses_wrap_around(void **state)
{
	const struct unwind_regs low = {.sp = 4, .fp = 8, .context = 8};
	const struct unwind_regs high = {
		.sp = UINT64_MAX - 3, .fp = UINT64_MAX - 7, .context = -16ULL};

	(void)state;
	expect_cfa(UNWIND_RULE_SP, -8, &low, false, UINT64_MAX - 3, 0);
	expect_cfa(UNWIND_RULE_FP, INT32_MIN, &low, false, 8 - (1ULL << 31), 0);
	expect_cfa(UNWIND_RULE_SP, 8, &high, false, 4, 0);
	expect_cfa(UNWIND_RULE_FP, 16, &high, false, 8, 0);
	expect_cfa(UNWIND_RULE_PLT, 1, &high, false, 4, 0);
	expect_cfa(UNWIND_RULE_SP_DEREF, halves(-8, -8), &low, true, UINT64_MAX - 3, -8);
	expect_cfa(UNWIND_RULE_FP_DEREF, halves(16, 8), &high, true, 8, 8);
	expect_cfa(UNWIND_RULE_REG, -8 * 256 | 3, &high, true, 8, -8);
}

/* ---- the caller
 * ------------------------------------------------------------------------------------------- */

static void expect_caller(struct unwind_row row, const struct unwind_regs *regs, uint64_t cfa,
			  const struct unwind_caller *want)
{
	struct unwind_caller got;

	memset(&got, 0xa5, sizeof(got));
	assert_int_equal(unwind_find_caller(&row, regs, cfa, &got), 0);
	assert_int_equal(got.pc_at, cfa - 8);
	assert_int_equal(got.fp_saved, want->fp_saved);
	assert_int_equal(got.fp_lost, want->fp_lost);
	if (!want->fp_lost)
		assert_int_equal(got.fp, want->fp);
}

static void test_frame_pointer_stays(void **state)
{
	const struct unwind_row same = row_of(UNWIND_RULE_SP, 16);

	(void)state;
	expect_caller(same, &plain, SP + 16, &(struct unwind_caller){.fp = FP});
	/* What was lost further down has not come back. */
	expect_caller(same, &lost, SP + 16, &(struct unwind_caller){.fp_lost = true});
}

static void test_frame_pointer_is_lost(void **state)
{
	struct unwind_row row = row_of(UNWIND_RULE_SP, 16);

	(void)state;
	row.fp = UNWIND_FP_LOST;
	expect_caller(row, &plain, SP + 16, &(struct unwind_caller){.fp_lost = true});
	expect_caller(row, &lost, SP + 16, &(struct unwind_caller){.fp_lost = true});
}

/* Every place that a row can name, which finds a lost one again. */
static void test_frame_pointer_is_saved(void **state)
{
	static const enum unwind_rule rules[] = {UNWIND_RULE_SP,       UNWIND_RULE_FP,
						 UNWIND_RULE_PLT,      UNWIND_RULE_REG,
						 UNWIND_RULE_SP_DEREF, UNWIND_RULE_FP_DEREF};
	const uint64_t cfa = SP + 64;

	(void)state;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		uint64_t base = rules[i] == UNWIND_RULE_FP_DEREF ? FP : cfa;

		for (int fp = UNWIND_FP_SAME + 1; fp < UNWIND_FP_LOST; fp++) {
			struct unwind_row row = row_of(rules[i], 0);
			const struct unwind_caller want = {.fp = base + 8 * (int64_t)fp,
							   .fp_saved = true};

			row.fp = (int8_t)fp;
			expect_caller(row, &plain, cfa, &want);
			expect_caller(row, &lost, cfa, &want);
		}
	}
}

static void test_saved_place_wraps_around(void **state)
{
	const struct unwind_regs zero = {0};
	const struct unwind_regs high = {.sp = UINT64_MAX - 15, .fp = UINT64_MAX - 7};
	struct unwind_row row = row_of(UNWIND_RULE_SP, 8);

	(void)state;
	row.fp = -2;
	expect_caller(row, &zero, 8,
		      &(struct unwind_caller){.fp = UINT64_MAX - 7, .fp_saved = true});
	row.fp = 126;
	expect_caller(row, &high, UINT64_MAX - 7,
		      &(struct unwind_caller){.fp = 1000, .fp_saved = true});
	row.rule = UNWIND_RULE_FP_DEREF;
	expect_caller(row, &high, UINT64_MAX,
		      &(struct unwind_caller){.fp = 1000, .fp_saved = true});
	/* The address itself may lie across the end. */
	row = row_of(UNWIND_RULE_SP, 1);
	expect_caller(row, &zero, 1, &(struct unwind_caller){0});
}

static void test_frames_go_up(void **state)
{
	const struct unwind_regs high = {.sp = UINT64_MAX};
	static const int8_t places[] = {UNWIND_FP_SAME, UNWIND_FP_LOST, -2};
	const uint64_t bad[] = {SP, SP - 1, SP - 8, 0};
	struct unwind_caller got, before;
	struct unwind_row row = row_of(UNWIND_RULE_SP, 0);

	(void)state;
	memset(&got, 0xa5, sizeof(got));
	memcpy(&before, &got, sizeof(before));
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		row.fp = places[i];
		for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++)
			assert_int_equal(unwind_find_caller(&row, &plain, bad[j], &got),
					 UNWIND_BROKEN);
		/* A sum that came around is below. */
		assert_int_equal(unwind_find_caller(&row, &high, 7, &got), UNWIND_BROKEN);
		assert_int_equal(unwind_find_caller(&row, &high, UINT64_MAX, &got), UNWIND_BROKEN);
		assert_memory_equal(&got, &before, sizeof(got));
	}
	expect_caller(row_of(UNWIND_RULE_SP, 1), &plain, SP + 1, &(struct unwind_caller){.fp = FP});
	expect_caller(row_of(UNWIND_RULE_SP, 1), &plain, UINT64_MAX,
		      &(struct unwind_caller){.fp = FP});
}

/* ---- signals
 * ---------------------------------------------------------------------------------------------- */

static void test_machine_context(void **state)
{
	(void)state;
	assert_int_equal(unwind_context_word(CONTEXT, 0), CONTEXT);
	assert_int_equal(unwind_context_word(CONTEXT, 255), CONTEXT + 2040);
	assert_int_equal(unwind_context_word(UINT64_MAX - 7, 1), 0);
#if defined(__x86_64__) /* the C library has it from the kernel */
	assert_int_equal(SIGNAL_CONTEXT, offsetof(ucontext_t, uc_mcontext.gregs));
	assert_int_equal(CONTEXT_FP, REG_RBP);
	assert_int_equal(CONTEXT_SP, REG_RSP);
	assert_int_equal(CONTEXT_PC, REG_RIP);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_plt),
		cmocka_unit_test(test_deref),
		cmocka_unit_test(test_interrupted_register),
		cmocka_unit_test(test_rules_without_cfa),
		cmocka_unit_test(test_addresses_wrap_around),
		cmocka_unit_test(test_frame_pointer_stays),
		cmocka_unit_test(test_frame_pointer_is_lost),
		cmocka_unit_test(test_frame_pointer_is_saved),
		cmocka_unit_test(test_saved_place_wraps_around),
		cmocka_unit_test(test_frames_go_up),
		cmocka_unit_test(test_machine_context),
	};

	return cmocka_run_group_tests_name("unwind cfa", tests, NULL, NULL);
}
