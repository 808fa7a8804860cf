/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table goes into the chunks page by page, since rows that are searched must lie in one chunk.
 * Readers in the kernel take no lock: they look at a module's state, then follow its page index. So
 * a module's state is written last, and cells are only given to another table after a grace period
 * in which their module was not loaded: membarrier(MEMBARRIER_CMD_GLOBAL) is synchronize_rcu() in
 * the kernel (kernel/sched/membarrier.c), and BPF programs run under rcu_read_lock(). Where that
 * call does not exist (nohz_full), nothing is ever evicted.
 */
#include "unwind/store.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "unwind/cell_space.h"

#define FIRST_NUMBER (UNWIND_MODULE_VDSO + 1)
#define MAX_AHEAD 4096 /* of the clock, 17 ms each */

/* What the store knows of a module; the shared entry is only written, the kernel writes it too. */
struct placed {
	ARRAY(struct cell_range) cells;
	bool is_loaded; /* and has cells */
};

struct table_store {
	struct unwind_module *modules; /* borrowed */
	ARRAY(uint64_t *) chunks;      /* borrowed */
	struct cell_space space;
	struct placed *placed; /* MAX_UNWIND_MODULES of them */
	uint32_t max_chunks, next_number;
	uint32_t loaded;
	uint64_t evictions;
};

struct table_store *table_store__new(struct unwind_module *modules, uint32_t max_chunks)
{
	struct table_store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	store->modules = modules;
	store->max_chunks = max_chunks < MAX_UNWIND_CHUNKS ? max_chunks : MAX_UNWIND_CHUNKS;
	store->next_number = FIRST_NUMBER;
	store->placed = calloc(MAX_UNWIND_MODULES, sizeof(*store->placed));
	if (!store->placed) {
		free(store);
		return NULL;
	}
	return store;
}

void table_store__free(struct table_store *store)
{
	if (!store)
		return;
	for (uint32_t i = 0; i < MAX_UNWIND_MODULES; i++)
		array_free(&store->placed[i].cells);
	free(store->placed);
	cell_space__free(&store->space);
	array_free(&store->chunks);
	free(store);
}

int table_store__add_chunk(struct table_store *store, uint64_t *cells)
{
	int err;

	if (store->chunks.cnt >= store->max_chunks)
		return -ENOSPC;
	err = array_push(&store->chunks, cells);
	if (err)
		return err;
	err = cell_space__add_chunk(&store->space);
	if (err)
		store->chunks.cnt--;
	return err;
}

/* ---- cells ---------------------------------------------------------------------------------- */

static uint64_t *cell(const struct table_store *store, uint32_t number)
{
	return store->chunks.items[number >> UNWIND_CHUNK_BITS] +
	       (number & (UNWIND_CHUNK_CELLS - 1));
}

static void give_back(struct table_store *store, struct placed *placed)
{
	for (size_t i = 0; i < placed->cells.cnt; i++)
		cell_space__give(&store->space, placed->cells.items[i]);
	array_free(&placed->cells);
}

static int take(struct table_store *store, struct placed *placed, uint32_t cnt,
		uint32_t *from_chunk, uint32_t *ret_at)
{
	struct cell_range range = {.cnt = cnt}, *last;
	int err;

	err = array_reserve_one(&placed->cells);
	if (!err)
		err = cell_space__take(&store->space, cnt, from_chunk, &range.at);
	if (err)
		return err;
	last = placed->cells.cnt ? &placed->cells.items[placed->cells.cnt - 1] : NULL;
	/* A table that fills gaps in order is one range a chunk, not one a page. */
	if (last && last->at + last->cnt == range.at &&
	    last->at >> UNWIND_CHUNK_BITS == range.at >> UNWIND_CHUNK_BITS)
		last->cnt += cnt;
	else
		placed->cells.items[placed->cells.cnt++] = range;
	*ret_at = range.at;
	return 0;
}

/* Whether the table would fit into the store if nothing else were there. */
static bool could_fit(const struct table_store *store, const struct unwind_table *table)
{
	uint32_t chunks = 1, left = UNWIND_CHUNK_CELLS, cnt = table->page_cnt;

	for (uint32_t i = 0; cnt <= UNWIND_CHUNK_CELLS; i++) {
		if (cnt > left) {
			left = UNWIND_CHUNK_CELLS;
			chunks++;
		}
		left -= cnt;
		if (i == table->page_cnt)
			return chunks <= store->max_chunks;
		cnt = table->pages[i].cnt;
	}
	return false;
}

/* Copies the table into cells. The caller gives back what was taken, on failure too. */
static int place(struct table_store *store, const struct unwind_table *table, struct placed *placed,
		 uint32_t *ret_pages_at)
{
	uint32_t from_chunk = 0, pages_at;
	int err;

	if ((uint64_t)table->row_cnt + table->page_cnt > store->space.free_cnt)
		return -ENOSPC;
	err = take(store, placed, table->page_cnt, &from_chunk, &pages_at);
	for (uint32_t i = 0; !err && i < table->page_cnt; i++) {
		struct unwind_page page = {.cnt = table->pages[i].cnt};

		if (page.cnt)
			err = take(store, placed, page.cnt, &from_chunk, &page.first);
		if (err)
			return err;
		if (page.cnt)
			memcpy(cell(store, page.first), table->rows + table->pages[i].first,
			       page.cnt * sizeof(struct unwind_row));
		memcpy(cell(store, pages_at + i), &page, sizeof(page));
	}
	if (!err)
		*ret_pages_at = pages_at;
	return err;
}

