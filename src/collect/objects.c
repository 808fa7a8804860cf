/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/objects.h"

#include <errno.h>
#include <stdlib.h>

#include "include/python.h"

#define WORD_BITS 64
#define MAX_ALIGNMENT 16 /* of sizes in pools, 8 before 3.7 (ALIGNMENT, Objects/obmalloc.c) */

static uint64_t bit_cnt(const struct pool_scan *scan)
{
	uint64_t cnt = 0;

	for (size_t i = 0; i < scan->pools.cnt; i++) {
		const struct pool *pool = &scan->pools.items[i];
		uint64_t end = (uint64_t)pool->live_at + pool->block_cnt;

		if (end > cnt)
			cnt = end;
	}
	return cnt;
}

int object_tally__begin(struct object_tally *tally, const struct pool_scan *scan)
{
	*tally = (struct object_tally){.scan = scan};
	if (!scan)
		return 0;
	tally->seen = calloc(bit_cnt(scan) / WORD_BITS + 1, sizeof(*tally->seen));
	return tally->seen ? 0 : -ENOMEM;
}

void object_tally__free(struct object_tally *tally)
{
	free(tally->seen);
	tally->seen = NULL;
}

/* A recorded block may have been asked for with any size that the pool's blocks are given for. */
static bool fits(const struct pool *pool, uint64_t size)
{
	return size <= pool->block_size && (size ? size : 1) + MAX_ALIGNMENT > pool->block_size;
}

bool object_tally__see(struct object_tally *tally, uint64_t addr, uint64_t size,
		       const struct pool **ret_pool)
{
	const struct pool *pool = tally->scan ? pool_scan__find(tally->scan, addr) : NULL;
	uint64_t off, i, bit, *word;

	if (!pool || !pool->block_size || addr < pool->addr + PYTHON_POOL_HEADER)
		return false;
	off = addr - pool->addr - PYTHON_POOL_HEADER;
	i = off / pool->block_size;
	if (off % pool->block_size || i >= pool->block_cnt || !fits(pool, size) ||
	    !pool_scan__block_is_live(tally->scan, pool, i))
		return false;
	bit = pool->live_at + i;
	word = &tally->seen[bit / WORD_BITS];
	if (*word >> bit % WORD_BITS & 1)
		return false;
	*word |= 1ULL << bit % WORD_BITS;
	*ret_pool = pool;
	return true;
}

static bool was_seen(const struct object_tally *tally, const struct pool *pool, uint32_t i)
{
	uint64_t bit = (uint64_t)pool->live_at + i;

	return tally->seen[bit / WORD_BITS] >> bit % WORD_BITS & 1;
}

static void sum_pool(const struct object_tally *tally, const struct pool *pool,
		     const struct pool_scan *baseline, bool all_old, struct object_sums *sums)
{
	const struct pool *then = baseline ? pool_scan__find(baseline, pool->addr) : NULL;
	uint64_t seen = 0, old = 0, missed = 0;

	/* The same memory may hold blocks of another size by now. */
	if (then && (then->addr != pool->addr || then->block_size != pool->block_size))
		then = NULL;
	for (uint32_t i = 0; i < pool->block_cnt; i++) {
		if (!pool_scan__block_is_live(tally->scan, pool, i))
			continue;
		if (was_seen(tally, pool, i))
			seen++;
		else if (baseline ? then && i < then->block_cnt &&
					    pool_scan__block_is_live(baseline, then, i)
				  : all_old)
			old++;
		else
			missed++;
	}
	sums->seen_cnt += seen;
	sums->seen_bytes += seen * pool->block_size;
	sums->old_cnt += old;
	sums->old_bytes += old * pool->block_size;
	sums->missed_cnt += missed;
	sums->missed_bytes += missed * pool->block_size;
}

void object_tally__sum(const struct object_tally *tally, const struct pool_scan *baseline,
		       bool all_old, struct object_sums *ret)
{
	struct object_sums sums = {0};

	for (size_t i = 0; tally->scan && i < tally->scan->pools.cnt; i++)
		sum_pool(tally, &tally->scan->pools.items[i], baseline, all_old, &sums);
	*ret = sums;
}
