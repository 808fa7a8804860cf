/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All maps and globals of the kernel side. maps.bpf.c defines them (DEFINE_MAPS), every other unit
 * declares them and the BPF linker joins both.
 *
 *  live_blocks   block_key -> block        what is outstanding
 *  stack_frames  stack id -> stack_frames  each distinct stack once
 *  stack_costs   cost_key -> stack_cost    sums per stack, space and layer; never taken back
 *  procs         tgid -> proc              who is traced, and in which space it runs
 *  spaces        space -> space            lineage of address spaces
 *  threads       task -> thread            what one thread is in the middle of
 *  walkers       task -> walker            what its walks need
 *  code_files    code_file -> module       whose unwind table belongs to a file
 *  code_pages    code_page_key -> code_page  which file a page of code is mapped from
 *  unwind_modules, unwind_cells            the tables (include/unwind.h)
 *  python_procs  space -> python_proc      how to walk the Python frames of its threads
 *  python_stacks id -> python_stack        each distinct Python stack once
 *  python_code_ids  python_code_key -> number  code objects that user space has been told of
 *  python_codes  ring buffer               these, as they are told
 *  python_walkers  task -> python_walker   what a walk over Python frames needs
 *  failures      failure_key -> failure    memory that was refused
 *  events        ring buffer               life of processes, memory system calls
 *  raw_stacks    ring buffer               stacks that user space has to finish
 *  stats         enum stat_id -> u64          effort and losses
 *  touch_watches space -> touch_watch    whose new memory is sampled (include/touch.h)
 *  touch_sums    touch_sum_key -> touch_sum   what was touched first, per stack
 *  touch_pages   touch_page_key -> touch_page where these samples are
 *  touchers      task -> toucher         the page fault that a thread is in
 *  touch_moves   ring buffer             samples whose address has changed
 */
#ifndef LEAKSWEEP_MAPS_BPF_H
#define LEAKSWEEP_MAPS_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "include/alloc_fn.h"
#include "include/events.h"
#include "include/maps.h"
#include "include/python.h"
#include "include/stats.h"
#include "include/touch.h"
#include "include/unwind.h"
#include "stack_hash.bpf.h"

#ifdef DEFINE_MAPS
#define SHARED
#else
#define SHARED extern
#endif

/* errno values: libc's headers are not the kernel's. */
#define EEXIST 17
#define ENOSPC 28

#define MAX_LINEAGE 32 /* generations of forks that are followed */
#define MAX_PENDING 16 /* a power of two: indexes are masked */

enum pending_kind {
	PENDING_CALL = 1,
	PENDING_SIGNAL = 2,   /* a signal handler runs on top of the calls below */
	PENDING_ALTSTACK = 3, /* the same, on another stack: stack pointers do not compare */
};

#define KNOWN_STACKS 16	 /* a power of two */
#define KNOWN_RULES 256	 /* a power of two */
#define STACK_WINDOW 64	 /* words, a power of two */
#define MAX_DEPENDS 256	 /* a power of two */
#define CODE_EPOCHS 4096 /* a power of two */

/* The rule in force at `pc`, and how a frame there is told; pc 0 = empty. */
struct known_rule {
	__u64 pc;
	__u64 frame;
	struct unwind_row row;
};

/* What the kernel has mapped somewhere. */
struct found_code {
	__u64 start, end, pgoff; /* pgoff in pages */
	struct code_file file;	 /* ino 0: none */
	__u32 executable;
};

/* Where a walk is. */
struct walk {
	__u64 pc, sp, fp;
	__u64 look; /* where pc's rule is looked up: a return address may lie behind its function */
	__u64 context;	  /* where a signal's machine context lies, if it interrupted this frame */
	__u64 trampoline; /* of return probes in this process, or 0 */
	struct unwind_row row; /* of pc ... */
	__u64 frame;	       /* ... and how it is told */
	struct stack_hash hash;
	__u32 depend_cnt; /* words read; MAX_DEPENDS + 1: too many, or it depended on more than
			     words */
	__u32 frame_cnt;
	bool fp_lost;
	bool chained; /* the last step was by frame pointer */
};

/*
 * The thread's last stack and all that it followed from. The same pc, sp and fp, the same code
 * around and the same words lead to the same stack.
 */
struct memo {
	__u64 pc, sp, fp;
	__u64 python;	/* the Python frames beside it */
	bool at_pc;	/* of stack_capture() */
	__u64 stack_id; /* STACK_LOST: nothing to reuse */
	__u32 depend_cnt;
	__u32 end;		      /* enum unwind_end */
	__u32 depend_at[MAX_DEPENDS]; /* bytes from sp */
	__u64 depend[MAX_DEPENDS];    /* the words there */
};

