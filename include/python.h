/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the kernel side finds the Python frames of a thread and the objects it allocates, and what it
 * tells of them. Offsets are those of one build of CPython (src/python), checked against the living
 * process before they are given to the kernel side.
 */
#ifndef LEAKSWEEP_PYTHON_H
#define LEAKSWEEP_PYTHON_H

#include <linux/types.h>

/* What is read of a frame and of a code object at once: all fields that are needed lie in it. */
#define PYTHON_FRAME_BYTES 112
#define PYTHON_CODE_BYTES 152
#define PYTHON_LONG_CODE_BYTES 208 /* where code_first_unit is needed too */

/* Where a frame keeps what it executes next. */
enum python_instr {
	PYTHON_INSTR_BYTES = 1,	  /* s32, bytes from the code's begin (3.8, 3.9) */
	PYTHON_INSTR_UNITS = 2,	  /* s32, units of 2 bytes (3.10) */
	PYTHON_INSTR_POINTER = 3, /* the address of the instruction (3.11 and later) */
};

/*
 * Since 3.11 one native frame of the interpreter loop runs a *chunk* of Python frames, those that
 * call each other without leaving the loop. How its last (rootmost) frame is told:
 */
enum python_chunk {
	PYTHON_CHUNK_EACH = 1, /* each frame is one (3.8 to 3.10) */
	PYTHON_CHUNK_ENTRY =
		2, /* the frame whose byte at frame_owner is 1; it is a real one (3.11) */
	PYTHON_CHUNK_SHIM =
		3, /* a frame behind it that is none: byte at frame_owner >= 3 (3.12 on) */
};

/* python_procs: space -> this */
struct python_proc {
	__u64 code_type; /* address of PyCode_Type: what is no code is no frame */
	__u64 code_mask; /* of a frame's pointer to its code: tag bits are 0 */
	__u64 key_at; /* where the key can be read once the word before it is not 0; 0 = it is `key`
		       */
	__u32 key;    /* pthread key of the thread state */
	__u16 tsd_first;  /* from the thread pointer: data pointer of key 0, 16 bytes a key up to 31
			   */
	__u16 tsd_second; /* from the thread pointer: pointers to blocks of 32 keys, 16 bytes each
			     with the data pointer at +8 */
	__u16 thread_frame; /* in the thread state: the frame, or the C frame that holds it */
	__s16 cframe_frame; /* in the C frame; -1 = there is none */
	__u8 frame_back, frame_code, frame_instr, frame_owner;
	__u8 instr;		    /* enum python_instr */
	__u8 chunk;		    /* enum python_chunk */
	__u16 code_first_line;	    /* s32 */
	__u16 code_file, code_name; /* str objects; the qualified name where there is one */
	__u16 code_lines;	    /* bytes object: the line table */
	__u16 code_instrs;	    /* where instructions begin; PYTHON_INSTR_POINTER */
	__u16 ascii_size;	    /* of PyASCIIObject: its text follows */
	/*
	 * 3.11 to 3.13: a frame that has not come to this unit (s32 in the code object; 0 = no such
	 * thing) has not begun, unless the byte at frame_holder says that a generator holds it.
	 * Tracebacks do not show it (_PyFrame_IsIncomplete, pycore_frame.h).
	 */
	__u16 code_first_unit;
	__u8 frame_holder;
	__u8 sees_all_blocks; /* no code object can be made at an address without a probe's notice
			       */
	__u8 zero[6];
};

/* python_stacks: id -> this; leaf first. */
enum python_end {
	PYTHON_END_NONE = 0,	   /* the thread has no frames */
	PYTHON_END_COMPLETE = 1,   /* at the first frame of the thread */
	PYTHON_END_TRUNCATED = 2,  /* deeper than MAX_PYTHON_FRAMES */
	PYTHON_END_UNREADABLE = 3, /* swapped out */
	PYTHON_END_BROKEN = 4,	   /* something that is no frame: the rest was thrown away */
	PYTHON_END_LOST = 5,	   /* no room */
};

#define MAX_PYTHON_FRAMES 256 /* a power of two */

/*
 * A frame: the number of its code, the unit (2 bytes) of its instruction, and whether it is the
 * last of its chunk. PYTHON_CODE_NONE stands for a chunk without frames: the interpreter loop is
 * about to begin or to end.
 */
