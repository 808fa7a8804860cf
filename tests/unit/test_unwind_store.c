/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/membarrier.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unwind/cell_space.h"
#include "unwind/store.h"

#define CHUNKS 4

struct fixture {
	struct unwind_module *modules;
	struct table_store *store;
	uint64_t *chunks[CHUNKS];
};

static void setup(struct fixture *f, uint32_t chunks, uint32_t max_chunks)
{
	memset(f, 0, sizeof(*f));
	f->modules = calloc(MAX_UNWIND_MODULES, sizeof(*f->modules));
	f->store = table_store__new(f->modules, max_chunks);
	assert_non_null(f->store);
	for (uint32_t i = 0; i < chunks; i++) {
		f->chunks[i] = malloc(UNWIND_CHUNK_CELLS * sizeof(uint64_t));
		memset(f->chunks[i], 0xee, UNWIND_CHUNK_CELLS * sizeof(uint64_t));
		assert_int_equal(table_store__add_chunk(f->store, f->chunks[i]), 0);
	}
}

static void teardown(struct fixture *f)
{
	table_store__free(f->store);
	for (uint32_t i = 0; i < CHUNKS; i++)
		free(f->chunks[i]);
	free(f->modules);
}

static bool can_evict(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) & MEMBARRIER_CMD_GLOBAL;
}

/* Pages with the given counts of rows; `salt` makes them tell who they are. */
static struct unwind_table make_table(const uint32_t *counts, uint32_t page_cnt, uint32_t salt)
{
	struct unwind_table table = {.page_cnt = page_cnt};
	uint32_t at = 0, step;

	for (uint32_t i = 0; i < page_cnt; i++)
		table.row_cnt += counts[i];
	table.rows = calloc(table.row_cnt + 1, sizeof(*table.rows));
	table.pages = calloc(page_cnt + 1, sizeof(*table.pages));
	for (uint32_t i = 0; i < page_cnt; i++) {
		table.pages[i] = (struct unwind_page){.first = at, .cnt = counts[i]};
		step = counts[i] ? UNWIND_PAGE_SIZE / counts[i] : 0;
		for (uint32_t j = 0; j < counts[i]; j++)
			table.rows[at++] = (struct unwind_row){
				.pc = (uint16_t)(j * step),
				.rule = UNWIND_RULE_SP,
				.fp = UNWIND_FP_SAME,
				.cfa = (int32_t)(salt * 1000003 + i * 65537 + j),
			};
	}
	return table;
}

static struct unwind_table random_table(uint32_t max_pages, uint32_t max_rows, uint32_t salt)
{
	uint32_t page_cnt = 1 + (uint32_t)rand() % max_pages;
	uint32_t *counts = calloc(page_cnt, sizeof(*counts));
	struct unwind_table table;

	for (uint32_t i = 0; i < page_cnt; i++)
		counts[i] = rand() % 4 ? (uint32_t)rand() % max_rows : 0;
	counts[page_cnt - 1] = 1 + (uint32_t)rand() % max_rows;
	table = make_table(counts, page_cnt, salt);
	free(counts);
	return table;
}

static void assert_row(const struct fixture *f, const struct unwind_table *table, uint32_t module,
		       uint64_t offset)
{
	struct unwind_row want = unwind_table__find(table, offset);
	struct unwind_row got = table_store__find(f->store, module, offset);

	assert_int_equal(got.rule, want.rule);
	assert_int_equal(got.cfa, want.cfa);
	assert_int_equal(got.pc, want.pc);
}

static void assert_table(const struct fixture *f, const struct unwind_table *table, uint32_t module)
{
	uint64_t size = (uint64_t)table->page_cnt << UNWIND_PAGE_BITS;

	for (uint32_t i = 0; i < table->page_cnt; i++) {
		uint64_t page = (uint64_t)i << UNWIND_PAGE_BITS;

		assert_row(f, table, module, page);
		assert_row(f, table, module, page + UNWIND_PAGE_SIZE - 1);
		for (int j = 0; j < 5; j++)
			assert_row(f, table, module, page + (uint32_t)rand() % UNWIND_PAGE_SIZE);
	}
	assert_int_equal(table_store__find(f->store, module, size).rule, UNWIND_RULE_NONE);
	assert_int_equal(table_store__find(f->store, module, UINT64_MAX).rule, UNWIND_RULE_NONE);
}

