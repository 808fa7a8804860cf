/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All processes of the host, or of some control groups, and how the anonymous memory of each grows:
 * by polling files of /proc that are kept open. Needs neither BPF nor BTF, and touches nobody.
 */
#ifndef LEAKSWEEP_ENGINE_WATCH_H
#define LEAKSWEEP_ENGINE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/watch_groups.h"
#include "engine/watch_kills.h"
#include "engine/watch_services.h"
#include "model/growth.h"
#include "model/life.h"
#include "util/array.h"
#include "util/procfs.h"
#include "util/procfs_memory.h"

#define WATCH_RECENT 4

struct watched {
	pid_t pid;
	uint64_t start_ns; /* since boot: tells processes of one number apart */
	char comm[PROC_COMM_MAX + 1];
	pid_t thread; /* that is read, as the main one has left; 0 = it has not */
	int fd;	      /* kept open, -1 = opened for each reading */
	uint32_t passes;
	struct watch_group *group;
	uint64_t anon_bytes;
	uint64_t recent_bytes[WATCH_RECENT]; /* the last samples, in no order */
	struct watch_first first;	     /* of its service; its own if it follows no other */
	uint64_t found_ns;		     /* by the watch's clock */
	uint64_t held_ns; /* until then its memory does not count: its service starts anew */
	struct growth
		*growth;   /* owned, of a service all of its processes'; NULL = a kernel thread */
	struct life *life; /* owned; NULL = it follows no other */
};

struct watch_opts {
	const char *const *cgroups; /* only these and below; borrowed */
	size_t cgroup_cnt;	    /* 0 = the whole host */
	/* files that are kept open, and a quarter as many for groups; the smallest go without */
	size_t max_open;
	size_t max_procs; /* more are not watched */
};

struct watch {
	struct watch_opts opts;
	struct watch_groups groups;
	ARRAY(struct watched) items; /* by PID */
	struct watch_services services;
	struct watch_kills kills;
	enum proc_anon_source source;
	uint64_t pass;
	uint64_t left_out; /* processes beyond max_procs, at the last pass */
	size_t open_cnt;
	uint64_t least_bytes; /* from this size on a process has a file kept open */
};

/* Returns 0 or -ENOMEM; to be destroyed in both cases. */
int watch__init(struct watch *watch, const struct watch_opts *opts);
void watch__destroy(struct watch *watch);

/*
 * Lists processes and takes a sample of each and of their groups. `now_ns` is CLOCK_MONOTONIC.
 * Returns 0 or a negative errno.
 */
int watch__pass(struct watch *watch, uint64_t now_ns);

/* Reads the name and the group of a process again: it may have become another program, or have been
 * moved. Returns 0, -ESRCH or another negative errno. */
int watch__refresh(struct watch *watch, struct watched *item);

/* Returns what a process's memory may seem to be wrong by. */
uint64_t watch__noise_bytes(void);

/* Returns how many files of processes this process may keep open for a watch, after raising its
 * limit as far as that goes. */
size_t watch__raise_files(void);

#endif
