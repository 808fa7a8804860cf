/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libcount.so writes: it is preloaded (LD_PRELOAD) into programs that are not ours and counts
 * their allocator calls from inside, in the file that COUNT_FILE names. The file is mapped and
 * shared, so that the numbers hold up to a process's last call, however it ends. A process image
 * that allocates takes the next slot; a forked child takes its own; an image that follows exec
 * does, too, with the same PID.
 *
 * Counted as the tool counts: a realloc that succeeds is a free of the old block (if there was one)
 * and an allocation; an allocation that fails is none; sizes are those asked for; free(NULL) is
 * nothing.
 */
#ifndef LEAKSWEEP_TESTS_COUNT_PRELOAD_H
#define LEAKSWEEP_TESTS_COUNT_PRELOAD_H

#include <stdint.h>

#define COUNT_SLOTS 1024

struct count_slot {
	int64_t pid;
	char comm[16];
	int64_t alloc_bytes, alloc_count;
	int64_t free_bytes, free_count;
	int64_t inherited_bytes, inherited_count; /* live when the parent forked */
	int64_t inherited_free_bytes,
		inherited_free_count; /* of those, freed here; part of free_* */
	int64_t parent_alloc_count;   /* what the parent had allocated by then */
	int64_t unknown_frees;	      /* of blocks that were never handed out by us */
	int64_t blocks_lost;	      /* no room to remember a block's size */
};

struct count_file {
	int64_t slot_cnt;
	struct count_slot slots[COUNT_SLOTS];
};

#endif
