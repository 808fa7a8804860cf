/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look at the pools of a Python that there never was. The questions of python/pools.h are
 * answered here: a test that includes this links without the real ones, which know real scans only.
 */
#ifndef LEAKSWEEP_TESTS_COLLECT_POOLS_FIXTURE_H
#define LEAKSWEEP_TESTS_COLLECT_POOLS_FIXTURE_H

#include "collect_events_fixture.h"

#include "include/python.h"
#include "python/pools.h"

#define POOL_BYTES 16384u
#define ARENA_BYTES (1u << 20)
#define POOLS_AT 0x7f0000000000ULL
#define POOL_AT(i) (POOLS_AT + (uint64_t)(i)*POOL_BYTES)
#define FAKE_POOLS 8
#define FAKE_WORDS 512

struct fake_pools {
	struct pool_scan scan;
	struct pool pools[FAKE_POOLS];
	struct pool_range ranges[FAKE_POOLS];
	uint64_t live_bits[FAKE_WORDS];
	uint8_t data[FAKE_POOLS][POOL_BYTES];
	uint32_t bit_cnt;
};

const struct pool *pool_scan__find(const struct pool_scan *scan, uint64_t addr)
{
	for (size_t i = 0; i < scan->pools.cnt; i++)
		if (scan->pools.items[i].addr <= addr &&
		    addr - scan->pools.items[i].addr < scan->pool_bytes)
			return &scan->pools.items[i];
	return NULL;
}

bool pool_scan__read_bytes(const struct pool_scan *scan, const struct pool *pool, uint64_t off,
			   void *buf, size_t len)
{
	(void)scan;
	if (pool->data)
		memcpy(buf, pool->data + off, len);
	return pool->data;
}

bool pool_scan__block_is_live(const struct pool_scan *scan, const struct pool *pool, uint32_t i)
{
	uint64_t bit = (uint64_t)pool->live_at + i;

	return i < pool->block_cnt && scan->live_bits[bit / 64] >> bit % 64 & 1;
}

bool pool_scan__read_block(const struct pool_scan *scan, const struct pool *pool, uint32_t i,
			   uint8_t *buf)
{
	return pool_scan__read_bytes(scan, pool,
				     PYTHON_POOL_HEADER + (uint64_t)i * pool->block_size, buf,
				     pool->block_size);
}

static inline struct fake_pools *make_pools(void)
{
	struct fake_pools *fake = calloc(1, sizeof(*fake));

	assert_non_null(fake);
	fake->scan.pools.items = fake->pools;
	fake->scan.ranges.items = fake->ranges;
	fake->scan.live_bits = fake->live_bits;
	fake->scan.pool_bytes = POOL_BYTES;
	return fake;
}

/* Adds the next pool, by address. */
static inline void add_pool(struct fake_pools *fake, uint64_t addr, uint32_t block_size)
{
	size_t i = fake->scan.pools.cnt++;

	assert_true(i < FAKE_POOLS);
	fake->pools[i] = (struct pool){
		.addr = addr,
		.block_size = block_size,
		.block_cnt = (POOL_BYTES - PYTHON_POOL_HEADER) / block_size,
		.live_at = fake->bit_cnt,
		.data = fake->data[i],
	};
	fake->bit_cnt += fake->pools[i].block_cnt;
	assert_true(fake->bit_cnt <= FAKE_WORDS * 64);
	fake->scan.free_bytes += fake->pools[i].block_cnt * block_size;
}

static inline void add_pool_range(struct fake_pools *fake, uint64_t start, uint64_t end)
{
	fake->ranges[fake->scan.ranges.cnt++] = (struct pool_range){start, end, 1};
}

/* Returns the address of a block. */
static inline uint64_t block_at(const struct fake_pools *fake, size_t pool, uint32_t block)
{
	const struct pool *p = &fake->pools[pool];

	return p->addr + PYTHON_POOL_HEADER + (uint64_t)block * p->block_size;
}

/* Puts a block into use, with a first byte. Returns its address. */
static inline uint64_t use_block(struct fake_pools *fake, size_t pool, uint32_t block,
				 uint8_t first)
{
	struct pool *p = &fake->pools[pool];
	uint32_t bit = p->live_at + block;

	assert_true(block < p->block_cnt);
	fake->live_bits[bit / 64] |= 1ULL << bit % 64;
	p->live_cnt++;
	fake->scan.live_cnt++;
	fake->scan.live_bytes += p->block_size;
	fake->scan.free_bytes -= p->block_size;
	fake->data[pool][PYTHON_POOL_HEADER + block * p->block_size] = first;
	return block_at(fake, pool, block);
}

#endif
