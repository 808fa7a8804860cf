/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pools of real Pythons, and of a process that forges them. */
#include "unit/forged_memory.h"
#include "unit/python_child.h"

#include "python/pools.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

#include "include/python.h"
#include "python/pages.h"
#include "util/clock.h"
#include "util/remote.h"

static struct pool_scan *scan_of(pid_t pid, uint16_t shift, uint16_t alignment, bool keep_data)
{
	const struct pool_scan_opts opts = {
		.pool_shift = shift,
		.alignment = alignment,
		.has_data = keep_data,
		.keep_bytes = UINT64_MAX,
	};
	struct pool_scan *scan = NULL;

	assert_int_equal(pool_scan__read(pid, &opts, &scan), 0);
	return scan;
}

/* Whether the scripts run there. */
static bool is_python3(const struct python *python)
{
	return python->version_hex >= 0x0300;
}

static struct pool_scan *scan_python(const struct python *python, const struct target *child,
				     bool keep_data)
{
	return scan_of(child->pid, python->version_hex >= 0x030a ? 14 : 12, 16, keep_data);
}

/* What has to hold of every scan. */
static void check_scan(const struct pool_scan *scan)
{
	uint64_t live_cnt = 0, live_bytes = 0, bits, at = 0;

	for (size_t i = 0; i < scan->pools.cnt; i++) {
		const struct pool *pool = &scan->pools.items[i];

		assert_true(pool->addr > at || !i);
		assert_int_equal(pool->addr & (scan->pool_bytes - 1), 0);
		at = pool->addr;
		bits = 0;
		for (uint32_t block = 0; block < pool->block_cnt; block++)
			bits += pool_scan__block_is_live(scan, pool, block);
		assert_int_equal(bits, pool->live_cnt);
		live_cnt += bits;
		live_bytes += bits * pool->block_size;
		assert_ptr_equal(pool_scan__find(scan, pool->addr), pool);
		assert_ptr_equal(pool_scan__find(scan, pool->addr + scan->pool_bytes - 1), pool);
		assert_false(pool_scan__is_live(scan, pool->addr));
		assert_false(pool_scan__block_is_live(scan, pool, pool->block_cnt));
	}
	assert_int_equal(live_cnt, scan->live_cnt);
	assert_int_equal(live_bytes, scan->live_bytes);
	assert_int_equal(scan->live_bytes + scan->free_bytes,
			 scan->pools.cnt * (scan->pool_bytes - PYTHON_POOL_HEADER));
}

/* ---- real ones ------------------------------------------------------------------------------- */

static const char ids_script[] = "import sys\n"
				 "class Node(object): __slots__ = ['a%d' % i for i in range(40)]\n"
				 "kept = [Node() for i in range(3000)]\n"
				 "freed = [id(n) for n in kept[1::2]]\n"
				 "del kept[1::2]\n"
				 "n = i = None\n"
				 "floats = [i * 1.5 for i in range(1000)]\n"
				 "print(len(kept) + len(floats) + 1); print(len(freed))\n"
				 "for n in kept: print(id(n))\n"
				 "for n in floats: print(id(n))\n"
				 "print(id(floats))\n"
				 "for n in freed: print(n)\n"
				 "sys.stdout.flush()\n"
				 "sys.stdin.readline()\n";

static void check_live_objects(const struct python *python)
{
	/* sizeof(PyGC_Head) in front of all but the floats */
	uint64_t head = python->version_hex < 0x0308 ? 32 : 16, live, freed, addr;
	struct target child = start_python(python, ids_script);
	uint64_t *addrs;
	struct pool_scan *scan;

	live = next_number(&child);
	freed = next_number(&child);
	assert_int_equal(live, 2501);
	addrs = calloc(live + freed, sizeof(*addrs));
	assert_non_null(addrs);
	for (uint64_t i = 0; i < live + freed; i++)
		addrs[i] = next_number(&child);
	wait_until_idle(&child);
	scan = scan_python(python, &child, false);
	check_scan(scan);
	for (uint64_t i = 0; i < live + freed; i++) {
		bool is_float = i >= 1500 && i < 2500;

		addr = addrs[i] - (is_float ? 0 : head);
		if (pool_scan__is_live(scan, addr) != (i < live))
			fail_msg("Python %s: object %" PRIu64 " at %#" PRIx64 " is told wrong",
				 python->version, i, addr);
		assert_false(pool_scan__is_live(scan, addr + 8));
	}
	assert_int_equal(scan->torn, 0);
	print_message("Python %s: %zu pools, %" PRIu64 " blocks, %" PRIu64 " retried\n",
		      python->version, scan->pools.cnt, scan->live_cnt, scan->retried);
	pool_scan__free(scan);
	free(addrs);
	stop_target(&child);
}

