/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory goes by in windows of a few MiB, a call each; what is not in memory is left out of the
 * window (pages.h). Where a pool may begin, its header is looked at: magic numbers are not in it,
 * but two of its fields follow from a third, and the free list must hold what the counter says.
 *
 * The process goes on meanwhile: a pool whose list and counter disagree is read again, alone and
 * thus quickly. Objects/obmalloc.c keeps them apart for a few instructions only.
 */
#include "python/pools.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "include/python.h"
#include "python/pages.h"
#include "python/pool_store.h"
#include "util/clock.h"
#include "util/procfs.h"
#include "util/remote.h"

#define WINDOW_BYTES (4ULL << 20)
#define PARTS_A_WINDOW 256
#define MAX_TRIES 6
#define MIN_POOL_SHIFT 12
#define MAX_POOL_SHIFT 16
#define MAX_BLOCKS ((1 << MAX_POOL_SHIFT) / 8)

/* Behind pool_scan.memory. */
struct scan_memory {
	struct pool_store *store; /* NULL = nobody asks for bytes */
	uint32_t *index;	  /* open addressing by pool number: place in `pools` + 1 */
	uint64_t index_mask;
	unsigned int pool_shift;
	uint64_t bit_cnt, bit_cap;
};

struct scanner {
	pid_t pid;
	struct pool_scan_opts opts;
	uint64_t pool_bytes;
	struct pool_scan *scan;
	struct scan_memory *memory;
	struct page_map pages;
	struct page_runs runs;
	uint8_t *window; /* WINDOW_BYTES */
	uint64_t live[MAX_BLOCKS / 64];
};

/* What the bytes of a pool say. */
enum verdict { IS_NONE, IS_EMPTY, IS_LIVE, IS_TORN };

struct pool_look {
	uint32_t size, block_cnt, live_cnt;
};

static uint32_t word32(const uint8_t *data, size_t off)
{
	uint32_t value;

	memcpy(&value, data + off, sizeof(value));
	return value;
}

static uint64_t word64(const uint8_t *data, size_t off)
{
	uint64_t value;

	memcpy(&value, data + off, sizeof(value));
	return value;
}

