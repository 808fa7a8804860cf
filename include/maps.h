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

#define MAX_FRAMES 256 /* a power of two */
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

/* How a walk ended. Frames are right as far as they go. */
enum unwind_end {
	UNWIND_LOST = 0,       /* no room for the stack */
	UNWIND_COMPLETE = 1,   /* at the first function of the thread */
	UNWIND_TRUNCATED = 2,  /* deeper than MAX_FRAMES, the leaf side was kept */
	UNWIND_BROKEN = 3,     /* the next frame is impossible: code that keeps no rules */
	UNWIND_NO_TABLE = 4,   /* code whose table was not loaded yet, or had to go */
	UNWIND_NO_RULE = 5,    /* code without unwind information that keeps no frame pointer */
	UNWIND_ODD_RULE = 6,   /* code whose rule the tables cannot express */
	UNWIND_UNREADABLE = 7, /* the stack's memory could not be read: swapped out */
	UNWIND_NO_CODE = 8,    /* a return address outside of code */
	UNWIND_END_MAX
};

struct stack_frames {
	__u16 frame_cnt;
	__u8 end;     /* enum unwind_end */
	__u8 chained; /* some frame was found by frame pointers, without a table */
	__u32 zero;
	__u64 python; /* id of the Python frames beside these (include/python.h), 0 = none */
	__u64 check;  /* second, independent hash: tells a collision of ids */
	__u64 frame[MAX_FRAMES]; /* leaf first, see FRAME_MODULE_SHIFT */
};

/*
 * raw_stacks, a ring buffer: the rest of a stack that met code whose table was not loaded yet. User
 * space loads the table and finishes the walk. Until then, and if that fails, the frames stored
 * under stack_id are what there is.
 */
#define RAW_STACK_PIECE 512
#define RAW_STACK_PIECES 32
#define MAX_RAW_RETURNS 16

struct raw_stack {
	__u64 stack_id;
	__u64 time_ns;	  /* CLOCK_MONOTONIC */
	__u64 pc, sp, fp; /* of the last stored frame; pc as it is looked up */
	__u64 context;	  /* machine context of a signal that interrupted it, or 0 */
	__u32 space;
	__u32 len; /* bytes of the stack, from sp on */
	__u32 fp_lost;
	__u32 return_cnt;
	__u64 trampoline; /* stands on the stack in the place of these return addresses, newest
			     first */
	struct {
		__u64 slot, pc;
	} returns[MAX_RAW_RETURNS];
	__u8 bytes[RAW_STACK_PIECE * RAW_STACK_PIECES];
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

/* failures: memory that was asked for and refused, once for each stack */
enum failure_cause {
	FAILURE_CAUSE_ALLOC = 1,	/* an allocator returned nothing */
	FAILURE_CAUSE_MAPPING = 2,	/* mmap, mremap, brk */
	FAILURE_CAUSE_MEMORY_ERROR = 3, /* Python raises MemoryError */
};

struct failure_key {
	__u64 stack_id;
	__u32 space;
	__u32 cause; /* enum failure_cause */
};

struct failure {
	__u64 first_ns, last_ns; /* CLOCK_MONOTONIC */
	__u64 bytes;		 /* asked for, the first time; 0 = not known */
	__u64 cnt;
};

/* procs: tgid -> the space it runs in */
enum proc_flag {
	PROC_BORROWED = 1,   /* vfork child: runs in its parent's space until it execs */
	PROC_FINALIZING = 2, /* its Python interpreter is being torn down: not looked at any more */
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
	__u32 group; /* 1 + index in struct tables.groups, 0 = not known yet */
	__u32 zero;
	__u32 tgid;
	__u32 parent;	    /* space whose blocks this one inherited at fork, or SPACE_NONE */
	__u64 born_ns;	    /* CLOCK_MONOTONIC: fork, exec or first sight */
	__u64 last_fork_ns; /* the newest fork from here, 0 = never */
	__u32 heirs;	    /* forked children that still run (or have heirs themselves) */
	__u32 flags;	    /* enum space_flag */
};

/*
 * Room in the tables is shared among the control groups of the traced processes, so that a noisy one
 * cannot blind the others: a group gets no more entries of a table when it has TABLE_SHARE times as
 * many as are free. One noisy group ends at 4/5 of the table, two at 4/9 each.
 */
#define MAX_GROUPS 1024 /* a power of two; those beyond are one group, number 0 */
#define TABLE_SHARE 4

enum table {
	TABLE_BLOCKS = 0, /* live_blocks */
	TABLE_STACKS = 1, /* stack_frames */
	TABLE_COSTS = 2,  /* stack_costs */
	TABLE_PYTHON_STACKS = 3,
	TABLE_CNT
};

/* The group that bears the memory of its processes: of the memory controller, whichever version. */
struct group {
	__u64 cgroup; /* number of its directory in the cgroup file system; 0 = unused */
	__u64 used[TABLE_CNT];
	__u64 refused[TABLE_CNT]; /* entries that it did not get */
	__u64 refused_bytes;	  /* of the blocks among them */
};

/* In memory that both sides change, by atomic operations. */
struct tables {
	__u64 capacity[TABLE_CNT];
	__u64 used[TABLE_CNT]; /* by all groups, in whole units of each */
	__u64 unit;	       /* a power of two */
	__u64 are_shared;      /* 0: a single process has them to itself */
	struct group groups[MAX_GROUPS];
};

/* Gives back one entry of a group. */
static inline void tables__give(struct tables *tables, __u32 group, enum table table)
{
	struct group *owner = &tables->groups[group & (MAX_GROUPS - 1)];

	if (!(__sync_fetch_and_sub(&owner->used[table], 1) & (tables->unit - 1)))
		__sync_fetch_and_sub(&tables->used[table], tables->unit);
}

#endif