static void test_live_objects(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++)
		if (is_python3(&pythons[i]))
			check_live_objects(&pythons[i]);
}

/* The difference of sys.getallocatedblocks() is that of the scans, but for what reading a line
 * itself allocates. */
static const char blocks_script[] =
	"import sys\n"
	"def mark():\n"
	"    print(sys.getallocatedblocks()); sys.stdout.flush(); sys.stdin.readline()\n"
	"room = [None] * 200000\n"
	"mark(); mark()\n"
	"for i in range(200000): room[i] = (i, i + 0.5)\n"
	"mark()\n"
	"for i in range(0, 200000, 2): room[i] = None\n"
	"mark()\n"
	"room = None\n"
	"mark()\n";

static void test_allocated_blocks(void **state)
{
	struct target child;

	(void)state;
	for (const struct python *python = pythons; python < pythons + python_cnt; python++) {
		int64_t said[5], seen[5], off, worst = 0;

		if (!is_python3(python))
			continue;
		child = start_python(python, blocks_script);
		for (int step = 0; step < 5; step++) {
			struct pool_scan *scan;

			said[step] = (int64_t)next_number(&child);
			wait_until_idle(&child);
			scan = scan_python(python, &child, false);
			check_scan(scan);
			assert_int_equal(scan->torn, 0);
			seen[step] = (int64_t)scan->live_cnt;
			pool_scan__free(scan);
			go_on(&child);
		}
		for (int step = 2; step < 5; step++) {
			off = (seen[step] - seen[step - 1]) - (said[step] - said[step - 1]);
			worst = labs(off) > worst ? labs(off) : worst;
		}
		print_message("Python %s: blocks %" PRId64 " to %" PRId64 " to %" PRId64
			      ", worst difference %" PRId64 "\n",
			      python->version, said[1], said[2], said[4], worst);
		assert_true(said[2] - said[1] > 400000 && worst <= 8);
		stop_target(&child);
	}
}

/* A process that never stops allocating: what is told stays whole. */
static const char busy_script[] = "import sys, threading\n"
				  "kept = [(i, i + 0.5) for i in range(100000)]\n"
				  "def churn():\n"
				  "    while True:\n"
				  "        x = [[j] for j in range(5000)]\n"
				  "for i in range(2): threading.Thread(target=churn).start()\n"
				  "print(len(kept)); sys.stdout.flush()\n";

static void test_busy(void **state)
{
	struct target child;
	uint64_t retried = 0, torn = 0, least = UINT64_MAX;

	(void)state;
	if (!python_cnt)
		skip();
	child = start_python(&pythons[0], busy_script);
	assert_int_equal(next_number(&child), 100000);
	for (int i = 0; i < 40; i++) {
		struct pool_scan *scan = scan_python(&pythons[0], &child, i & 1);

		check_scan(scan);
		retried += scan->retried;
		torn += scan->torn;
		least = scan->live_cnt < least ? scan->live_cnt : least;
		pool_scan__free(scan);
	}
	print_message("busy: 40 scans, %" PRIu64 " pools read again, %" PRIu64 " torn\n", retried,
		      torn);
	assert_true(least >= 300000 && torn <= 40);
	stop_target(&child);
}

static const char big_script[] = "import sys\n"
				 "kept = [i + 0.5 for i in range(1060000)]\n"
				 "del kept[::106]\n" /* of each pool some blocks */
				 "print(len(kept)); sys.stdout.flush()\n"
				 "sys.stdin.readline()\n";