static void test_numbers(void **state)
{
	struct unwind_table empty = {0}, table;
	struct table_store_usage usage;
	uint32_t module = 99, counts[] = {3, 0, 5};
	struct fixture f;

	(void)state;
	setup(&f, 1, 1);
	table = make_table(counts, 3, 1);
	assert_true(unwind_table__is_valid(&table));
	assert_int_equal(table_store__put(f.store, &table, 0, &module), 0);
	assert_int_equal(module, 2);
	assert_table(&f, &table, 2);
	assert_int_equal(table_store__find(f.store, 2, 1ULL << UNWIND_PAGE_BITS).rule,
			 UNWIND_RULE_NONE);
	assert_int_equal(table_store__put(f.store, &empty, 0, &module), 0);
	assert_int_equal(module, 3);
	assert_int_equal(f.modules[3].state, UNWIND_MODULE_BARE);
	assert_int_equal(table_store__find(f.store, 3, 0).rule, UNWIND_RULE_NONE);
	assert_int_equal(table_store__put(f.store, &table, UNWIND_MODULE_VDSO, &module), 0);
	assert_int_equal(module, UNWIND_MODULE_VDSO);
	assert_table(&f, &table, UNWIND_MODULE_VDSO);
	table_store__usage(f.store, &usage);
	assert_int_equal(usage.used_cells, 2 * 11);
	assert_int_equal(usage.cells, UNWIND_CHUNK_CELLS);
	assert_int_equal(usage.modules, 2);
	assert_int_equal(f.modules[0].state, UNWIND_MODULE_FREE);
	/* A bare module may get rows later. */
	assert_int_equal(table_store__put(f.store, &table, 3, &module), 0);
	assert_int_equal(module, 3);
	assert_table(&f, &table, 3);
	assert_int_equal(table_store__put(f.store, &empty, MAX_UNWIND_MODULES - 1, &module), 0);
	module = 7;
	assert_int_equal(table_store__put(f.store, &empty, 0, &module), -ENFILE);
	assert_int_equal(table_store__put(f.store, &empty, MAX_UNWIND_MODULES, &module), -ENFILE);
	assert_int_equal(module, 7);
	unwind_table__free(&table);
	teardown(&f);
}

/* The index of a table and the rows of each page lie in one chunk. */
static void assert_in_chunks(const struct fixture *f, uint32_t module)
{
	const struct unwind_module *entry = &f->modules[module];
	struct unwind_page page;

	assert_int_equal(entry->pages_at >> UNWIND_CHUNK_BITS,
			 (entry->pages_at + entry->page_cnt - 1) >> UNWIND_CHUNK_BITS);
	for (uint32_t i = 0; i < entry->page_cnt; i++) {
		memcpy(&page,
		       f->chunks[entry->pages_at >> UNWIND_CHUNK_BITS] +
			       (entry->pages_at + i) % UNWIND_CHUNK_CELLS,
		       sizeof(page));
		if (page.cnt)
			assert_int_equal(page.first >> UNWIND_CHUNK_BITS,
					 (page.first + page.cnt - 1) >> UNWIND_CHUNK_BITS);
	}
}

static void test_chunk_boundaries(void **state)
{
	/* The index and one page fill a chunk but for a cell; the next page must go elsewhere. */
	uint32_t counts[] = {65536, 65531, 2, 1, 65536, 60000};
	struct unwind_table table, other;
	struct table_store_usage usage;
	struct fixture f;
	uint32_t module;

	(void)state;
	setup(&f, 1, CHUNKS);
	table = make_table(counts, 6, 5);
	assert_int_equal(table_store__put(f.store, &table, 0, &module), -ENOSPC);
	table_store__usage(f.store, &usage);
	assert_int_equal(usage.used_cells, 0);
	assert_int_equal(f.modules[2].state, UNWIND_MODULE_FREE);
	f.chunks[1] = malloc(UNWIND_CHUNK_CELLS * sizeof(uint64_t));
	assert_int_equal(table_store__add_chunk(f.store, f.chunks[1]), 0);
	assert_int_equal(table_store__put(f.store, &table, 0, &module), 0);
	assert_in_chunks(&f, module);
	assert_table(&f, &table, module);
	/* Small ones go into the gaps. */
	other = make_table(counts + 3, 1, 6);
	table_store__usage(f.store, &usage);
	for (uint64_t left = usage.cells - usage.used_cells; left >= 2; left -= 2) {
		int err = table_store__put(f.store, &other, 0, &module);

		if (err) /* two gaps of one cell are no place for two */
			assert_int_equal(err, -ENOSPC);
		else
			assert_table(&f, &other, module);
	}
	assert_table(&f, &table, 2);
	unwind_table__free(&other);
	unwind_table__free(&table);
	teardown(&f);
}

