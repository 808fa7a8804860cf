/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walking a copy of a stack: one rule at a time, on stacks made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unwind/walk.h"

#define CODE 0x400000UL /* one page of code; function i is at CODE + 16 * i */
#define STACK 0x7f0000001000UL
#define PC(i) (CODE + 16 * (uint64_t)(i) + 8)
#define MODULE 2 /* the first number that a store gives */

struct scene {
	struct unwind_module *modules;
	uint64_t *cells;
	struct table_store *store;
	struct raw_stack raw;
	struct walk_code code;
	struct stack_walk walk;
};

static uint64_t frame_of(uint64_t pc)
{
	return (uint64_t)MODULE << FRAME_MODULE_SHIFT | (pc - CODE);
}

static int setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	scene->modules = calloc(MAX_UNWIND_MODULES, sizeof(*scene->modules));
	scene->cells = calloc(UNWIND_CHUNK_CELLS, sizeof(*scene->cells));
	assert_non_null(scene->modules);
	assert_non_null(scene->cells);
	scene->store = table_store__new(scene->modules, 1);
	assert_non_null(scene->store);
	assert_int_equal(table_store__add_chunk(scene->store, scene->cells), 0);
	scene->raw.sp = STACK;
	scene->raw.len = sizeof(scene->raw.bytes);
	*state = scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	table_store__free(scene->store);
	free(scene->modules);
	free(scene->cells);
	free(scene);
	return 0;
}

/* Function i has the i-th row's rule; the walk begins in function 0. */
static void load(struct scene *scene, const struct unwind_row *rules, uint32_t cnt)
{
	struct unwind_row rows[32];
	struct unwind_page page = {.first = 0, .cnt = cnt};
	struct unwind_table table = {.rows = rows, .pages = &page, .row_cnt = cnt, .page_cnt = 1};
	uint32_t module;

	assert_true(cnt <= 32);
	for (uint32_t i = 0; i < cnt; i++) {
		rows[i] = rules[i];
		rows[i].pc = (uint16_t)(16 * i);
	}
	assert_int_equal(
		table_store__put(scene->store, &table, scene->code.module ? MODULE : 0, &module),
		0);
	assert_int_equal(module, MODULE);
	scene->code = (struct walk_code){
		.start = CODE,
		.end = CODE + UNWIND_PAGE_SIZE,
		.to_offset = -CODE,
		.module = module,
	};
	scene->walk = (struct stack_walk){
		.store = scene->store,
		.code = &scene->code,
		.code_cnt = 1,
		.raw = &scene->raw,
		.frames = {frame_of(PC(0))},
		.frame_cnt = 1,
	};
	scene->raw.pc = PC(0) - 1;
}

static void put(struct scene *scene, uint64_t at, uint64_t value)
{
	assert_true(at + 8 <= sizeof(scene->raw.bytes));
	memcpy(scene->raw.bytes + at, &value, sizeof(value));
}

static void expect(struct scene *scene, enum unwind_end end, const uint64_t *pcs, uint32_t cnt)
{
	assert_int_equal(stack_walk__finish(&scene->walk), end);
	assert_int_equal(scene->walk.frame_cnt, cnt);
	for (uint32_t i = 0; i < cnt; i++)
		assert_int_equal(scene->walk.frames[i], frame_of(pcs[i]));
}

