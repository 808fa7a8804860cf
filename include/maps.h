/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and values of the BPF maps, shared by the kernel side (bpf/) and its reader (src/collect).
 *
 * A *space* is one address space in one life: it is born by fork, exec or the first sight of a
 * process and ends at exec or exit. Its number is never used twice in a run, so neither PID reuse,
 * nor exec, nor a vfork child that borrows its parent's memory can mix up blocks.
 */
#ifndef LEAKSWEEP_MAPS_H
#define LEAKSWEEP_MAPS_H

#include <linux/types.h>

#define MAX_FRAMES 127
#define MAX_COMM 16
#define SPACE_NONE 0

enum block_flag {
	BLOCK_NESTED = 1, /* made inside another probed call, which is the one that counts it */
};

/* live_blocks */
struct block_key {
	__u64 addr;
	__u32 space;
	__u32 zero;
};

struct block {
	__u64 size;    /* bytes asked for */
	__u64 born_ns; /* CLOCK_MONOTONIC, when the allocator returned */
	__u64 stack_id;
	__u32 layer;
	__u32 flags; /* enum block_flag */
};

/* stack_frames: key = stack id, the hash of the frames. Id 0 stands for "stack lost". */
#define STACK_LOST 0

enum unwind_end {
	UNWIND_LOST = 0,      /* no room for the stack */
	UNWIND_COMPLETE = 1,  /* the frame-pointer chain reached its zero end */
	UNWIND_TRUNCATED = 2, /* deeper than MAX_FRAMES, the leaf side was kept */
	UNWIND_BROKEN = 3, /* the chain left the stack: a caller was built without frame pointers */
};

struct stack_frames {
	__u32 frame_cnt;
	__u32 end;	      /* enum unwind_end */
	__u64 check;	      /* second, independent hash: tells a collision of ids */
	__u64 pc[MAX_FRAMES]; /* leaf first; all are return addresses */
};

/* stack_costs */
struct cost_key {
	__u64 stack_id;
	__u32 space;
	__u32 layer;
};

/* Sums since the start. With sampling, bytes are scaled and counts are scaled and in 1/65536. */
struct stack_cost {
	__u64 alloc_bytes;
	__u64 alloc_count;
	__u64 free_bytes;
	__u64 free_count;
};

/* procs: tgid -> the space it runs in */
enum proc_flag {
	PROC_BORROWED = 1, /* vfork child: runs in its parent's space until it execs */
};

struct proc {
	__u32 space;
	__u32 flags; /* enum proc_flag */
};

/* spaces */
enum space_flag {
	SPACE_ENDED = 1,    /* exec or exit */
	SPACE_RELEASED = 2, /* ended, and no living descendant inherits its blocks: may be purged */
};

struct space {
	__u32 tgid;
	__u32 parent;	    /* space whose blocks this one inherited at fork, or SPACE_NONE */
	__u64 born_ns;	    /* CLOCK_MONOTONIC: fork, exec or first sight */
	__u64 last_fork_ns; /* the newest fork from here, 0 = never */
	__u32 heirs;	    /* forked children that still run (or have heirs themselves) */
	__u32 flags;	    /* enum space_flag */
};

#endif
