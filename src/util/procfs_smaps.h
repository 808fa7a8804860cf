/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /proc/PID/smaps, mapping by mapping: where the resident memory of a process is. The kernel walks
 * a process's page tables for it and lets go of them between two reads of a page of text each:
 * whoever reads may stop at any mapping.
 *
 * Fields: Documentation/filesystems/proc.rst. The text is parsed as if it were hostile.
 */
#ifndef LEAKSWEEP_UTIL_PROCFS_SMAPS_H
#define LEAKSWEEP_UTIL_PROCFS_SMAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/procfs.h"

/* A mapping and what of it is in memory, in bytes. */
struct smaps_area {
	const struct proc_map *map; /* owned by the reader, until the next call */
	uint64_t rss_bytes;
	uint64_t pss_bytes; /* of rss_bytes: each page divided by those who have it */
	uint64_t private_dirty_bytes;
	uint64_t anon_bytes;	  /* of rss_bytes: of no file, or copied from one */
	uint64_t anon_huge_bytes; /* of these: in huge pages */
	uint64_t swap_bytes;
	bool no_huge; /* VmFlags "nh": so are stacks of threads from Linux 6.7 on (c4608d1bf7c6) */
};

struct smaps {
	int fd;
	char *text; /* what was read and not parsed yet: [at, len) */
	size_t at, len, cap;
	bool at_end;
	struct proc_map map;
};

/* Opens /proc/PID/smaps. Returns 0, -ESRCH, -EPERM or another negative errno; smaps__close is due
 * after 0 only. */
int smaps__open(pid_t pid, struct smaps *ret);

/* Begins with a descriptor of a text like it, which is closed by smaps__close. */
void smaps__open_fd(int fd, struct smaps *ret);
void smaps__close(struct smaps *smaps);

/*
 * Reads the next mapping. Returns 1, 0 (there are no more; a process that has ended has none),
 * -EBADMSG, -ESRCH or another negative errno. What a kernel does not tell of a mapping is 0, but
 * the resident size must be there; without a share, all of it is the process's.
 */
int smaps__next(struct smaps *smaps, struct smaps_area *ret);

#endif