/* One block at a time the pools say the same. */
static void check_single_blocks(pid_t pid, const struct pool_scan_opts *opts,
				const struct pool_scan *scan)
{
	const struct pool *last = &scan->pools.items[scan->pools.cnt - 1];
	size_t live = 0, dead = 0;
	bool lives;

	for (size_t i = 0; i < scan->pools.cnt; i += scan->pools.cnt / 50 + 1) {
		const struct pool *pool = &scan->pools.items[i];

		for (uint32_t k = 0; k < pool->block_cnt && !pool->is_torn; k++) {
			assert_int_equal(pool__block_lives(pid, opts,
							   pool->addr + PYTHON_POOL_HEADER +
								   (uint64_t)k * pool->block_size,
							   &lives),
					 0);
			assert_int_equal(lives, pool_scan__block_is_live(scan, pool, k));
			live += lives;
			dead += !lives;
		}
	}
	assert_true(live > 100 && dead > 0);
	assert_int_equal(pool__block_lives(pid, opts, last->addr, &lives), -ENOENT);
	assert_int_equal(pool__block_lives(pid, opts, 0x10, &lives), -ENOENT);
	assert_int_equal(pool__block_lives(pid, &(struct pool_scan_opts){0}, last->addr, &lives),
			 -EINVAL);
}

/* Of what is not kept all the same can be had, as long as the process is there. */
static void check_read_again(const struct python *python, const struct target *child,
			     uint8_t *bytes)
{
	const struct pool_scan_opts opts = {
		.pool_shift = python->version_hex >= 0x030a ? 14 : 12,
		.alignment = 16,
		.has_data = true,
		.keep_bytes = 6 << 20, /* a window, and something */
	};
	struct pool_scan *scan = NULL;
	size_t kept = 0;
	uint8_t *again;

	assert_int_equal(pool_scan__read(child->pid, &opts, &scan), 0);
	assert_in_range(pool_scan__kept_bytes(scan), 5 << 20, opts.keep_bytes);
	again = malloc(scan->pool_bytes);
	assert_non_null(again);
	for (size_t i = scan->pools.cnt; i--;) {
		const struct pool *pool = &scan->pools.items[i];

		kept += !!pool->data;
		if (remote_read(child->pid, pool->addr, bytes, scan->pool_bytes))
			continue;
		assert_true(pool_scan__read_bytes(scan, pool, 0, again, scan->pool_bytes));
		assert_memory_equal(again, bytes, scan->pool_bytes);
		assert_true(pool_scan__read_bytes(scan, pool, 100, again, 200));
		assert_memory_equal(again, bytes + 100, 200);
	}
	assert_in_range(kept, 1, scan->pools.cnt / 2);
	check_single_blocks(child->pid, &opts, scan);
	assert_false(
		pool_scan__read_bytes(scan, &scan->pools.items[0], 1, again, scan->pool_bytes));
	assert_false(pool_scan__read_bytes(scan, &scan->pools.items[0], UINT64_MAX, again, 2));
	free(again);
	pool_scan__free(scan);
}

static void test_speed_and_data(void **state)
{
	struct target child;
	struct pool_scan *scan;
	uint64_t best = UINT64_MAX, began;
	uint8_t *bytes;

	(void)state;
	if (!python_cnt)
		skip();
	child = start_python(&pythons[0], big_script);
	assert_int_equal(next_number(&child), 1050000);
	wait_until_idle(&child);
	for (int i = 0; i < 5; i++) {
		began = clock_ns(CLOCK_MONOTONIC);
		scan = scan_python(&pythons[0], &child, false);
		began = clock_ns(CLOCK_MONOTONIC) - began;
		best = began < best ? began : best;
		assert_null(scan->pools.items[0].data);
		print_message("%zu pools: %.1f ms\n", scan->pools.cnt, (double)began / 1e6);
		pool_scan__free(scan);
	}
	assert_true(best < 500 * NS_PER_MS);
	scan = scan_python(&pythons[0], &child, true);
	check_scan(scan);
	bytes = malloc(scan->pool_bytes);
	assert_non_null(bytes);
	for (size_t i = 0; i < scan->pools.cnt; i++) {
		const struct pool *pool = &scan->pools.items[i];

		assert_non_null(pool->data);
		if (remote_read(child.pid, pool->addr, bytes, scan->pool_bytes))
			continue; /* its last pages were never touched and are no memory yet */
		assert_memory_equal(pool->data, bytes, scan->pool_bytes);
	}
	pool_scan__free(scan);
	check_read_again(&pythons[0], &child, bytes);
	free(bytes);
	stop_target(&child);
}

/* ---- forged ones ----------------------------------------------------------------------------- */

#define POOL 4096ULL
#define FORGED_CNT 16

