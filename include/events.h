/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records of the ring buffer `events`. Kinds are numbered by hand and never reused. */
#ifndef LEAKSWEEP_EVENTS_H
#define LEAKSWEEP_EVENTS_H

#include <linux/types.h>
#include "include/maps.h"
#include "include/unwind.h"

enum event_kind {
	EV_SPACE_NEW = 1,      /* first sight of a process: .proc */
	EV_FORK = 2,	       /* .proc: space = the child's, parent = the parent's */
	EV_EXEC = 3,	       /* .proc: space = the new one, parent = the one that ended */
	EV_EXIT = 4,	       /* .proc */
	EV_EXEC_MAP = 5,       /* .map: an executable file mapping appeared */
	EV_MMAP = 6,	       /* .map */
	EV_MUNMAP = 7,	       /* .map */
	EV_MREMAP = 8,	       /* .remap */
	EV_BRK = 9,	       /* .remap: old_addr -> addr */
	EV_MPROTECT = 10,      /* .map */
	EV_ANCESTOR_FREE = 11, /* .freed: a process freed a block that a forked child still has */
	EV_UNKNOWN_FREE = 12, /* .freed: a forked child freed an address that it did not allocate */
	EV_CODE_NEW = 13, /* .code: a stack leads through a file whose unwind table is not known */
	EV_CODE_WANTED = 14,	 /* .code: or was evicted */
	EV_CODE_MAP = 15,	 /* .code: what exec has mapped: the program, its dynamic loader */
	EV_FAILURE = 16,	 /* .failed: memory was refused; the first time for this stack */
	EV_OOM_KILL = 17,	 /* .proc: the kernel's OOM killer has chosen the process */
	EV_PYTHON_FINALIZE = 18, /* the interpreter ends; the process is not looked at any more */
	EV_CGROUP_MOVE = 19,	 /* .proc: a process was moved to another control group */
};

enum event_flag {
	EVENT_IN_ALLOCATOR = 1, /* made by an allocator on behalf of a probed call */
	EVENT_UNTRACED = 2,	/* EV_EXEC, EV_CGROUP_MOVE: not of a traced process (yet) */
	EVENT_INHERITED = 4, /* EV_UNKNOWN_FREE: an ancestor has the block, from before the fork */
};

struct event {
	__u16 kind;  /* enum event_kind */
	__u16 flags; /* enum event_flag */
	__u32 space;
	__u64 time_ns;	/* CLOCK_MONOTONIC, when it had happened */
	__u64 begin_ns; /* system calls: when it began */
	__u64 stack_id;
	union {
		struct {
			__u32 tgid;
			__u32 parent;
			__s32 exit_code;
			char comm[MAX_COMM];
		} proc;
		struct {
			__u64 addr;
			__u64 len;
			__u32 prot;
			__u32 flags;
			__u32 dev; /* kernel encoding: major << 20 | minor; 0 = anonymous */
			__u32 tgid;
			__u64 ino;
			__u64 pgoff;	  /* bytes */
			__u32 generation; /* of the inode */
		} map;
		struct {
			__u64 old_addr;
			__u64 old_len;
			__u64 addr;
			__u64 len;
			__u32 flags;
		} remap;
		struct {
			__u64 addr;
			struct block block;
		} freed;
		struct {
			__u64 bytes;
			__u32 cause; /* enum failure_cause */
			__u32 tgid;
		} failed;
		struct {
			__u64 addr;		 /* in the code */
			__u64 start, end, pgoff; /* EV_CODE_MAP; bytes */
			struct code_file file;
			__u32 module; /* EV_CODE_WANTED */
		} code;
	};
};

#endif
