/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /proc says of a process. Everything read is hostile: no fixed buffers, no trust in paths. */
#ifndef LEAKSWEEP_UTIL_PROCFS_H
#define LEAKSWEEP_UTIL_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/array.h"

#define PROC_COMM_MAX 16

/* One line of /proc/PID/maps. */
struct proc_map {
	uint64_t start, end;
	uint64_t off;	   /* file offset of `start` */
	uint64_t dev, ino; /* dev as makedev(major, minor); 0, 0 = anonymous */
	bool readable, writable, executable, shared;
	char *path; /* owned; "" for anonymous memory, without " (deleted)" */
	bool deleted;
};

struct proc_maps {
	ARRAY(struct proc_map) maps; /* by address */
};

struct proc_info {
	pid_t pid, ppid;
	uint64_t start_ns; /* since boot, from /proc/PID/stat field 22 */
	char comm[PROC_COMM_MAX + 1];
	bool kernel_thread;
	bool zombie; /* or on its way there */
};

/* Reads /proc/PID/stat. Returns 0, -ESRCH (no such process) or a negative errno. */
int proc_info__read(pid_t pid, struct proc_info *ret);

/*
 * Parses a line of /proc/PID/maps, `len` bytes and a NUL. Returns 0, -EBADMSG or -ENOMEM; ret->path
 * is the caller's to free.
 */
int proc_map__parse(const char *line, size_t len, struct proc_map *ret);

/* Reads /proc/PID/maps. Returns 0, -ESRCH or a negative errno. Free with proc_maps__free. */
int proc_maps__read(pid_t pid, struct proc_maps *ret);
void proc_maps__free(struct proc_maps *maps);

/* Returns the map that holds `addr`, or NULL. */
const struct proc_map *proc_maps__find(const struct proc_maps *maps, uint64_t addr);

/*
 * Opens the file behind a mapping, deleted files and other mount namespaces included:
 * /proc/PID/map_files first, then /proc/PID/root + path; the file's (dev, inode) must be the
 * mapping's, except that on an overlay the device may differ, or both as long as a mapping of it
 * here is told by the same ones. Returns an O_RDONLY | O_CLOEXEC descriptor of a regular file,
 * -ETIMEDOUT (its file system does not answer) or another negative errno.
 */
int proc_map__open(pid_t pid, const struct proc_map *map);

/* Returns the owned target of /proc/PID/exe without " (deleted)", or NULL. */
char *proc_exe(pid_t pid);

/*
 * Returns the owned cgroup path of the process: v1's of the memory controller, or cgroup v2's where
 * that is the same group or one below it, or where v1 has no memory controller; NULL on failure.
 */
char *proc_cgroup(pid_t pid);

/* The same of one of its threads, 0 = the main one: that v1 shows at the root once it has left. */
char *proc_thread_cgroup(pid_t pid, pid_t thread);

/* Returns resident bytes of the process, 0 when unknown. */
uint64_t proc_rss_bytes(pid_t pid);

/* Returns how much of that is anonymous, 0 when unknown. */
uint64_t proc_anon_bytes(pid_t pid);

/* Returns the number of the process in its own PID namespace, 0 when it is the same or not known
 * (NSpid in proc(5)). */
pid_t proc_ns_pid(pid_t pid);

/* Lists all process ids. Returns 0 or a negative errno; *ret_pids is owned by the caller. */
int proc_list(pid_t **ret_pids, size_t *ret_cnt);

/* Where the cgroup hierarchies are mounted. */
struct cgroup_mounts {
	char *unified, *memory; /* v2, and v1's memory controller; owned, NULL = not mounted */
	size_t v1_cnt;		/* v1 hierarchies, all of them */
};

/* Reads /proc/self/mountinfo. Returns 0 or a negative errno; free with cgroup_mounts__free. */
int cgroup_mounts__read(struct cgroup_mounts *ret);
void cgroup_mounts__free(struct cgroup_mounts *mounts);

/* Lists the processes in a cgroup directory and below it. Same contract; -ENOENT when there is no
 * such cgroup. */
int proc_list_cgroup(const char *path, pid_t **ret_pids, size_t *ret_cnt);

#endif
