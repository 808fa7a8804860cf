/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was known of the processes that shared a limit when the kernel killed one of them for
 * memory. */
#ifndef LEAKSWEEP_MODEL_SWEEP_OOM_H
#define LEAKSWEEP_MODEL_SWEEP_OOM_H

#include <stdint.h>

#include "model/sweep.h"
#include "util/array.h"

#define MAX_OOM_PROCESSES 64 /* that are told one by one */

enum oom_fate {
	OOM_THERE = 1,	/* it still is */
	OOM_GONE = 2,	/* since then, whatever ended it */
	OOM_KILLED = 3, /* the kernel said so, or nobody else of the group has gone */
	OOM_FATE_CNT,
};

/* Returns one word, as reports have it; "unknown" for a value out of range. */
const char *oom_fate__name(enum oom_fate fate);

struct oom_process {
	/* Owned; of it: who it is, its memory when it was last looked at, its growth, and `kept`.
	 * Without a limit of its own and without code. */
	struct sweep_row row;
	enum oom_fate fate;
};

struct sweep_oom {
	uint64_t time_ns;   /* CLOCK_REALTIME: when it was noticed */
	uint64_t kills;	    /* since the look before */
	char *cgroup;	    /* owned, as all text: whose process was killed; "" = not known whose */
	char *title;	    /* of that group, "" = not known */
	char *limit_cgroup; /* that or one above it, "" = the host's memory */
	uint64_t limit_bytes;
	bool is_limit_doubtful; /* another one may have been reached */
	/* Of all processes below that limit, those that are gone included. */
	uint64_t process_cnt, anon_bytes;
	/* Of all groups below it that are watched: shared memory and files of tmpfs. */
	uint64_t shmem_bytes;
	ARRAY(struct oom_process) list; /* those that were killed first, then by their memory */
};

/* Texts are copied, NULL counts as "". Returns NULL when there is no memory. */
struct sweep_oom *sweep_oom__new(const char *cgroup, const char *title, const char *limit_cgroup);
void sweep_oom__free(struct sweep_oom *oom);

/* Adds a group's shared memory and files of tmpfs. */
void sweep_oom__add_shmem(struct sweep_oom *oom, uint64_t bytes);

/* Returns what counts against the limit of all that is known. */
uint64_t sweep_oom__bytes(const struct sweep_oom *oom);

/*
 * Counts a process, and puts a copy of it, without code, into the list if it is one of the
 * MAX_OOM_PROCESSES first. Returns 0 or -ENOMEM.
 */
int sweep_oom__add(struct sweep_oom *oom, const struct sweep_row *row, enum oom_fate fate);

#endif
