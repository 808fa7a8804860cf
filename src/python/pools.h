/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which blocks of the object allocator (pymalloc) are in use, read from the pools of a running
 * process, which is neither stopped nor changed. No symbols are needed: a pool is known by its
 * header (include/python.h), which has to be right in every field.
 */
#ifndef LEAKSWEEP_PYTHON_POOLS_H
#define LEAKSWEEP_PYTHON_POOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/array.h"

struct pool {
	uint64_t addr;
	uint32_t block_size; /* bytes */
	uint32_t block_cnt, live_cnt;
	uint32_t live_at; /* in `live_bits`: first bit of the pool, one a block from the first on */
	const uint8_t *data; /* the pool's bytes when it was read, owned by the scan; NULL = not
				kept */
	bool is_torn;	     /* never held still: its blocks are as they were last seen */
};

/* A mapping in which pools were found. */
struct pool_range {
	uint64_t start, end;
	uint32_t pool_cnt;
};

struct pool_scan {
	ARRAY(struct pool) pools; /* by address */
	ARRAY(struct pool_range) ranges;
	uint64_t *live_bits;
	uint32_t pool_bytes;	       /* size of one */
	uint64_t live_cnt, live_bytes; /* blocks in use */
	uint64_t free_bytes;	       /* in these pools: free blocks and what is never used */
	uint64_t empty_cnt;	       /* pools without a block in use; not in `pools` */
	uint64_t retried;	/* pools that were read again: the process was changing them */
	uint64_t torn;		/* pools that never held still: their blocks are told as they were
				   last seen */
	uint64_t swapped_bytes; /* of `ranges`: not looked at. A pool that is partly swapped out is
				   told as torn */
	void *memory;		/* owned, private to pools.c */
};

struct pool_scan_opts {
	uint16_t pool_shift, alignment; /* struct python_layout */
	bool has_data;			/* pool_scan__read_bytes will be asked */
	uint64_t keep_bytes; /* how many of these bytes may be copied while it scans; the others
				are read from the process when they are asked for */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC: later it ends with -ETIME; 0 = never */
};

/* Scans a process. Returns 0, -ESRCH, -EPERM, -ETIME or another negative errno; free with
 * pool_scan__free. */
int pool_scan__read(pid_t pid, const struct pool_scan_opts *opts, struct pool_scan **ret);
void pool_scan__free(struct pool_scan *scan);

/* Returns how many bytes of pools have been copied. */
uint64_t pool_scan__kept_bytes(const struct pool_scan *scan);

/*
 * Copies `len` bytes from `off` of the pool: as they were when its blocks were looked at, if they
 * were kept, else as they are now. Returns whether they could be had.
 */
bool pool_scan__read_bytes(const struct pool_scan *scan, const struct pool *pool, uint64_t off,
			   void *buf, size_t len);

/* Copies block number `i` of the pool to `buf`, which has POOL_MAX_BLOCK bytes. */
#define POOL_MAX_BLOCK 512 /* SMALL_REQUEST_THRESHOLD, Objects/obmalloc.c */
bool pool_scan__read_block(const struct pool_scan *scan, const struct pool *pool, uint32_t i,
			   uint8_t *buf);

/*
 * Whether the block at `addr` is in use, by a reading of its pool alone; `has_data` and
 * `keep_bytes` of the options do not matter. Returns 0 with *ret_lives set, -ENOENT (there is no
 * pool, or it changes just now) or another negative errno.
 */
int pool__block_lives(pid_t pid, const struct pool_scan_opts *opts, uint64_t addr, bool *ret_lives);

/* Returns the pool that holds `addr`, or NULL. */
const struct pool *pool_scan__find(const struct pool_scan *scan, uint64_t addr);

/* Whether `addr` is the first byte of a block in use. */
bool pool_scan__is_live(const struct pool_scan *scan, uint64_t addr);

/* Whether block number `i` of the pool is in use. */
bool pool_scan__block_is_live(const struct pool_scan *scan, const struct pool *pool, uint32_t i);

#endif