/* A pool of 64-byte blocks, of which 10 were begun and the first `free_cnt` are free. */
static void forge(uint8_t *pool, uint32_t free_cnt)
{
	put32(pool, PYTHON_POOL_REF, 10 - free_cnt);
	put64(pool, PYTHON_POOL_FREE, free_cnt ? (uintptr_t)pool + 48 : 0);
	put32(pool, PYTHON_POOL_ARENA, 7);
	put32(pool, PYTHON_POOL_CLASS, 3);
	put32(pool, PYTHON_POOL_NEXT, 48 + 10 * 64);
	put32(pool, PYTHON_POOL_MAX_NEXT, POOL - 64);
	for (uint32_t i = 0; i < free_cnt; i++)
		put64(pool, 48 + i * 64,
		      i + 1 < free_cnt ? (uintptr_t)pool + 48 + (i + 1) * 64 : 0);
}

static const struct pool *find_forged(const struct pool_scan *scan, const struct forged *forged,
				      unsigned int nr)
{
	return pool_scan__find(scan, (uintptr_t)forged->memory + nr * POOL);
}

static void test_forged(void **state)
{
	struct forged forged = map_memory(FORGED_CNT * POOL);
	uint8_t *at = forged.memory;
	struct pool_scan *scan;

	(void)state;
	forge(at, 4);	     /* 0: right */
	forge(at + POOL, 4); /* 1: a cycle */
	put64(at + POOL, 48 + 3 * 64, (uintptr_t)(at + POOL + 48));
	forge(at + 2 * POOL, 4); /* 2: a list that leaves the pool */
	put64(at + 2 * POOL, 48 + 64, (uintptr_t)at + 48);
	forge(at + 3 * POOL, 4); /* 3: kernel addresses */
	put64(at + 3 * POOL, PYTHON_POOL_FREE, UINT64_MAX - 7);
	forge(at + 4 * POOL, 4); /* 4: between two blocks */
	put64(at + 4 * POOL, PYTHON_POOL_FREE, (uintptr_t)(at + 4 * POOL) + 48 + 8);
	forge(at + 5 * POOL, 4); /* 5: a block that was never begun */
	put64(at + 5 * POOL, 48 + 3 * 64, (uintptr_t)(at + 5 * POOL) + 48 + 10 * 64);
	forge(at + 6 * POOL, 4); /* 6: the counter lies */
	put32(at + 6 * POOL, PYTHON_POOL_REF, 9);
	forge(at + 7 * POOL, 4); /* 7: more in use than there are */
	put32(at + 7 * POOL, PYTHON_POOL_REF, 11);
	forge(at + 8 * POOL, 4); /* 8: no size class */
	put32(at + 8 * POOL, PYTHON_POOL_CLASS, UINT32_MAX);
	forge(at + 9 * POOL, 4); /* 9: too large a class */
	put32(at + 9 * POOL, PYTHON_POOL_CLASS, 32);
	put32(at + 9 * POOL, PYTHON_POOL_MAX_NEXT, POOL - 528);
	forge(at + 10 * POOL, 4); /* 10: more begun than fits */
	put32(at + 10 * POOL, PYTHON_POOL_NEXT, 48 + 64 * 64);
	forge(at + 11 * POOL, 4); /* 11: begins in the middle of a block */
	put32(at + 11 * POOL, PYTHON_POOL_NEXT, 48 + 10 * 64 + 16);
	forge(at + 12 * POOL, 4); /* 12: begins in its header */
	put32(at + 12 * POOL, PYTHON_POOL_NEXT, 16);
	forge(at + 13 * POOL, 10);	    /* 13: empty */
	forge(at + 14 * POOL + 8, 4);	    /* 14: not where a pool may begin */
	memset(at + 15 * POOL, 0xff, POOL); /* 15: noise */
	start_forged(&forged, NULL);
	scan = scan_of(forged.pid, 12, 16, true);
	check_scan(scan);
	assert_int_equal(find_forged(scan, &forged, 0)->live_cnt, 6);
	assert_false(find_forged(scan, &forged, 0)->is_torn);
	assert_memory_equal(find_forged(scan, &forged, 0)->data, at, POOL);
	for (unsigned int i = 1; i <= 6; i++) {
		assert_non_null(find_forged(scan, &forged, i));
		assert_true(find_forged(scan, &forged, i)->is_torn);
		assert_in_range(find_forged(scan, &forged, i)->live_cnt, 6, 10);
	}
	for (unsigned int i = 7; i < FORGED_CNT; i++)
		assert_null(find_forged(scan, &forged, i));
	assert_int_equal(scan->torn, 6);
	assert_int_equal(scan->retried, 6);
	assert_int_equal(scan->empty_cnt, 1);
	assert_null(pool_scan__find(scan, 0));
	assert_null(pool_scan__find(scan, UINT64_MAX));
	assert_false(pool_scan__is_live(scan, (uintptr_t)at + 48));
	assert_true(pool_scan__is_live(scan, (uintptr_t)at + 48 + 4 * 64));
	assert_false(pool_scan__is_live(scan, (uintptr_t)at + 48 + 10 * 64));
	pool_scan__free(scan);
	end_forged(&forged);
}