/* ---- modules -------------------------------------------------------------------------------- */

/* The kernel side's clock: see find_row() in bpf/code.bpf.c. */
static uint32_t clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)(((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec) >> 24);
}

static void set_state(struct unwind_module *module, uint32_t state)
{
	__atomic_store_n(&module->state, state, __ATOMIC_SEQ_CST);
}

/* Takes the table out of the kernel's sight and waits until nobody looks into it any more. */
static int retire(struct table_store *store, uint32_t number)
{
	struct unwind_module *module = &store->modules[number];

	set_state(module, UNWIND_MODULE_EVICTED);
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0)) {
		set_state(module, UNWIND_MODULE_LOADED);
		return -ENOTSUP;
	}
	give_back(store, &store->placed[number]);
	store->placed[number].is_loaded = false;
	store->loaded--;
	return 0;
}

static int put_rows(struct table_store *store, const struct unwind_table *table, uint32_t number)
{
	struct unwind_module *module = &store->modules[number];
	struct placed placed = {.is_loaded = true};
	uint32_t pages_at;
	int err;

	if (!could_fit(store, table))
		return -E2BIG;
	err = place(store, table, &placed, &pages_at);
	if (!err && store->placed[number].is_loaded)
		err = retire(store, number);
	if (err) {
		give_back(store, &placed);
		return err;
	}
	store->placed[number] = placed;
	store->loaded++;
	module->pages_at = pages_at;
	module->page_cnt = table->page_cnt;
	/* What nobody looked into yet is not what nobody needs. */
	__atomic_store_n(&module->used, clock_now(), __ATOMIC_RELAXED);
	__atomic_store_n(&module->state, UNWIND_MODULE_LOADED, __ATOMIC_RELEASE);
	return 0;
}

int table_store__put(struct table_store *store, const struct unwind_table *table, uint32_t module,
		     uint32_t *ret_module)
{
	uint32_t number = module ? module : store->next_number;
	int err = 0;

	if (number >= MAX_UNWIND_MODULES)
		return -ENFILE;
	if (table->row_cnt) {
		err = put_rows(store, table, number);
	} else {
		if (store->placed[number].is_loaded)
			err = retire(store, number);
		if (!err)
			set_state(&store->modules[number], UNWIND_MODULE_BARE);
	}
	if (err)
		return err;
	if (number >= store->next_number)
		store->next_number = number + 1;
	*ret_module = number;
	return 0;
}

size_t table_store__evict(struct table_store *store, uint32_t keep_module)
{
	uint32_t now = clock_now(), age, oldest = 0, victim = UNWIND_MODULE_NONE;
	uint64_t free_before = store->space.free_cnt;

	for (uint32_t i = FIRST_NUMBER; i < store->next_number; i++) {
		if (i == keep_module || !store->placed[i].is_loaded)
			continue;
		age = now - __atomic_load_n(&store->modules[i].used, __ATOMIC_RELAXED);
		/* The kernel may look at its clock after us. */
		if (age > UINT32_MAX - MAX_AHEAD)
			age = 0;
		if (victim && age <= oldest)
			continue;
		oldest = age;
		victim = i;
	}
	if (!victim || retire(store, victim))
		return 0;
	store->evictions++;
	return (size_t)(store->space.free_cnt - free_before);
}

void table_store__usage(const struct table_store *store, struct table_store_usage *ret)
{
	uint64_t cells = (uint64_t)store->chunks.cnt * UNWIND_CHUNK_CELLS;

	*ret = (struct table_store_usage){
		.used_cells = cells - store->space.free_cnt,
		.cells = cells,
		.modules = store->loaded,
		.evictions = store->evictions,
	};
}

struct unwind_row table_store__find(const struct table_store *store, uint32_t module,
				    uint64_t offset)
{
	const struct unwind_module *entry = &store->modules[module];
	struct unwind_row row, best = {0};
	struct unwind_page page;
	uint32_t half;

	if (__atomic_load_n(&entry->state, __ATOMIC_ACQUIRE) != UNWIND_MODULE_LOADED ||
	    offset >> UNWIND_PAGE_BITS >= entry->page_cnt)
		return best;
	memcpy(&page, cell(store, entry->pages_at + (uint32_t)(offset >> UNWIND_PAGE_BITS)),
	       sizeof(page));
	while (page.cnt) {
		half = page.cnt / 2;
		memcpy(&row, cell(store, page.first + half), sizeof(row));
		if (row.pc <= (offset & (UNWIND_PAGE_SIZE - 1))) {
			best = row;
			page.first += half + 1;
			page.cnt -= half + 1;
		} else {
			page.cnt = half;
		}
	}
	return best;
}
