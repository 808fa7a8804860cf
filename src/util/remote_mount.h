/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files on network file systems and FUSE. While their server is away, whoever opens one waits for
 * it, at times so that no signal ends it. So a child opens it first.
 */
#ifndef LEAKSWEEP_UTIL_REMOTE_MOUNT_H
#define LEAKSWEEP_UTIL_REMOTE_MOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Has a child run `job`, which opens a file that the process `pid` can see, if the file may be on
 * such a mount. `dev` is the file's device as /proc/PID/maps has it. A device that is no block
 * device and in none of the process's mounts (unmounted lazily, or in another namespace) may be
 * one; of a process that has gone, the mounts are taken to be ours. 0 = not known: then it is as if
 * the file were on any such mount that the process has. In the child all descriptors are closed,
 * and what the job does with memory is not seen here.
 *
 * Returns 0 (it came to its end, or there is no such mount), -ETIMEDOUT (it waits for more than a
 * second, or another one still does for the same device, or with 0 for the same mount namespace, or
 * four do for any), -EIO (the child was killed, or ended itself with an error) or another negative
 * errno. Overlays are not looked through.
 */
int remote_mount__try(pid_t pid, uint64_t dev, void (*job)(const void *arg), const void *arg);

/* Returns whether remote_mount__try would have a child try the file. */
bool remote_mount__may_hold(pid_t pid, uint64_t dev);

/* Has a child ask the server for a file that is open already, and is on such a mount. Returns as
 * remote_mount__try. */
int remote_mount__try_open(uint64_t dev, int fd);

#endif
