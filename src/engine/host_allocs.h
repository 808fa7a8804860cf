/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allocators that the processes of this host use now, how each would be probed, and who cannot
 * be followed.
 */
#ifndef LEAKSWEEP_ENGINE_HOST_ALLOCS_H
#define LEAKSWEEP_ENGINE_HOST_ALLOCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "attach/calibrate.h"
#include "attach/plan.h"
#include "discover/elf_allocs.h"
#include "util/array.h"
#include "util/hashmap.h"
#include "util/procfs.h"
#include "util/subvolumes.h"

/* A file that code is mapped from. */
struct host_file {
	char *path;	   /* owned; as the first process that was seen to map it names it */
	uint64_t dev, ino; /* the device is the subvolume's, when it is in one */
	bool deleted;
	int err; /* why it could not be read, negative errno; `allocs` is empty then */
	struct elf_allocs allocs;
	size_t emulated_cnt, stepped_cnt;
	size_t proc_cnt; /* processes that map it */
	pid_t last_pid;	 /* the last of these */
};

/* A process that cannot be followed. */
struct host_unfollowed {
	pid_t pid;
	char comm[PROC_COMM_MAX + 1];
	char *exe;	    /* owned, NULL = unknown */
	uint64_t rss_bytes; /* resident, 0 = unknown */
	const char *reason; /* static, or of one of the files */
	int err;	    /* that goes with it, 0 = none */
};

struct host_allocs {
	ARRAY(struct host_file)
	files; /* those with allocators first, most used first; of
		  these some may have no function that can be probed */
	struct hashmap by_inode;
	struct subvolumes subvolumes;
	size_t allocator_cnt;			  /* how many files have allocators */
	ARRAY(struct host_unfollowed) unfollowed; /* largest first */
	size_t proc_cnt;			  /* processes but kernel threads and this one */
};

/* Looks at every process. Returns 0 or a negative errno; free with host_allocs__free. */
int host_allocs__scan(struct host_allocs *ret);
void host_allocs__free(struct host_allocs *allocs);

/* Whether it could not be looked into for want of rights. */
bool host_unfollowed__is_denied(const struct host_unfollowed *process);

/*
 * Gives the nanoseconds that the traps add to a malloc and its free, when probed in a mode that
 * sees returns as costs->return_mode does. Returns false when the file does not define both.
 */
bool predict_pair_ns(const struct elf_allocs *allocs, const struct trap_costs *costs,
		     double *ret_ns);

#endif
