/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The places where an interpreter takes and returns blocks of its object allocator. In optimised
 * builds pymalloc's fast path is inlined into hundreds of functions; they are found in the machine
 * code by what it does, without symbols, and the result is checked by its structure: a build has
 * exactly one place that begins a recycled pool and one that begins a fresh one.
 */
#ifndef LEAKSWEEP_PYTHON_SITES_H
#define LEAKSWEEP_PYTHON_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/python.h"
#include "util/array.h"

enum site_kind {
	SITE_ALLOC = 1,	   /* from a pool in use */
	SITE_NEW_POOL = 2, /* the first block of a recycled pool */
	SITE_NEW_INIT = 3, /* the first block of a fresh pool */
	SITE_FREE = 4,
	SITE_RENEW = 5, /* an object from one of the interpreter's lists of freed ones */
};

/* What the probe of a site of this kind tells. */
static inline enum python_op site_kind__op(enum site_kind kind)
{
	return kind == SITE_FREE    ? PYTHON_OP_FREE
	       : kind == SITE_RENEW ? PYTHON_OP_RENEW
				    : PYTHON_OP_ALLOC;
}

struct python_site {
	uint64_t off;	 /* file offset of the instruction to probe */
	uint64_t cookie; /* PYTHON_SITE of include/python.h */
	uint8_t kind;	 /* enum site_kind */
	bool is_stepped; /* the kernel steps the instruction: a second trap */
};

enum sites_verdict {
	SITES_COMPLETE = 1, /* the structure holds */
	SITES_DOUBTFUL = 2, /* found, but the structure does not hold: coverage must be measured */
	SITES_NONE = 3,	    /* no pymalloc in this file */
};

struct python_sites {
	ARRAY(struct python_site) sites; /* by offset */
	uint16_t alloc_cnt, free_cnt, new_pool_cnt, new_init_cnt, stepped_cnt;
	uint16_t renew_cnt;    /* of them no structure tells that they are all */
	uint32_t refill_calls; /* calls and jumps to the function that begins pools, 0 = it is
				  inlined itself, or cannot be told */
	uint8_t verdict;       /* enum sites_verdict */
	uint8_t pool_shift;    /* told by the code: a pool has 1 << shift bytes */
	uint8_t alignment;     /* told by the code */
};

/*
 * Analyses the ELF file behind `fd`, in this process: call python_sites__find for strangers' files.
 * When the code does not tell the size of a pool, there are no sites and the verdict is
 * SITES_DOUBTFUL. Returns 0, -EFBIG (more than 256 MiB of code) or as elf_image__open.
 */
int python_sites__analyse(int fd, struct python_sites *ret);

/*
 * The same in a confined child (util/sandbox.h), with a result kept under `cache_dir` (NULL = none)
 * by the file's contents. Returns 0, -ETIME (too costly), -EPIPE (the child died of the file)
 * or another negative errno.
 */
int python_sites__find(int fd, const char *cache_dir, struct python_sites *ret);

void python_sites__free(struct python_sites *sites);

#endif