/* An allocation call that has been entered and has not returned. */
struct pending {
	__u64 sp; /* at entry, where the return address lies; signals: of the interrupted code */
	__u64 size;
	__u64 cookie;
	__u64 out; /* pointer through which the block comes back */
	__u64 old_addr;
	struct block old; /* realloc: the block, taken out of the table while its fate is open */
	__u32 kind;	  /* enum pending_kind */
	__u32 flags;	  /* enum pending_flag */
};

enum pending_flag {
	PENDING_HAS_OLD = 1,
	PENDING_SKIPPED = 2, /* filtered out: not recorded, but what it calls belongs to it */
};

#define KNOWN_POOLS 32 /* a power of two */

/*
 * Per-thread state. A task's own storage cannot be touched by another task's probe, whatever
 * preempts what, and probes of one task never nest.
 */
struct thread {
	__u32 space; /* SPACE_NONE: not traced */
	__u32 group; /* of the space, index in tables.groups */
	__u32 epoch; /* of the target list that `space` was looked up in */
	__u32 depth; /* pending calls */
	__u32 syscall_active;
	__u64 last_freed; /* nested free functions pass the same block on */
	__u64 syscall_begin_ns;
	__u64 syscall_brk;
	__u64 syscall_args[6];
	struct pending pending[MAX_PENDING];
	__u32 code_space,
		code_epoch; /* `rules` and the walker's memo were true in this space then */
	struct known_rule rules[KNOWN_RULES];
	__u64 pools[KNOWN_POOLS]; /* of Python: address | number of the size class, by address */
};

/* What a thread's walks need. Not in struct thread: a task's storage holds 8 KiB. */
struct walker {
	struct stack_frames stack;
	__u32 group;			       /* whose stack it is, index in tables.groups */
	struct stack_hash known[KNOWN_STACKS]; /* stacks that surely are in the table: they are
						  never deleted */
	__u64 window[STACK_WINDOW];	       /* a piece of the user's stack ... */
	__u64 window_at;		       /* ... from this address on ... */
	__u64 window_words;		       /* ... 0 = nothing is in it */
	struct walk walk;
	struct found_code found;
	struct memo memo;
};

#define KNOWN_CODES 64	  /* a power of two */
#define FRAME_WINDOW 1024 /* bytes, a power of two */
#define CODE_MARKS 65536  /* a power of two */

struct known_code {
	__u64 addr, check;
	__u32 space, id;
	__u32 generation; /* of code_generation when it was read */
	__u32 first_unit; /* of struct python_proc.code_first_unit */
};

/* What a walk over a thread's Python frames needs. */
struct python_walker {
	struct python_stack stack;
	__u64 at; /* the frame that comes next */
	__u64 last_id, last_check;
	__u64 window_at;  /* address of the first byte in `window` ... */
	__u32 window_len; /* ... and how many there are, 0 = none */
	__u32 frame;	  /* where in it the frame is */
	__u32 cnt;
	__u32 group; /* whose stack it is, index in tables.groups */
	bool in_chunk;
	/* Frames lie behind each other: callers are read with the frame. An offset in a frame is
	 * below 128 and leaves room for a word. */
	__u8 window[FRAME_WINDOW + 128 + 8];
	__u8 code[256 + 8];
	__u64 text[8]; /* a piece of what a code object refers to */
	struct known_code known[KNOWN_CODES];
};

/* A code object: by its address, and by what its fields say. */
struct python_code_key {
	__u64 addr, check;
	__u32 space, zero;
};

/* code_pages: a cache of what the kernel's list of mappings says. */
struct code_page_key {
	__u64 page; /* address / 4096 */
	__u32 space;
	__u32 epoch;
};

struct code_page {
	__u64 to_offset; /* + address = file offset */
	__u32 module;	 /* UNWIND_MODULE_NONE: memory without a file */
	__u32 zero;
};

#define NO_SYSCALL -1

/* What a thread of a watched process does to its memory. */
struct toucher {
	__u64 fault_addr; /* of the fault that it is in, if nothing was added yet; else 0 */
	__u64 folio;	  /* the last movable one that it got and that was not added yet, or 0 */
	__u64 populated;  /* bytes, by the system call `populated_nr` */
	__s32 folio_nr;	  /* the system call that `folio` came in, or NO_SYSCALL */
	__s32 populated_nr;
	__u32 order; /* of the folio */
	__u32 fault_kind;
	struct touch_page page;	   /* the sample that is being made ... */
	struct touch_page_key key; /* ... and where it is kept */
};

/*
 * Linux 7 takes a task's storage from kmalloc_nolock(), which has nothing above 8 KiB: a bigger one
 * loads, and no task ever gets it.
 */