static void test_too_big(void **state)
{
	uint32_t counts[] = {65536, 65536, 65536, 65536, 65536};
	struct unwind_table table;
	struct fixture f;
	uint32_t module;

	(void)state;
	/* The index takes away from the first chunk, so that only one page fits there. */
	setup(&f, 1, 2);
	table = make_table(counts, 4, 5);
	assert_int_equal(table_store__put(f.store, &table, 0, &module), -E2BIG);
	unwind_table__free(&table);
	table = make_table(counts, 3, 5);
	assert_int_equal(table_store__put(f.store, &table, 0, &module), -ENOSPC);
	unwind_table__free(&table);
	assert_int_equal(table_store__evict(f.store, 0), 0);
	f.chunks[1] = malloc(UNWIND_CHUNK_CELLS * sizeof(uint64_t));
	assert_int_equal(table_store__add_chunk(f.store, f.chunks[1]), 0);
	assert_int_equal(table_store__add_chunk(f.store, f.chunks[1]), -ENOSPC);
	teardown(&f);
}

static void test_evicts_the_oldest(void **state)
{
	uint32_t counts[] = {20000}, module, now;
	struct table_store_usage usage;
	struct unwind_table table[7];
	struct fixture f;

	(void)state;
	if (!can_evict())
		skip();
	setup(&f, 1, 1);
	for (uint32_t i = 0; i < 7; i++)
		table[i] = make_table(counts, 1, i);
	assert_int_equal(table_store__put(f.store, &table[0], UNWIND_MODULE_VDSO, &module), 0);
	for (uint32_t i = 1; i < 6; i++)
		assert_int_equal(table_store__put(f.store, &table[i], 0, &module), 0);
	assert_int_equal(table_store__put(f.store, &table[6], 0, &module), -ENOSPC);
	now = f.modules[2].used;
	/* The clock turns over: 2^32 - 5 is before 3. */
	f.modules[UNWIND_MODULE_VDSO].used = now - 2000000000;
	f.modules[2].used = now - 10;
	f.modules[3].used = now - 4000000000; /* long ago, however the numbers look */
	f.modules[4].used = now - 3000000000;
	f.modules[5].used = now + 3; /* by a clock that is ahead of ours */
	f.modules[6].used = now;
	assert_int_equal(table_store__evict(f.store, 3), 20001);
	assert_int_equal(f.modules[4].state, UNWIND_MODULE_EVICTED);
	assert_int_equal(table_store__find(f.store, 4, 0).rule, UNWIND_RULE_NONE);
	assert_int_equal(table_store__put(f.store, &table[6], 0, &module), 0);
	assert_int_equal(module, 7);
	assert_table(&f, &table[6], 7);
	f.modules[4].state = UNWIND_MODULE_WANTED; /* so says the kernel side */
	assert_int_equal(table_store__put(f.store, &table[3], 4, &module), -ENOSPC);
	assert_int_equal(table_store__evict(f.store, 4), 20001);
	assert_int_equal(f.modules[3].state, UNWIND_MODULE_EVICTED);
	assert_int_equal(table_store__put(f.store, &table[3], 4, &module), 0);
	assert_int_equal(module, 4);
	assert_table(&f, &table[3], 4);
	for (int i = 0; i < 5; i++)
		assert_int_equal(table_store__evict(f.store, 0), 20001);
	assert_int_equal(table_store__evict(f.store, 0), 0);
	assert_table(&f, &table[0], UNWIND_MODULE_VDSO);
	table_store__usage(f.store, &usage);
	assert_int_equal(usage.evictions, 7);
	assert_int_equal(usage.modules, 1);
	assert_int_equal(usage.used_cells, 20001);
	for (uint32_t i = 0; i < 7; i++)
		unwind_table__free(&table[i]);
	teardown(&f);
}

static void test_replaces(void **state)
{
	uint32_t counts[] = {50000, 40000}, module;
	struct unwind_table first, second, empty = {0};
	struct table_store_usage usage;
	struct fixture f;

	(void)state;
	if (!can_evict())
		skip();
	setup(&f, 1, 2);
	first = make_table(counts, 1, 1);
	second = make_table(counts + 1, 1, 2);
	assert_int_equal(table_store__put(f.store, &first, 0, &module), 0);
	assert_int_equal(table_store__put(f.store, &second, 2, &module), 0);
	assert_table(&f, &second, 2);
	assert_int_equal(table_store__put(f.store, &first, 2, &module), 0);
	assert_int_equal(table_store__put(f.store, &first, 0, &module), 0);
	/* No room beside the old one, which stays. */
	assert_int_equal(table_store__put(f.store, &second, 2, &module), -ENOSPC);
	assert_table(&f, &first, 2);
	assert_int_equal(table_store__put(f.store, &empty, 2, &module), 0);
	assert_int_equal(f.modules[2].state, UNWIND_MODULE_BARE);
	table_store__usage(f.store, &usage);
	assert_int_equal(usage.used_cells, 50001);
	assert_int_equal(usage.modules, 1);
	assert_int_equal(usage.evictions, 0);
	unwind_table__free(&first);
	unwind_table__free(&second);
	teardown(&f);
}

