/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How ranges become a table, how a table is searched, and which tables are refused. */
#include "unit/compile.h"

#include <errno.h>

#include "unwind/table_builder.h"

#define PAGE ((uint64_t)UNWIND_PAGE_SIZE)

static const struct unwind_row none = {.fp = UNWIND_FP_SAME};

static struct unwind_row sp(int32_t cfa)
{
	return (struct unwind_row){.rule = UNWIND_RULE_SP, .fp = UNWIND_FP_SAME, .cfa = cfa};
}

/* Code at vaddr 0x10000000 + its file offset, all of it in one segment. */
#define BASE 0x10000000UL
#define SIZE (8 * PAGE)

struct bench {
	struct elf_segment segment;
	struct elf_segments segments;
	struct table_builder *builder;
	struct unwind_table table;
};

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	if (!bench)
		return -1;
	bench->segment = (struct elf_segment){BASE, 0, SIZE, true};
	bench->segments.list.items = &bench->segment;
	bench->segments.list.cnt = 1;
	bench->builder = table_builder__new(&bench->segments);
	*state = bench;
	return bench->builder ? 0 : -1;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	table_builder__free(bench->builder);
	unwind_table__free(&bench->table);
	free(bench);
	return 0;
}

static void add(struct bench *bench, uint64_t start, uint64_t end, struct unwind_row row)
{
	assert_int_equal(table_builder__add(bench->builder, BASE + start, BASE + end, row), 0);
}

static void finish(struct bench *bench)
{
	assert_int_equal(table_builder__finish(bench->builder, &bench->table), 0);
	assert_true(unwind_table__is_valid(&bench->table));
}

static void check(const struct bench *bench, uint64_t offset, struct unwind_row want)
{
	struct unwind_row row = unwind_table__find(&bench->table, offset);

	assert_int_equal(row.rule, want.rule);
	assert_int_equal(row.fp, want.fp);
	assert_int_equal(row.cfa, want.cfa);
}

/* ---- putting together ------------------------------------------------------------------------ */

static void test_empty(void **state)
{
	struct bench *bench = *state;

	finish(bench);
	assert_int_equal(bench->table.row_cnt, 0);
	assert_int_equal(bench->table.page_cnt, 0);
	check(bench, 0, none);
	check(bench, UINT64_MAX, none);
}

static void test_gaps_and_repeats(void **state)
{
	struct bench *bench = *state;

	add(bench, 0x300, 0x400, sp(8));
	add(bench, 0x100, 0x180, sp(8));
	add(bench, 0x180, 0x200, sp(8)); /* says the same */
	add(bench, 0x200, 0x210, sp(16));
	add(bench, 0x210, 0x210, sp(24)); /* nowhere */
	add(bench, 0x220, 0x210, sp(24));
	finish(bench);
	/* none, 8, 16, none, 8, none */
	assert_int_equal(bench->table.row_cnt, 6);
	assert_int_equal(bench->table.page_cnt, 1);
	check(bench, 0, none);
	check(bench, 0xff, none);
	check(bench, 0x100, sp(8));
	check(bench, 0x1ff, sp(8));
	check(bench, 0x200, sp(16));
	check(bench, 0x20f, sp(16));
	check(bench, 0x210, none);
	check(bench, 0x300, sp(8));
	check(bench, 0x400, none);
	check(bench, PAGE, none);
}

static void test_pages(void **state)
{
	struct bench *bench = *state;

	add(bench, PAGE - 16, PAGE + 16, sp(8));
	add(bench, 3 * PAGE, 4 * PAGE, sp(16));
	add(bench, 4 * PAGE, 6 * PAGE + 1, sp(24));
	finish(bench);
	assert_int_equal(bench->table.page_cnt, 7);
	assert_int_equal(bench->table.pages[0].cnt, 2);
	assert_int_equal(bench->table.pages[1].cnt, 2);
	assert_int_equal(bench->table.pages[2].cnt, 0);
	assert_int_equal(bench->table.pages[3].cnt, 1);
	assert_int_equal(bench->table.pages[4].cnt, 1);
	assert_int_equal(bench->table.pages[5].cnt, 1);
	assert_int_equal(bench->table.pages[6].cnt, 2);
	check(bench, PAGE - 17, none);
	check(bench, PAGE - 16, sp(8));
	check(bench, PAGE, sp(8));
	check(bench, PAGE + 16, none);
	check(bench, 2 * PAGE, none);
	check(bench, 3 * PAGE - 1, none);
	check(bench, 3 * PAGE, sp(16));
	check(bench, 5 * PAGE, sp(24));
	check(bench, 6 * PAGE, sp(24));
	check(bench, 6 * PAGE + 1, none);
	check(bench, 7 * PAGE, none);
}

