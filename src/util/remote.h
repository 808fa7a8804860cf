/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Another process's memory, read while it runs: /proc/PID/mem, nothing is stopped. Not by
 * process_vm_readv(2): that pins pages, for which the kernel (from 5.19 on, mm/gup.c,
 * gup_must_unshare) first makes copies of all that a process still shares with those it was forked
 * from. A reader would double the memory of every worker.
 */
#ifndef LEAKSWEEP_UTIL_REMOTE_H
#define LEAKSWEEP_UTIL_REMOTE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Reads `len` bytes at address `addr` of a process, all or nothing: on failure `buf` holds
 * anything. Returns 0, -EFAULT (not all of it is readable memory), -ESRCH (no such process), -EPERM
 * or another negative errno. Longer reads are no snapshot: the process may write while it is read.
 */
int remote_read(pid_t pid, uint64_t addr, void *buf, size_t len);

struct remote_part {
	uint64_t addr;
	void *buf;
	size_t len;
	int err; /* set: 0 or -EFAULT, as of remote_read */
};

/*
 * Reads many parts. Returns 0 when each part's `err` is set, else -ESRCH, -EPERM or
 * another negative errno.
 */
int remote_read_parts(pid_t pid, struct remote_part *parts, size_t cnt);

#endif