#define TABLES 40

/* Tables come and go; each that is loaded always answers as its own copy does. */
static void test_random(void **state)
{
	struct unwind_table tables[TABLES] = {0};
	struct table_store_usage usage;
	uint64_t cells;
	struct fixture f;
	uint32_t module;

	(void)state;
	if (!can_evict())
		skip();
	srand(7);
	setup(&f, CHUNKS, CHUNKS);
	for (uint32_t round = 0; round < 200; round++) {
		uint32_t i = 2 + (uint32_t)rand() % (TABLES - 2);
		int err;

		if (!tables[i].rows || !(rand() % 3)) {
			unwind_table__free(&tables[i]);
			tables[i] = random_table(rand() % 5 ? 4 : 60, 8000, round);
		} else if (f.modules[i].state == UNWIND_MODULE_LOADED) {
			assert_table(&f, &tables[i], i);
			continue;
		}
		/* Replaced: what the module had is another table. */
		while ((err = table_store__put(f.store, &tables[i], i, &module)) == -ENOSPC)
			assert_true(table_store__evict(f.store, i) ||
				    f.modules[i].state == UNWIND_MODULE_LOADED);
		assert_int_equal(err, 0);
		assert_in_chunks(&f, i);
		assert_table(&f, &tables[i], i);
		cells = 0;
		for (uint32_t j = 0; j < TABLES; j++)
			if (f.modules[j].state == UNWIND_MODULE_LOADED)
				cells += tables[j].row_cnt + tables[j].page_cnt;
		table_store__usage(f.store, &usage);
		assert_int_equal(usage.used_cells, cells);
	}
	assert_true(usage.evictions > 20);
	for (uint32_t i = 0; i < TABLES; i++) {
		if (f.modules[i].state == UNWIND_MODULE_LOADED)
			assert_table(&f, &tables[i], i);
		unwind_table__free(&tables[i]);
	}
	teardown(&f);
}

/* What is taken is never taken twice, and what was given back can be taken again as a whole. */
static void test_cell_space(void **state)
{
	static uint8_t owner[3 * UNWIND_CHUNK_CELLS];
	struct cell_range ranges[200] = {0};
	struct cell_space space = {0};
	uint32_t from = 0, at;

	(void)state;
	srand(3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(cell_space__add_chunk(&space), 0);
	for (int round = 0; round < 20000; round++) {
		struct cell_range *range = &ranges[rand() % 200];

		if (range->cnt) {
			for (uint32_t i = 0; i < range->cnt; i++)
				assert_int_equal(owner[range->at + i]--, 1);
			cell_space__give(&space, *range);
			range->cnt = 0;
			continue;
		}
		range->cnt = 1 + (uint32_t)rand() % (rand() % 2 ? 5 : 9000);
		if (cell_space__take(&space, range->cnt, &from, &range->at)) {
			range->cnt = 0;
			continue;
		}
		assert_int_equal(range->at >> UNWIND_CHUNK_BITS,
				 (range->at + range->cnt - 1) >> UNWIND_CHUNK_BITS);
		assert_int_equal(range->at >> UNWIND_CHUNK_BITS, from);
		for (uint32_t i = 0; i < range->cnt; i++)
			assert_int_equal(owner[range->at + i]++, 0);
	}
	for (int i = 0; i < 200; i++)
		if (ranges[i].cnt)
			cell_space__give(&space, ranges[i]);
	assert_int_equal(space.free_cnt, 3 * UNWIND_CHUNK_CELLS);
	for (int i = 0; i < 3; i++)
		assert_int_equal(cell_space__take(&space, UNWIND_CHUNK_CELLS, &from, &at), 0);
	assert_int_equal(cell_space__take(&space, 1, &from, &at), -ENOSPC);
	cell_space__free(&space);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),	   cmocka_unit_test(test_chunk_boundaries),
		cmocka_unit_test(test_too_big),	   cmocka_unit_test(test_evicts_the_oldest),
		cmocka_unit_test(test_replaces),   cmocka_unit_test(test_random),
		cmocka_unit_test(test_cell_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