#define PYTHON_FRAME_LAST (1ULL << 63)
#define PYTHON_CODE_NONE 0
#define PYTHON_CODE_LOST 1  /* not known: there was no room to tell */
#define PYTHON_CODE_FIRST 2 /* the first code object's */
#define PYTHON_CODE_SHIFT 24
#define PYTHON_FRAME_CODE(frame) ((__u32)((frame) >> PYTHON_CODE_SHIFT))
#define PYTHON_UNIT_MASK ((1U << PYTHON_CODE_SHIFT) - 1)
#define PYTHON_NO_UNIT PYTHON_UNIT_MASK /* the frame has not begun */

struct python_stack {
	__u16 frame_cnt;
	__u8 end; /* enum python_end */
	__u8 zero[5];
	__u64 check;
	__u64 frame[MAX_PYTHON_FRAMES];
};

/* python_codes, a ring buffer: a code object at its first sight; it may be freed at any time. */
#define PYTHON_TEXT_BYTES 512
#define PYTHON_LINES_BYTES 2048

struct python_text {
	__u32 chars; /* of the whole text */
	__u8 width;  /* bytes of a character: 1, 2, 4; 0 = could not be read */
	__u8 is_ascii;
	__u16 len; /* bytes below */
	__u8 bytes[PYTHON_TEXT_BYTES];
};

struct python_code {
	__u32 id; /* the frames' code number */
	__u32 space;
	__u64 addr;
	__u64 lines_at;		       /* address of the line table's first byte */
	__u32 lines_len, lines_copied; /* bytes; those copied are the first */
	__s32 first_line;
	__u32 zero;
	struct python_text file, name;
	__u8 lines[PYTHON_LINES_BYTES];
};

/*
 * The cookie of a probe on an inlined place of the object allocator (pymalloc): where the block's
 * address is when the probe fires.
 *
 *   bits 0-3   register, as the machine numbers them (x86-64: rax 0, rcx 1, rdx 2, rbx 3, rsp 4,
 *              rbp 5, rsi 6, rdi 7, r8 8 ...)
 *   bits 4-5   enum python_place     bits 6-7  enum python_op
 *   bits 8-15  shift: a pool has 1 << shift bytes
 *   bits 16-23 bytes of alignment: sizes are multiples of it
 *   bit 24     COOKIE_STEPPED (include/alloc_fn.h)
 *   bits 32-63 s32 displacement
 */
enum python_place {
	PYTHON_PLACE_REG = 0, /* register + displacement */
	PYTHON_PLACE_MEM = 1, /* the word at register + displacement */
};

enum python_op {
	PYTHON_OP_ALLOC = 0,
	PYTHON_OP_FREE = 1,
	PYTHON_OP_RENEW = 2, /* an object from one of the interpreter's free lists: its address */
};

#define PYTHON_SITE(op, place, reg, pool_shift, align, disp)                                       \
	((__u64)(reg) | (__u64)(place) << 4 | (__u64)(op) << 6 | (__u64)(pool_shift) << 8 |        \
	 (__u64)(align) << 16 | (__u64)(__u32)(disp) << 32)
#define PYTHON_SITE_REG(cookie) ((unsigned int)((cookie)&15))
#define PYTHON_SITE_PLACE(cookie) ((enum python_place)((cookie) >> 4 & 3))
#define PYTHON_SITE_OP(cookie) ((enum python_op)((cookie) >> 6 & 3))
#define PYTHON_SITE_SHIFT(cookie) ((unsigned int)((cookie) >> 8 & 255))
#define PYTHON_SITE_ALIGN(cookie) ((unsigned int)((cookie) >> 16 & 255))
#define PYTHON_SITE_DISP(cookie) ((__s32)((cookie) >> 32))

/* pymalloc's pool header, the same from 2.7 to 3.14 (Objects/obmalloc.c, struct pool_header). */
#define PYTHON_POOL_HEADER 48
#define PYTHON_POOL_REF 0	/* u32: blocks in use */
#define PYTHON_POOL_FREE 8	/* pointer: first free block; its first word links to the next */
#define PYTHON_POOL_ARENA 32	/* u32: index of its arena */
#define PYTHON_POOL_CLASS 36	/* u32: size / alignment - 1 */
#define PYTHON_POOL_NEXT 40	/* u32: offset of the first block never used */
#define PYTHON_POOL_MAX_NEXT 44 /* u32: the largest offset that NEXT may have */

#endif