/* Reads a pool's header and free list; `live` gets a bit for each block in use. */
static enum verdict look_at(const struct scanner *scanner, uint64_t addr, const uint8_t *data,
			    uint64_t *live, struct pool_look *ret)
{
	uint64_t size = ((uint64_t)word32(data, PYTHON_POOL_CLASS) + 1) * scanner->opts.alignment;
	uint32_t next = word32(data, PYTHON_POOL_NEXT), ref = word32(data, PYTHON_POOL_REF);
	uint64_t free_block = word64(data, PYTHON_POOL_FREE), off;
	uint32_t carved, i;

	if (size > POOL_MAX_BLOCK ||
	    word32(data, PYTHON_POOL_MAX_NEXT) != scanner->pool_bytes - size)
		return IS_NONE;
	if (next < PYTHON_POOL_HEADER + size || next > scanner->pool_bytes ||
	    (next - PYTHON_POOL_HEADER) % size)
		return IS_NONE;
	carved = (next - PYTHON_POOL_HEADER) / (uint32_t)size;
	if (ref > carved)
		return IS_NONE;
	memset(live, 0, MAX_BLOCKS / 8);
	memset(live, 0xff, carved / 64 * 8);
	if (carved % 64)
		live[carved / 64] = (1ULL << carved % 64) - 1;
	*ret = (struct pool_look){
		.size = (uint32_t)size,
		.block_cnt = (uint32_t)((scanner->pool_bytes - PYTHON_POOL_HEADER) / size),
		.live_cnt = carved,
	};
	while (free_block) {
		off = free_block - addr - PYTHON_POOL_HEADER;
		if (off >= next - PYTHON_POOL_HEADER || (uint32_t)off % size)
			return IS_TORN;
		i = (uint32_t)off / (uint32_t)size;
		if (!(live[i / 64] >> i % 64 & 1))
			return IS_TORN;
		live[i / 64] &= ~(1ULL << i % 64);
		ret->live_cnt--;
		free_block = word64(data, off + PYTHON_POOL_HEADER);
	}
	if (ret->live_cnt != ref)
		return IS_TORN;
	return ref ? IS_LIVE : IS_EMPTY;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A run of pages was not there as a whole any more: takes the pages that are. */
static int read_pages(const struct scanner *scanner, const struct remote_part *part)
{
	int err;

	for (uint64_t at = 0; at < part->len; at += scanner->pages.page_bytes) {
		uint8_t *page = (uint8_t *)part->buf + at;

		err = remote_read(scanner->pid, part->addr + at, page, scanner->pages.page_bytes);
		if (err == -EFAULT)
			memset(page, 0, scanner->pages.page_bytes);
		else if (err)
			return err;
	}
	return 0;
}

static int read_parts(const struct scanner *scanner, struct remote_part *parts, size_t cnt)
{
	int err = remote_read_parts(scanner->pid, parts, cnt);

	for (size_t i = 0; !err && i < cnt; i++)
		if (parts[i].err)
			err = read_pages(scanner, &parts[i]);
	return err;
}

/*
 * Reads [start, end) of the target, zeros where it has nothing in memory. `first_run` is the first
 * run of pages that ends behind `start`.
 */
static int read_window(const struct scanner *scanner, uint64_t start, uint64_t end,
		       size_t first_run, uint8_t *buf)
{
	const struct page_runs *runs = &scanner->runs;
	struct remote_part parts[PARTS_A_WINDOW];
	uint64_t at = start;
	size_t cnt = 0;
	int err = 0;

	for (size_t i = first_run; !err && i < runs->list.cnt; i++) {
		const struct page_run *run = &runs->list.items[i];
		uint64_t from = run->start > at ? run->start : at;
		uint64_t to = run->end < end ? run->end : end;

		if (run->start >= end)
			break;
		if (run->end <= at)
			continue;
		memset(buf + (at - start), 0, from - at);
		parts[cnt++] = (struct remote_part){
			.addr = from,
			.buf = buf + (from - start),
			.len = to - from,
		};
		at = to;
		if (cnt == PARTS_A_WINDOW) {
			err = read_parts(scanner, parts, cnt);
			cnt = 0;
		}
	}
	memset(buf + (at - start), 0, end - at);
	return err ? err : read_parts(scanner, parts, cnt);
}

/* ---- results --------------------------------------------------------------------------------- */

static int add_bits(struct scanner *scanner, uint32_t bit_cnt)
{
	struct scan_memory *memory = scanner->memory;
	uint64_t at = memory->bit_cnt, end = at + bit_cnt, *bits = scanner->scan->live_bits;

	if (end > UINT32_MAX)
		return -EOVERFLOW;
	/* A word more than needed: the shift below carries into it. */
	if (end / 64 + 2 > memory->bit_cap) {
		uint64_t cap = memory->bit_cap ? memory->bit_cap * 2 : 4096;

		bits = realloc(bits, cap * sizeof(*bits));
		if (!bits)
			return -ENOMEM;
		memset(bits + memory->bit_cap, 0, (cap - memory->bit_cap) * sizeof(*bits));
		scanner->scan->live_bits = bits;
		memory->bit_cap = cap;
	}
	for (uint32_t i = 0; i < bit_cnt; i += 64) {
		uint64_t word = scanner->live[i / 64];

		bits[(at + i) / 64] |= word << at % 64;
		if (at % 64)
			bits[(at + i) / 64 + 1] |= word >> (64 - at % 64);
	}
	memory->bit_cnt = end;
	return 0;
}

static int add_pool(struct scanner *scanner, uint64_t addr, const uint8_t *data,
		    enum verdict verdict, const struct pool_look *look)
{
	struct pool_scan *scan = scanner->scan;
	uint64_t live_bytes = (uint64_t)look->live_cnt * look->size;
	struct pool pool = {
		.addr = addr,
		.block_size = look->size,
		.block_cnt = look->block_cnt,
		.live_cnt = look->live_cnt,
		.live_at = (uint32_t)scanner->memory->bit_cnt,
		.data = scanner->opts.has_data ? data : NULL,
		.is_torn = verdict == IS_TORN,
	};
	int err;

	scan->torn += pool.is_torn;
	err = add_bits(scanner, look->block_cnt);
	if (err)
		return err;
	scan->live_cnt += look->live_cnt;
	scan->live_bytes += live_bytes;
	scan->free_bytes += scanner->pool_bytes - PYTHON_POOL_HEADER - live_bytes;
	return array_push(&scan->pools, pool);
}

/* Looks at what may be a pool, again if the process is changing it. */
static int take_pool(struct scanner *scanner, uint64_t addr, size_t first_run, uint8_t *data,
		     uint32_t *pool_cnt)
{
	struct pool_look look;
	enum verdict verdict = look_at(scanner, addr, data, scanner->live, &look);
	int err;

	scanner->scan->retried += verdict == IS_TORN;
	for (int i = 1; verdict == IS_TORN && i < MAX_TRIES; i++) {
		sched_yield();
		err = read_window(scanner, addr, addr + scanner->pool_bytes, first_run, data);
		if (err)
			return err;
		verdict = look_at(scanner, addr, data, scanner->live, &look);
	}
	if (verdict == IS_NONE)
		return 0;
	++*pool_cnt;
	if (verdict == IS_EMPTY) {
		scanner->scan->empty_cnt++;
		return 0;
	}
	return add_pool(scanner, addr, data, verdict, &look);
}

/* Keeps the bytes of the pools from `first` on: the window as it is when it is full of them. */
static int keep_window(struct scanner *scanner, size_t first, uint64_t len)
{
	struct pool_scan *scan = scanner->scan;
	struct pool_store *store = scanner->memory->store;
	int err = 0;

	if ((scan->pools.cnt - first) * scanner->pool_bytes >= WINDOW_BYTES / 2 &&
	    len > WINDOW_BYTES / 2 && pool_store__take_over(store, scanner->window, WINDOW_BYTES)) {
		scanner->window = malloc(WINDOW_BYTES);
		return scanner->window ? 0 : -ENOMEM;
	}
	for (size_t i = first; !err && i < scan->pools.cnt; i++)
		err = pool_store__copy(store, scan->pools.items[i].data,
				       &scan->pools.items[i].data);
	return err;
}

static int scan_window(struct scanner *scanner, uint64_t start, uint64_t end, size_t run,
		       uint32_t *pool_cnt)
{
	size_t first = scanner->scan->pools.cnt;
	int err = read_window(scanner, start, end, run, scanner->window);

	for (uint64_t at = start; !err && at < end; at += scanner->pool_bytes) {
		while (scanner->runs.list.items[run].end <= at && run + 1 < scanner->runs.list.cnt)
			run++;
		err = take_pool(scanner, at, run, scanner->window + (at - start), pool_cnt);
	}
	if (!err && scanner->opts.has_data)
		err = keep_window(scanner, first, end - start);
	return err;
}

static bool is_late(const struct scanner *scanner)
{
	return scanner->opts.deadline_ns && clock_ns(CLOCK_MONOTONIC) >= scanner->opts.deadline_ns;
}

static int scan_map(struct scanner *scanner, const struct proc_map *map)
{
	uint64_t mask = scanner->pool_bytes - 1, at = (map->start + mask) & ~mask;
	uint64_t limit = map->end & ~mask, end;
	struct pool_range range = {.start = map->start, .end = map->end};
	int err;

	if (at >= limit)
		return 0;
	err = page_map__list(&scanner->pages, at, limit, &scanner->runs);
	for (size_t run = 0; !err && run < scanner->runs.list.cnt;) {
		const struct page_run *next = &scanner->runs.list.items[run];

		if (next->end <= at) {
			run++;
			continue;
		}
		if (next->start > at)
			at = next->start & ~mask;
		end = limit - at < WINDOW_BYTES ? limit : at + WINDOW_BYTES;
		/* What lies behind the last page is left out. */
		if (end > scanner->runs.list.items[scanner->runs.list.cnt - 1].end)
			end = (scanner->runs.list.items[scanner->runs.list.cnt - 1].end + mask) &
			      ~mask;
		err = is_late(scanner) ? -ETIME
				       : scan_window(scanner, at, end, run, &range.pool_cnt);
		at = end;
	}
	if (err || !range.pool_cnt)
		return err;
	scanner->scan->swapped_bytes += scanner->runs.swapped_bytes;
	return array_push(&scanner->scan->ranges, range);
}

/* Arenas are private anonymous mappings; the heap and stacks have names, arenas may have (prctl).
 */
static bool may_hold_pools(const struct proc_map *map)
{
	return map->readable && map->writable && !map->shared && !map->ino &&
	       (!map->path[0] || !strncmp(map->path, "[anon:", strlen("[anon:")));
}

static uint64_t hash_of(uint64_t pool_nr)
{
	return (pool_nr * 0x9e3779b97f4a7c15ULL) >> 32;
}

static int make_index(struct scanner *scanner)
{
	struct scan_memory *memory = scanner->memory;
	const struct pool_scan *scan = scanner->scan;
	uint64_t cap = 16, slot;

	while (cap < scan->pools.cnt * 2)
		cap *= 2;
	memory->index = calloc(cap, sizeof(*memory->index));
	if (!memory->index)
		return -ENOMEM;
	memory->index_mask = cap - 1;
	for (size_t i = 0; i < scan->pools.cnt; i++) {
		slot = hash_of(scan->pools.items[i].addr >> memory->pool_shift);
		while (memory->index[slot & memory->index_mask])
			slot++;
		memory->index[slot & memory->index_mask] = (uint32_t)i + 1;
	}
	return 0;
}

static int scan_process(struct scanner *scanner)
{
	struct proc_maps maps = {0};
	int err;

	err = proc_maps__read(scanner->pid, &maps);
	if (err)
		return err;
	for (size_t i = 0; !err && i < maps.maps.cnt; i++)
		if (may_hold_pools(&maps.maps.items[i]))
			err = scan_map(scanner, &maps.maps.items[i]);
	proc_maps__free(&maps);
	return err ? err : make_index(scanner);
}

int pool_scan__read(pid_t pid, const struct pool_scan_opts *opts, struct pool_scan **ret)
{
	struct scanner scanner = {.pid = pid, .opts = *opts, .pages.fd = -1};
	int err;

	if (opts->pool_shift < MIN_POOL_SHIFT || opts->pool_shift > MAX_POOL_SHIFT ||
	    (opts->alignment != 8 && opts->alignment != 16))
		return -EINVAL;
	scanner.pool_bytes = 1ULL << opts->pool_shift;
	scanner.scan = calloc(1, sizeof(*scanner.scan));
	scanner.memory = calloc(1, sizeof(*scanner.memory));
	scanner.window = malloc(WINDOW_BYTES);
	err = scanner.scan && scanner.memory && scanner.window ? 0 : -ENOMEM;
	if (scanner.scan) {
		scanner.scan->memory = scanner.memory;
		scanner.scan->pool_bytes = (uint32_t)scanner.pool_bytes;
	} else {
		free(scanner.memory);
	}
	if (!err && opts->has_data) {
		scanner.memory->store =
			pool_store__new(pid, (uint32_t)scanner.pool_bytes, opts->keep_bytes);
		err = scanner.memory->store ? 0 : -ENOMEM;
	}
	if (!err) {
		scanner.memory->pool_shift = opts->pool_shift;
		err = page_map__open(pid, &scanner.pages);
	}
	if (!err)
		err = scan_process(&scanner);
	page_map__close(&scanner.pages);
	array_free(&scanner.runs.list);
	free(scanner.window);
	if (err)
		pool_scan__free(scanner.scan);
	else
		*ret = scanner.scan;
	return err;
}

int pool__block_lives(pid_t pid, const struct pool_scan_opts *opts, uint64_t addr, bool *ret_lives)
{
	struct scanner scanner = {.opts = *opts};
	struct pool_look look;
	uint64_t base, i;
	uint8_t *data;
	int err;

	if (opts->pool_shift < MIN_POOL_SHIFT || opts->pool_shift > MAX_POOL_SHIFT ||
	    (opts->alignment != 8 && opts->alignment != 16))
		return -EINVAL;
	scanner.pool_bytes = 1ULL << opts->pool_shift;
	base = addr & ~(scanner.pool_bytes - 1);
	data = malloc(scanner.pool_bytes);
	err = data ? remote_read(pid, base, data, scanner.pool_bytes) : -ENOMEM;
	if (!err)
		switch (look_at(&scanner, base, data, scanner.live, &look)) {
		case IS_NONE:
		case IS_TORN:
			err = -ENOENT;
			break;
		case IS_EMPTY:
		case IS_LIVE:
			err = addr - base < PYTHON_POOL_HEADER ? -ENOENT : 0;
			break;
		}
	free(data);
	if (err)
		return err == -EFAULT ? -ENOENT : err;
	i = (addr - base - PYTHON_POOL_HEADER) / look.size;
	*ret_lives = i < look.block_cnt && scanner.live[i / 64] >> i % 64 & 1;
	return 0;
}

void pool_scan__free(struct pool_scan *scan)
{
	struct scan_memory *memory;

	if (!scan)
		return;
	memory = scan->memory;
	if (memory) {
		pool_store__free(memory->store);
		free(memory->index);
	}
	free(memory);
	free(scan->live_bits);
	array_free(&scan->pools);
	array_free(&scan->ranges);
	free(scan);
}

uint64_t pool_scan__kept_bytes(const struct pool_scan *scan)
{
	const struct scan_memory *memory = scan->memory;

	return memory->store ? pool_store__kept_bytes(memory->store) : 0;
}

bool pool_scan__read_bytes(const struct pool_scan *scan, const struct pool *pool, uint64_t off,
			   void *buf, size_t len)
{
	const struct scan_memory *memory = scan->memory;
	const uint8_t *data = pool->data;

	if (off > scan->pool_bytes || len > scan->pool_bytes - off)
		return false;
	if (!data && memory && memory->store)
		data = pool_store__read_again(memory->store, pool->addr);
	if (!data)
		return false;
	memcpy(buf, data + off, len);
	return true;
}

bool pool_scan__read_block(const struct pool_scan *scan, const struct pool *pool, uint32_t i,
			   uint8_t *buf)
{
	return pool->block_size <= POOL_MAX_BLOCK &&
	       pool_scan__read_bytes(scan, pool,
				     PYTHON_POOL_HEADER + (uint64_t)i * pool->block_size, buf,
				     pool->block_size);
}

const struct pool *pool_scan__find(const struct pool_scan *scan, uint64_t addr)
{
	const struct scan_memory *memory = scan->memory;
	uint64_t number = addr >> memory->pool_shift;

	for (uint64_t slot = hash_of(number);; slot++) {
		uint32_t at = memory->index[slot & memory->index_mask];

		if (!at)
			return NULL;
		if (scan->pools.items[at - 1].addr >> memory->pool_shift == number)
			return &scan->pools.items[at - 1];
	}
}

bool pool_scan__block_is_live(const struct pool_scan *scan, const struct pool *pool, uint32_t i)
{
	uint64_t bit = (uint64_t)pool->live_at + i;

	return i < pool->block_cnt && scan->live_bits[bit / 64] >> bit % 64 & 1;
}

bool pool_scan__is_live(const struct pool_scan *scan, uint64_t addr)
{
	const struct pool *pool = pool_scan__find(scan, addr);
	uint64_t off;

	if (!pool || addr - pool->addr < PYTHON_POOL_HEADER)
		return false;
	off = addr - pool->addr - PYTHON_POOL_HEADER;
	return !(off % pool->block_size) &&
	       pool_scan__block_is_live(scan, pool, (uint32_t)(off / pool->block_size));
}
