/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How one allocator function passes its arguments, packed into the BPF cookie of its probe, so that
 * one BPF program serves every allocator. Arguments are numbered from 1; 0 means "has none".
 *
 *   bits  0-3  enum alloc_op        bits 12-15  old_arg    block that is freed or resized
 *   bits  4-7  size_arg             bits 16-19  out_arg    pointer that receives the block
 * (posix_memalign) bits  8-11 count_arg            bits 20-23  enum layer bits 32-63  probe site,
 * an index that user space chooses
 */
#ifndef LEAKSWEEP_ALLOC_FN_H
#define LEAKSWEEP_ALLOC_FN_H

#include <linux/types.h>

enum alloc_op {
	ALLOC_OP_ALLOC = 1, /* returns a block, NULL on failure */
	ALLOC_OP_REALLOC =
		2, /* NULL with a size keeps the old block, NULL without one has freed it */
	ALLOC_OP_FREE = 3,
	ALLOC_OP_RESIZE = 4, /* xallocx: resizes in place, returns the real size, never moves */
};

enum layer {
	LAYER_MALLOC = 1,
	LAYER_PYTHON = 2,
	LAYER_MMAP = 3,
	LAYER_FAULT = 4,
	LAYER_KERNEL = 5,
};

#define ALLOC_FN(op, size_arg, count_arg, old_arg, out_arg)                                        \
	((__u64)(op) | (__u64)(size_arg) << 4 | (__u64)(count_arg) << 8 | (__u64)(old_arg) << 12 | \
	 (__u64)(out_arg) << 16 | (__u64)LAYER_MALLOC << 20)

/* Bit 24, in the cookies of Python's places too (include/python.h): the kernel steps the probed
 * instruction out of line, a second trap. */
#define COOKIE_STEPPED (1ULL << 24)

#define ALLOC_FN_OP(cookie) ((enum alloc_op)((cookie)&15))
#define ALLOC_FN_SIZE_ARG(cookie) ((unsigned int)((cookie) >> 4 & 15))
#define ALLOC_FN_COUNT_ARG(cookie) ((unsigned int)((cookie) >> 8 & 15))
#define ALLOC_FN_OLD_ARG(cookie) ((unsigned int)((cookie) >> 12 & 15))
#define ALLOC_FN_OUT_ARG(cookie) ((unsigned int)((cookie) >> 16 & 15))
#define ALLOC_FN_LAYER(cookie) ((enum layer)((cookie) >> 20 & 15))
#define ALLOC_FN_SITE(cookie) ((__u32)((cookie) >> 32))
#define ALLOC_FN_WITH_SITE(cookie, site) (((cookie)&0xffffffffULL) | (__u64)(site) << 32)

#endif