#define EXPECT(scene, end, ...)                                                                    \
	expect(scene, end, (const uint64_t[]){__VA_ARGS__},                                        \
	       sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void test_stack_pointer(void **state)
{
	struct scene *scene = *state;
	const struct unwind_row rules[] = {
		{.rule = UNWIND_RULE_SP, .cfa = 32, .fp = UNWIND_FP_SAME},
		{.rule = UNWIND_RULE_SP, .cfa = 16, .fp = UNWIND_FP_SAME},
		{.rule = UNWIND_RULE_END, .fp = UNWIND_FP_SAME},
	};

	load(scene, rules, 3);
	put(scene, 24, PC(1));
	put(scene, 40, PC(2));
	EXPECT(scene, UNWIND_COMPLETE, PC(0), PC(1), PC(2));
}

static void test_frame_pointer_is_restored(void **state)
{
	struct scene *scene = *state;
	const struct unwind_row rules[] = {
		{.rule = UNWIND_RULE_SP, .cfa = 32, .fp = -2}, /* saved below the address */
		{.rule = UNWIND_RULE_FP, .cfa = 16, .fp = -2},
		{.rule = UNWIND_RULE_END, .fp = UNWIND_FP_SAME},
	};

	load(scene, rules, 3);
	put(scene, 16, STACK + 64);
	put(scene, 24, PC(1));
	put(scene, 64, 0);
	put(scene, 72, PC(2));
	EXPECT(scene, UNWIND_COMPLETE, PC(0), PC(1), PC(2));
}

static void test_lost_frame_pointer_is_not_used(void **state)
{
	struct scene *scene = *state;
	const struct unwind_row rules[] = {
		{.rule = UNWIND_RULE_SP, .cfa = 16, .fp = UNWIND_FP_LOST},
		{.rule = UNWIND_RULE_FP, .cfa = 16, .fp = -2},
	};

	load(scene, rules, 2);
	scene->raw.fp = STACK + 64;
	put(scene, 8, PC(1));
	EXPECT(scene, UNWIND_BROKEN, PC(0), PC(1));
}

static void test_plt(void **state)
{
	struct scene *scene = *state;
	struct unwind_row rules[] = {
		{.rule = UNWIND_RULE_PLT, .cfa = 11, .fp = UNWIND_FP_SAME},
		{.rule = UNWIND_RULE_END, .fp = UNWIND_FP_SAME},
	};

	load(scene, rules, 2);
	scene->raw.context = STACK; /* a signal interrupted it: the address is looked up as it is */
	scene->raw.pc = CODE + 10;
	put(scene, 0, PC(1));
	put(scene, 8, 0x1234);
	EXPECT(scene, UNWIND_COMPLETE, CODE + 11, PC(1));
	load(scene, rules, 2);
	scene->raw.context = STACK;
	scene->raw.pc = CODE + 11; /* it has pushed a word by now */
	put(scene, 0, 0x1234);
	put(scene, 8, PC(1));
	EXPECT(scene, UNWIND_COMPLETE, CODE + 12, PC(1));
}

static void test_indirect(void **state)
{
	struct scene *scene = *state;
	const struct unwind_row rules[] = {
		/* CFA = *(fp - 8) + 0; the caller's fp at *(fp + 0) */
		{.rule = UNWIND_RULE_FP_DEREF, .cfa = (uint16_t)-8, .fp = 0},
		{.rule = UNWIND_RULE_SP_DEREF, .cfa = 8 | 24 << 16, .fp = UNWIND_FP_SAME},
		{.rule = UNWIND_RULE_FP, .cfa = 16, .fp = -2},
		{.rule = UNWIND_RULE_END, .fp = UNWIND_FP_SAME},
	};

	load(scene, rules, 4);
	scene->raw.fp = STACK + 32;
	put(scene, 24, STACK + 96);
	put(scene, 32, STACK + 256);
	put(scene, 88, PC(1));
	put(scene, 96 + 8, STACK + 128); /* + 24 */
	put(scene, 128 + 16, PC(2));
	put(scene, 256, 0);
	put(scene, 264, PC(3));
	EXPECT(scene, UNWIND_COMPLETE, PC(0), PC(1), PC(2), PC(3));
}

static void test_signal(void **state)
{
	struct scene *scene = *state;
	const struct unwind_row rules[] = {
		{.rule = UNWIND_RULE_SP, .cfa = 8, .fp = UNWIND_FP_SAME},
		{.rule = UNWIND_RULE_SIGNAL, .fp = UNWIND_FP_SAME},
		{.rule = UNWIND_RULE_REG, .cfa = 8 << 8 | 13 /* rax */, .fp = UNWIND_FP_SAME},
		{.rule = UNWIND_RULE_REG, .cfa = 8 << 8 | 13, .fp = UNWIND_FP_SAME},
	};
	const uint64_t context = 8 + 40;

	load(scene, rules, 4);
	put(scene, 0, PC(1));
	put(scene, context + 8 * 10, 0x5555);
	put(scene, context + 8 * 13, STACK + 0x800);
	put(scene, context + 8 * 15, STACK + 0x400);
	put(scene, context + 8 * 16, CODE + 16 * 2); /* the function's very first byte */
	put(scene, 0x800, PC(3));
	/* Above it the registers are not known. */
	EXPECT(scene, UNWIND_ODD_RULE, PC(0), PC(1) + 1, CODE + 16 * 2 + 1, PC(3));
}

static void test_ends(void **state)
{
	struct scene *scene = *state;
	const struct unwind_row up = {.rule = UNWIND_RULE_SP, .cfa = 16, .fp = UNWIND_FP_SAME};
	const struct unwind_row down = {.rule = UNWIND_RULE_SP, .cfa = 0, .fp = UNWIND_FP_SAME};
	const struct unwind_row odd = {.rule = UNWIND_RULE_ODD, .fp = UNWIND_FP_SAME};
	const struct unwind_row none = {.rule = UNWIND_RULE_NONE};

	load(scene, &up, 1);
	put(scene, 8, 0);
	EXPECT(scene, UNWIND_COMPLETE, PC(0));
	load(scene, &up, 1);
	put(scene, 8, 0x10);
	EXPECT(scene, UNWIND_NO_CODE, PC(0));
	load(scene, &up, 1);
	scene->raw.len = 15;
	EXPECT(scene, UNWIND_UNREADABLE, PC(0));
	scene->raw.len = sizeof(scene->raw.bytes);
	load(scene, &down, 1);
	EXPECT(scene, UNWIND_BROKEN, PC(0));
	load(scene, &odd, 1);
	EXPECT(scene, UNWIND_ODD_RULE, PC(0));
	load(scene, &none, 1);
	EXPECT(scene, UNWIND_NO_RULE, PC(0));
	load(scene, &up, 1);
	scene->code.module = WALK_NOT_LOADED;
	EXPECT(scene, UNWIND_NO_TABLE, PC(0));
}

static void test_truncated(void **state)
{
	struct scene *scene = *state;
	const struct unwind_row up = {.rule = UNWIND_RULE_SP, .cfa = 8, .fp = UNWIND_FP_SAME};

	load(scene, &up, 1);
	for (uint64_t at = 0; at < 8 * 2 * MAX_FRAMES; at += 8)
		put(scene, at, PC(0));
	assert_int_equal(stack_walk__finish(&scene->walk), UNWIND_TRUNCATED);
	assert_int_equal(scene->walk.frame_cnt, MAX_FRAMES);
}

static void test_replaced_return_address(void **state)
{
	struct scene *scene = *state;
	const struct unwind_row rules[] = {
		{.rule = UNWIND_RULE_SP, .cfa = 16, .fp = UNWIND_FP_SAME},
		{.rule = UNWIND_RULE_END, .fp = UNWIND_FP_SAME},
	};

	load(scene, rules, 2);
	scene->raw.trampoline = 0x7fffffffe000;
	put(scene, 8, scene->raw.trampoline);
	scene->raw.return_cnt = 3;
	scene->raw.returns[0].slot = STACK; /* another call's */
	scene->raw.returns[0].pc = 1;
	scene->raw.returns[1].slot = STACK + 8; /* a tail call: its caller's probe is older */
	scene->raw.returns[1].pc = scene->raw.trampoline;
	scene->raw.returns[2].slot = STACK + 8;
	scene->raw.returns[2].pc = PC(1);
	EXPECT(scene, UNWIND_COMPLETE, PC(0), PC(1));
}

/* A length that does not fit, as memory might claim. */
static void test_length_is_not_trusted(void **state)
{
	struct scene *scene = *state;
	const struct unwind_row up = {.rule = UNWIND_RULE_SP, .cfa = 1 << 30, .fp = UNWIND_FP_SAME};

	load(scene, &up, 1);
	scene->raw.len = UINT32_MAX;
	EXPECT(scene, UNWIND_UNREADABLE, PC(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_stack_pointer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frame_pointer_is_restored, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_frame_pointer_is_not_used, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_plt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_indirect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replaced_return_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_length_is_not_trusted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