static void test_first_added_holds(void **state)
{
	struct bench *bench = *state;

	add(bench, 0x100, 0x200, sp(8));
	add(bench, 0x000, 0x180, sp(16));
	add(bench, 0x000, 0x300, sp(24));
	add(bench, 0x120, 0x130, sp(32));
	finish(bench);
	check(bench, 0x0ff, sp(16));
	check(bench, 0x100, sp(8));
	check(bench, 0x125, sp(8));
	check(bench, 0x1ff, sp(8));
	check(bench, 0x200, sp(24));
	check(bench, 0x2ff, sp(24));
	check(bench, 0x300, none);
}

static void test_scanned(void **state)
{
	const struct unwind_row odd = {.rule = UNWIND_RULE_ODD, .fp = 3, .cfa = 5};
	struct bench *bench = *state;

	add(bench, 0x100, 0x200, sp(8));
	table_builder__begin_scanned(bench->builder);
	add(bench, 0x200, 0x300, sp(8)); /* no row of its own */
	add(bench, 0x150, 0x160, sp(16));
	add(bench, 0x300, 0x400, sp(24));
	add(bench, 0x400, 0x410, odd);
	finish(bench);
	check(bench, 0x150, sp(8));
	check(bench, 0x250, sp(8));
	check(bench, 0x300, sp(24));
	/* Rules without operands have none. */
	check(bench, 0x400, (struct unwind_row){.rule = UNWIND_RULE_ODD, .fp = UNWIND_FP_SAME});
	assert_int_equal(bench->table.counts.scanned_rows, 2);
	assert_int_equal(bench->table.counts.odd_rows, 1);
}

/* Addresses become file offsets; what is not code in the file is not there. */
static void test_segments(void **state)
{
	struct elf_segment segments[] = {
		{0x1000, 0, 0x1000, false},	   {0x402000, 0x1000, 0x800, true},
		{0x600000, 0x10000, 16, true},	   {0x700000, UINT64_MAX - 64, 32, true},
		{UINT64_MAX - 8, 0x5000, 8, true},
	};
	struct bench *bench = *state;

	bench->segments.list.items = segments;
	bench->segments.list.cnt = 3;
	assert_int_equal(table_builder__add(bench->builder, 0, UINT64_MAX, sp(8)), 0);
	assert_int_equal(table_builder__add(bench->builder, 0x402800, 0x403000, sp(16)), 0);
	bench->segments.list.cnt = 5;
	assert_int_equal(table_builder__add(bench->builder, 0x700000, 0x700001, sp(16)), -EFBIG);
	assert_int_equal(table_builder__add(bench->builder, UINT64_MAX - 1, UINT64_MAX, sp(32)), 0);
	finish(bench);
	check(bench, 0xfff, none);
	check(bench, 0x1000, sp(8));
	check(bench, 0x17ff, sp(8));
	check(bench, 0x1800, none);
	check(bench, 0x5006, none);
	check(bench, 0x5007, sp(32));
	check(bench, 0x5008, none);
	check(bench, 0x10000, sp(8));
	check(bench, 0x1000f, sp(8));
	check(bench, 0x10010, none);
}

/* The last byte that a table can speak of. */
static void test_end_of_file(void **state)
{
	const uint64_t end = (uint64_t)MAX_UNWIND_PAGES << UNWIND_PAGE_BITS;
	struct bench *bench = *state;

	bench->segment = (struct elf_segment){0, 0, end + 1, true};
	assert_int_equal(table_builder__add(bench->builder, end - 4, end, sp(8)), 0);
	assert_int_equal(table_builder__add(bench->builder, end - 4, end + 1, sp(8)), -EFBIG);
	assert_int_equal(table_builder__add(bench->builder, end, end + 1, sp(8)), -EFBIG);
	finish(bench);
	assert_int_equal(bench->table.page_cnt, MAX_UNWIND_PAGES);
	assert_int_equal(bench->table.row_cnt, 2);
	check(bench, end - 5, none);
	check(bench, end - 1, sp(8));
	check(bench, end, none);
}

/* Beside the simplest thing that does the same: one byte, one answer. */
static void test_against_model(void **state)
{
	struct bench *bench = *state;
	int32_t *model = malloc(SIZE * sizeof(*model));
	unsigned int seed = 20260;

	assert_non_null(model);
	for (int round = 0; round < 40; round++) {
		table_builder__free(bench->builder);
		bench->builder = table_builder__new(&bench->segments);
		memset(model, 0, SIZE * sizeof(*model));
		for (int i = 0; i < 400; i++) {
			uint64_t start = (uint64_t)rand_r(&seed) % SIZE;
			uint64_t len = 1U << rand_r(&seed) % (round % 2 ? 17 : 9);
			int32_t cfa = 8 + rand_r(&seed) % 4 * 8;

			if (rand_r(&seed) % 3 == 0 && i)
				start &= ~0xffffULL;
			len = start + len > SIZE ? SIZE - start : len;
			add(bench, start, start + len, sp(cfa));
			for (uint64_t at = start; at < start + len; at++)
				model[at] = model[at] ? model[at] : cfa;
		}
		finish(bench);
		for (uint64_t at = 0; at < SIZE; at++)
			if (unwind_table__find(&bench->table, at).cfa != model[at])
				fail_msg("round %d, offset %#lx", round, at);
		unwind_table__free(&bench->table);
	}
	free(model);
}