/* Pools of 16 KiB, of which only the first page was ever touched, far from each other. */
static void test_sparse(void **state)
{
	struct forged forged = map_memory(64 * MIB);
	struct pool_scan *scan;

	(void)state;
	for (size_t i = 0; i < 64; i++) {
		uint8_t *pool = forged.memory + i * MIB + 3 * 16384;

		forge(pool, i % 10);
		put32(pool, PYTHON_POOL_MAX_NEXT, 16384 - 64);
	}
	start_forged(&forged, NULL);
	for (int keep = 0; keep < 2; keep++) {
		scan = scan_of(forged.pid, 14, 16, keep);
		check_scan(scan);
		assert_int_equal(scan->pools.cnt, 64);
		assert_int_equal(scan->torn, 0);
		for (size_t i = 0; i < 64; i++) {
			const struct pool *pool = &scan->pools.items[i];

			assert_int_equal(pool->addr,
					 (uintptr_t)forged.memory + i * MIB + 3 * 16384);
			assert_int_equal(pool->live_cnt, 10 - i % 10);
			if (keep)
				assert_memory_equal(pool->data, (void *)pool->addr, 16384);
		}
		pool_scan__free(scan);
	}
	end_forged(&forged);
}

/* What a pool of a running allocator does, faster than any. */
static void toggle(struct forged *forged)
{
	for (;;) {
		*(volatile uint32_t *)forged->memory = 7;
		*(volatile uint32_t *)forged->memory = 6;
	}
}

static void test_never_still(void **state)
{
	struct forged forged = map_memory(2 * POOL);
	uint64_t torn = 0;

	(void)state;
	forge(forged.memory, 4);
	forge(forged.memory + POOL, 2);
	start_forged(&forged, toggle);
	for (int i = 0; i < 200; i++) {
		struct pool_scan *scan = scan_of(forged.pid, 12, 16, false);

		check_scan(scan);
		assert_int_equal(scan->pools.cnt, 2);
		assert_int_equal(scan->pools.items[0].live_cnt, 6);
		assert_false(scan->pools.items[1].is_torn);
		torn += scan->torn;
		pool_scan__free(scan);
	}
	print_message("never still: %" PRIu64 " of 200 torn\n", torn);
	assert_true(torn < 200);
	end_forged(&forged);
}

/* ---- the target pays nothing ----------------------------------------------------------------- */

static void test_untouched_memory(void **state)
{
	struct forged forged = map_memory(8ULL << 30);
	uint64_t before, began;
	struct pool_scan *scan;

	(void)state;
	forge(forged.memory + (5ULL << 30), 4);
	start_forged(&forged, NULL);
	usleep(20000);
	before = rollup_of(forged.pid, "Rss");
	began = clock_ns(CLOCK_MONOTONIC);
	scan = scan_of(forged.pid, 12, 16, false);
	print_message("8 GiB of untouched memory: %.1f ms\n",
		      (double)(clock_ns(CLOCK_MONOTONIC) - began) / 1e6);
	assert_int_equal(rollup_of(forged.pid, "Rss"), before);
	assert_int_equal(scan->pools.cnt, 1);
	assert_int_equal(scan->pools.items[0].live_cnt, 6);
	pool_scan__free(scan);
	end_forged(&forged);
}

static void page_out(struct forged *forged)
{
	for (uint64_t i = 8; i < 16; i++)
		madvise(forged->memory + i * POOL, POOL, MADV_PAGEOUT);
}

