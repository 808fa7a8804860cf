/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the kernel side finds a caller's frame: the tables that src/unwind makes of a file's call
 * frame information, and the words both sides use for them.
 *
 * A table says for every byte of a file's code how to get from a frame there to its caller. It is
 * indexed by *file offset*: a mapping turns an address into one without knowing ELF. Rows are sorted;
 * each holds from its offset to the next row's. A page is 64 KiB of the file, its first row begins
 * at its first byte, so nobody looks into the page before.
 *
 * Tables live in cells of 8 bytes, in chunks that are BPF arrays mapped into the tool. The rows of
 * one page, and the page index of one table, lie in one chunk.
 */
#ifndef LEAKSWEEP_UNWIND_H
#define LEAKSWEEP_UNWIND_H

#include <linux/types.h>

#define UNWIND_PAGE_BITS 16
#define UNWIND_PAGE_SIZE (1U << UNWIND_PAGE_BITS) /* bytes of a file */
#define UNWIND_CHUNK_BITS 17
#define UNWIND_CHUNK_CELLS (1U << UNWIND_CHUNK_BITS) /* 1 MiB */
#define MAX_UNWIND_CHUNKS 512
#define MAX_UNWIND_MODULES 16384

/* The canonical frame address (CFA) is the value of the stack pointer before the call; the return
 * address lies 8 bytes below. */
enum unwind_rule {
	UNWIND_RULE_NONE = 0,	  /* nothing is known of this code */
	UNWIND_RULE_SP = 1,	  /* CFA = sp + cfa */
	UNWIND_RULE_FP = 2,	  /* CFA = fp + cfa */
	UNWIND_RULE_PLT = 3,	  /* CFA = sp + 8 + (pc % 16 >= cfa ? 8 : 0) */
	UNWIND_RULE_SIGNAL = 4,	  /* the kernel's signal frame begins at sp */
	UNWIND_RULE_END = 5,	  /* the first function of a thread: it has no caller */
	UNWIND_RULE_SP_DEREF = 6, /* CFA = *(sp + low half of cfa) + high half of cfa */
	UNWIND_RULE_FP_DEREF = 7, /* the same from fp */
	UNWIND_RULE_REG = 8,	  /* CFA = another register + (cfa >> 8); the low byte of cfa is its
				     word in the signal frame's machine context. Known only where a
				     signal interrupted the code. */
	UNWIND_RULE_ODD = 9,	  /* a rule that no row can say */
	UNWIND_RULE_MAX
};

/* Where the caller's frame pointer is. */
#define UNWIND_FP_SAME (-128) /* in the register, untouched */
#define UNWIND_FP_LOST 127    /* not to be had: it was overwritten */

struct unwind_row {
	__u16 pc;  /* offset in its page */
	__u8 rule; /* enum unwind_rule */
	__s8 fp;   /* saved at CFA + 8 * fp (UNWIND_RULE_FP_DEREF: at the frame pointer + 8 * fp),
		      or UNWIND_FP_* */
	__s32 cfa; /* bytes, see the rules */
};

/* The rows of one page. In a table `first` counts its own rows, in cells it is a cell's number:
 * chunk << UNWIND_CHUNK_BITS | place. */
struct unwind_page {
	__u32 first;
	__u32 cnt; /* 0 = no code there */
};

enum unwind_module_state {
	UNWIND_MODULE_FREE = 0,
	UNWIND_MODULE_LOADED = 1,
	UNWIND_MODULE_EVICTED = 2, /* there was no room; asked for again, it comes back */
	UNWIND_MODULE_BARE = 3,	   /* has no table at all: frame pointers are tried */
	UNWIND_MODULE_WANTED = 4,  /* evicted, and user space has been told that it is needed */
};

/* unwind_modules: array, mapped into the tool. Module 0 stands for "not known yet". */
#define UNWIND_MODULE_NONE 0
#define UNWIND_MODULE_VDSO 1
struct unwind_module {
	__u32 state;	/* enum unwind_module_state, written last */
	__u32 pages_at; /* cell where its page index (struct unwind_page) begins */
	__u32 page_cnt;
	__u32 used; /* the kernel side's clock at the last look, for who goes first */
};

/*
 * A frame of a stack: the module whose code it is in and the file offset of its return address (of
 * code that a signal interrupted: one byte behind), so that it means the same in every process and
 * after the code has gone. Of module 0 it is the address itself.
 */
#define FRAME_MODULE_SHIFT 48
#define FRAME_OFFSET_MASK ((1ULL << FRAME_MODULE_SHIFT) - 1)

/* code_files: which module a file's code belongs to, as the kernel knows files. */
struct code_file {
	__u64 ino;
	__u32 dev; /* kernel encoding: major << 20 | minor */
	__u32 generation;
};

#endif