static void test_code_ranges(void **state)
{
	struct code_range items[] = {
		{50, 60}, {10, 20}, {15, 30}, {30, 31}, {40, 40}, {45, 41}, {70, 80}, {72, 75},
	};
	struct code_ranges ranges = {.list = {.items = items, .cnt = 8}};

	(void)state;
	code_ranges__normalize(&ranges);
	assert_int_equal(ranges.list.cnt, 3);
	assert_int_equal(items[0].start, 10);
	assert_int_equal(items[0].end, 31);
	assert_int_equal(items[1].start, 50);
	assert_int_equal(items[1].end, 60);
	assert_int_equal(items[2].start, 70);
	assert_int_equal(items[2].end, 80);
	ranges = (struct code_ranges){0};
	code_ranges__normalize(&ranges);
	assert_int_equal(ranges.list.cnt, 0);
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* A sound table; each test damages a copy. */
struct sample {
	struct unwind_row rows[6];
	struct unwind_page pages[3];
	struct unwind_table table;
};

static struct sample *sample(void)
{
	static struct sample sample;

	sample = (struct sample){
		.rows = {{0, UNWIND_RULE_NONE, UNWIND_FP_SAME, 0},
			 {16, UNWIND_RULE_SP, -2, 16},
			 {32, UNWIND_RULE_PLT, UNWIND_FP_SAME, 11},
			 {48, UNWIND_RULE_REG, UNWIND_FP_LOST, -8 * 256 + 16},
			 {0, UNWIND_RULE_END, UNWIND_FP_SAME, 0},
			 {65535, UNWIND_RULE_FP_DEREF, 0, 0xfff8}},
		.pages = {{0, 4}, {4, 0}, {4, 2}},
		.table = {.rows = sample.rows, .pages = sample.pages, .row_cnt = 6, .page_cnt = 3},
	};
	return &sample;
}

static void test_sound(void **state)
{
	struct unwind_table empty = {0};

	(void)state;
	assert_true(unwind_table__is_valid(&sample()->table));
	assert_true(unwind_table__is_valid(&empty));
}

#define refuse(change)                                                                             \
	do {                                                                                       \
		struct sample *s = sample();                                                       \
                                                                                                   \
		change;                                                                            \
		assert_false(unwind_table__is_valid(&s->table));                                   \
	} while (0)

static void test_damaged_sizes(void **state)
{
	(void)state;
	refuse(s->table.rows = NULL);
	refuse(s->table.pages = NULL);
	refuse(s->table.row_cnt = 5);
	refuse(s->table.row_cnt = 7);
	refuse(s->table.row_cnt = MAX_UNWIND_ROWS + 1);
	refuse(s->table.page_cnt = 2);
	refuse(s->table.page_cnt = 0);
	refuse(s->table.page_cnt = MAX_UNWIND_PAGES + 1);
}

static void test_damaged_pages(void **state)
{
	(void)state;
	refuse(s->pages[0].first = 1);
	refuse(s->pages[1].first = 0);
	refuse(s->pages[2].first = 3);
	refuse(s->pages[2].first = UINT32_MAX);
	refuse(s->pages[0].cnt = 3);
	refuse(s->pages[0].cnt = 5);
	refuse(s->pages[1].cnt = 1);
	refuse(s->pages[2].cnt = 1);
	refuse(s->pages[2].cnt = 3);
	refuse(s->pages[2].cnt = UINT32_MAX);
}

static void test_damaged_rows(void **state)
{
	(void)state;
	refuse(s->rows[0].pc = 1);
	refuse(s->rows[4].pc = 1);
	refuse(s->rows[2].pc = 16);
	refuse(s->rows[2].pc = 15);
	refuse(s->rows[3].pc = 0);
	refuse(s->rows[1].rule = UNWIND_RULE_MAX);
	refuse(s->rows[1].rule = 255);
	refuse(s->rows[0].cfa = 8);
	refuse(s->rows[0].fp = -2);
	refuse(s->rows[4].fp = UNWIND_FP_LOST);
	refuse(s->rows[1].rule = UNWIND_RULE_SIGNAL);
	refuse(s->rows[1].rule = UNWIND_RULE_ODD);
	refuse(s->rows[2].cfa = 0);
	refuse(s->rows[2].cfa = 16);
	refuse(s->rows[2].cfa = -1);
	refuse(s->rows[3].cfa = 17);
	refuse(s->rows[3].cfa = -1);
}

int main(void)
{
#define on_bench(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		on_bench(test_empty),
		on_bench(test_gaps_and_repeats),
		on_bench(test_pages),
		on_bench(test_first_added_holds),
		on_bench(test_scanned),
		on_bench(test_segments),
		on_bench(test_end_of_file),
		on_bench(test_against_model),
		cmocka_unit_test(test_code_ranges),
		cmocka_unit_test(test_sound),
		cmocka_unit_test(test_damaged_sizes),
		cmocka_unit_test(test_damaged_pages),
		cmocka_unit_test(test_damaged_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
