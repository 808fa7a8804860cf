/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which limit refused memory. The kernel does not tell (mmap and brk return ENOMEM for all of
 * them), so it is worked out from what the process, its control groups and the host have and may
 * have, at once, while it still is as it was.
 */
#ifndef LEAKSWEEP_ENGINE_FAILURE_LIMIT_H
#define LEAKSWEEP_ENGINE_FAILURE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "util/procfs_memory.h"

struct memory_facts {
	bool has_proc, has_host, has_cgroup;
	struct proc_memory proc;
	struct host_memory host;
	struct cgroup_memory cgroup; /* the tightest one above the process */
	uint64_t map_cnt;	     /* mappings of the process; 0 = cannot be many, or not known */
};

/*
 * Reads what can be read. `pid` is 0 for a process that has ended; `cgroup` (may be NULL) is its
 * path as last known. Free with memory_facts__free.
 */
void memory_facts__read(struct memory_facts *facts, pid_t pid, const char *cgroup);
void memory_facts__free(struct memory_facts *facts);

/*
 * Returns an owned sentence on what has refused `bytes` (0 = not known), "" when nothing here
 * explains it, or NULL (no memory). Pure.
 */
char *explain_refusal(const struct memory_facts *facts, uint64_t bytes);

/* The same on what made the kernel kill the process. */
char *explain_kill(const struct memory_facts *facts);

#endif