_Static_assert(sizeof(struct thread) <= 8192 - 128 && sizeof(struct walker) <= 8192 - 128 &&
		       sizeof(struct python_walker) <= 8192 - 128,
	       "too big for a task's storage");

#define PENDING(thread, i) (&(thread)->pending[(i) & (MAX_PENDING - 1)])

/* Whether nothing that is being counted encloses a call with `depth` pending ones below it. */
static __always_inline bool is_outermost(struct thread *thread, __u32 depth)
{
	return depth == 0 || PENDING(thread, depth - 1)->kind != PENDING_CALL;
}

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 22);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct block_key);
	__type(value, struct block);
} live_blocks SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct stack_frames);
} stack_frames SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 18);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cost_key);
	__type(value, struct stack_cost);
} stack_costs SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct proc);
} procs SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 17);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct space);
} spaces SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread);
} threads SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct walker);
} walkers SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_UNWIND_MODULES * 2);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct code_file);
	__type(value, __u32);
} code_files SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 14);
	__type(key, struct code_page_key);
	__type(value, struct code_page);
} code_pages SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_UNWIND_MODULES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct unwind_module);
} unwind_modules SEC(".maps");

struct unwind_chunk {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, UNWIND_CHUNK_CELLS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
};

SHARED struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_UNWIND_CHUNKS);
	__type(key, __u32);
	__array(values, struct unwind_chunk);
} unwind_cells SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct python_proc);
} python_procs SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct python_stack);
} python_stacks SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 16);
	__type(key, struct python_code_key);
	__type(value, __u32);
} python_code_ids SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23);
} python_codes SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct python_walker);
} python_walkers SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 12);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct failure_key);
	__type(value, struct failure);
} failures SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23);
} events SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23);
} raw_stacks SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STAT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} stats SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 10);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct touch_watch);
} touch_watches SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 14);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct touch_sum_key);
	__type(value, struct touch_sum);
} touch_sums SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct touch_page_key);
	__type(value, struct touch_page);
} touch_pages SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct toucher);
} touchers SEC(".maps");

SHARED struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} touch_moves SEC(".maps");

/* Set by user space before loading. */
SHARED const volatile __u64 min_size;
SHARED const volatile __u64 max_size;
SHARED const volatile __u64 sample_bytes;
SHARED const volatile __u64 hash_seed;
SHARED const volatile bool trace_all;
SHARED const volatile bool object_frees; /* frees of Python objects are watched too */
SHARED const volatile bool watch_execs;	 /* report the exec of processes that are not traced too */
SHARED const volatile bool in_windows; /* probes come and go: children and what nobody knows do not matter */
SHARED const volatile __u32 own_tgid;	 /* never trace the tool itself */

/* Always false, known to the verifier and not to clang. */
SHARED const volatile bool never;

/*
 * From 6.13 on a program that needs 64 bytes of stack gets one per CPU (private stack), which the
 * next task's probe overwrites when it preempts this one: nothing else guards uprobe programs on
 * preemptible kernels. A program with a tail call, even a dead one, keeps its frame on the task's
 * kernel stack.
 */
#define NO_PRIVATE_STACK(ctx)                                                                      \
	do {                                                                                       \
		if (never)                                                                         \
			bpf_tail_call(ctx, NULL, 0);                                               \
	} while (0)

/* Shared with user space while running. */
SHARED __u32 recording;	   /* 0: entries are ignored, calls in flight are finished */
SHARED __u32 target_epoch; /* changes when user space adds processes */
SHARED __u32 next_space;   /* the last space number handed out */
SHARED __u64 heirs_total;  /* forked children that may still free inherited blocks */

/* Changes when code appears in a space: what was known of its addresses may be wrong now. Indexed
 * by the low bits of the space; neighbours only lose their caches. */
SHARED __u32 code_epochs[CODE_EPOCHS];
SHARED __u32 python_cnt; /* entries of python_procs: with none nobody is asked */
SHARED __u32 next_code;	 /* code objects told so far */
/* Where known code objects lie; a block that is made at such a place begins a new generation. */
SHARED __u8 code_marks[CODE_MARKS];
SHARED __u32 code_generation;
SHARED __u64 deferred_stacks; /* numbers them */
SHARED struct tables tables;
SHARED __u32 mappings_watched; /* 0: system calls are not seen, caches must expire by time */
SHARED __u64 identified[2];    /* struct code_file: the answer of identify_code */

static __always_inline void count(enum stat_id stat, __u64 n)
{
	__u32 key = stat;
	__u64 *value = bpf_map_lookup_elem(&stats, &key);

	if (value) /* per CPU, but another task may preempt this one in the middle */
		__sync_fetch_and_add(value, n);
}

#endif
