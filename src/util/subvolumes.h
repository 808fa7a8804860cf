/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Subvolumes of btrfs. /proc/PID/maps and the kernel's inodes show one device for all of them, and
 * each numbers its files for itself: a snapshot has all numbers of what it is of. stat(2) gives
 * each a device of its own (btrfs_getattr in fs/btrfs/inode.c).
 */
#ifndef LEAKSWEEP_UTIL_SUBVOLUMES_H
#define LEAKSWEEP_UTIL_SUBVOLUMES_H

#include <stdint.h>
#include <sys/types.h>

#include "util/hashmap.h"
#include "util/procfs.h"

/* The devices of maps that have subvolumes, as far as one of their files was opened. Zero it
 * first. */
struct subvolumes {
	struct hashmap devs;
};

void subvolumes__free(struct subvolumes *subvolumes);

/*
 * Notes what the open file of a mapping tells of its device. Returns the device that stat(2) gives
 * the file's subvolume, 0 = it is in none.
 */
uint64_t subvolumes__note(struct subvolumes *subvolumes, const struct proc_map *map, int fd);

/*
 * The same of a mapping that nobody has opened; 0 also when it cannot be found out, or no file of
 * its device was noted yet. Asks the file only when its device has subvolumes.
 */
uint64_t subvolumes__find(const struct subvolumes *subvolumes, pid_t pid,
			  const struct proc_map *map);

#endif
