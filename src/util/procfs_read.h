/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the readers of /proc share: whole files of unknown size, escaped paths, lists of process
 * ids.
 */
#ifndef LEAKSWEEP_UTIL_PROCFS_READ_H
#define LEAKSWEEP_UTIL_PROCFS_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/array.h"

struct pid_list {
	ARRAY(pid_t) pids;
};

/*
 * Reads a file whose size is not known beforehand. *ret is owned and ends with a NUL that *ret_len
 * leaves out. Returns 0 or a negative errno.
 */
int procfs_read_fd(int fd, char **ret, size_t *ret_len);
int procfs_read_path(const char *path, char **ret, size_t *ret_len);

/* Reads /proc/PID/NAME in the same way; a process that is gone is -ESRCH. */
int procfs_read_pid(pid_t pid, const char *name, char **ret, size_t *ret_len);

/* Opens /proc/PID/NAME. Returns a descriptor, -ESRCH (the process is gone), -EPERM or another
 * negative errno. */
int procfs_open_pid(pid_t pid, const char *name);

/*
 * Returns an owned copy of text[0..len) with octal escapes of the characters in `escapes` undone,
 * or NULL. The kernel writes a newline of a path as \012 in maps, and blanks and backslashes in
 * mountinfo, too.
 */
char *procfs_unescape(const char *text, size_t len, const char *escapes);

/*
 * Finds in a /proc/PID/cgroup text, lines of HIERARCHY:CONTROLLERS:PATH (cgroups(7)), the path in
 * one hierarchy: v1's of the memory controller, or v2's. Returns an owned path, or NULL.
 */
char *procfs_cgroup_path(const char *text, bool is_v1);

/* Cuts " (deleted)" off the end. Returns whether it was there. */
bool procfs_cut_deleted(char *path);

/*
 * Appends the process id at the start of `text` if there is one above 0. Returns 0 or -ENOMEM;
 * *ret_end as strtol.
 */
int pid_list__add(struct pid_list *list, const char *text, char **ret_end);

/* Hands the ids over to the caller, sorted and without repeats. */
void pid_list__finish(struct pid_list *list, pid_t **ret_pids, size_t *ret_cnt);

#endif