static void test_swapped_memory(void **state)
{
	struct forged forged = map_memory(16 * POOL);
	struct pool_scan *scan;

	(void)state;
	for (uint64_t i = 0; i < 16; i++)
		forge(forged.memory + i * POOL, 4);
	start_forged(&forged, page_out);
	usleep(50000);
	if (!rollup_of(forged.pid, "Swap")) {
		end_forged(&forged);
		print_message("this host has no swap\n");
		skip();
	}
	scan = scan_of(forged.pid, 12, 16, false);
	assert_int_equal(scan->swapped_bytes, 8 * POOL);
	assert_int_equal(scan->pools.cnt, 8);
	assert_int_equal(rollup_of(forged.pid, "Swap") * 1024, 8 * POOL);
	pool_scan__free(scan);
	end_forged(&forged);
}

/* Both ways to learn which pages there are say the same. */
static void test_pages(void **state)
{
	struct forged forged = map_memory(4 * MIB);
	const uint64_t start = (uintptr_t)forged.memory, end = start + forged.len;
	struct page_runs scanned = {0}, read = {0};
	struct page_map pages;

	(void)state;
	for (uint64_t at = 0; at < 4 * MIB; at += 3 * POOL)
		forged.memory[at] = 1;
	for (uint64_t at = MIB; at < 2 * MIB; at += POOL)
		forged.memory[at] = 1;
	assert_int_equal(page_map__open(getpid(), &pages), 0);
	assert_int_equal(page_map__list(&pages, start, end, &scanned), 0);
	if (pages.no_scan)
		print_message("this kernel has no PAGEMAP_SCAN\n");
	pages.no_scan = true;
	assert_int_equal(page_map__list(&pages, start, end, &read), 0);
	assert_int_equal(scanned.list.cnt, read.list.cnt);
	assert_true(read.list.cnt > 200);
	assert_memory_equal(scanned.list.items, read.list.items,
			    read.list.cnt * sizeof(*read.list.items));
	page_map__close(&pages);
	array_free(&scanned.list);
	array_free(&read.list);
	munmap(forged.memory, forged.len);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_errors(void **state)
{
	struct pool_scan_opts opts = {.pool_shift = 12, .alignment = 16};
	struct pool_scan *scan = NULL;
	pid_t pid = fork();

	(void)state;
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_int_equal(pool_scan__read(pid, &opts, &scan), -ESRCH);
	opts.pool_shift = 40;
	assert_int_equal(pool_scan__read(getpid(), &opts, &scan), -EINVAL);
	opts.pool_shift = 12;
	opts.alignment = 0;
	assert_int_equal(pool_scan__read(getpid(), &opts, &scan), -EINVAL);
	assert_null(scan);
	pool_scan__free(NULL);
}

static void test_parts(void **state)
{
	enum { CNT = 1000 };
	static uint64_t values[CNT], got[CNT];
	static struct remote_part parts[CNT];

	(void)state;
	for (size_t i = 0; i < CNT; i++) {
		values[i] = i + 1;
		parts[i] = (struct remote_part){
			.addr = i % 7 == 3 ? 16 : (uintptr_t)&values[i],
			.buf = &got[i],
			.len = sizeof(got[i]),
			.err = 1,
		};
	}
	assert_int_equal(remote_read_parts(getpid(), parts, CNT), 0);
	for (size_t i = 0; i < CNT; i++) {
		assert_int_equal(parts[i].err, i % 7 == 3 ? -EFAULT : 0);
		assert_int_equal(got[i], i % 7 == 3 ? 0 : i + 1);
	}
	assert_int_equal(remote_read(getpid(), UINT64_MAX - 3, got, 8), -EFAULT);
	assert_int_equal(remote_read(getpid(), (uintptr_t)values, got, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_live_objects),   cmocka_unit_test(test_allocated_blocks),
		cmocka_unit_test(test_busy),	       cmocka_unit_test(test_speed_and_data),
		cmocka_unit_test(test_forged),	       cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_never_still),    cmocka_unit_test(test_untouched_memory),
		cmocka_unit_test(test_swapped_memory), cmocka_unit_test(test_pages),
		cmocka_unit_test(test_errors),	       cmocka_unit_test(test_parts),
	};

	return cmocka_run_group_tests(tests, find_pythons, forget_pythons);
}
