/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a report goes while it is being made: a file that is whole or not there, or what cannot be
 * replaced (a pipe, a terminal, a device), as it comes. Never all of it in memory.
 */
#ifndef LEAKSWEEP_ENGINE_REPORT_FILE_H
#define LEAKSWEEP_ENGINE_REPORT_FILE_H

#include <stdio.h>

struct report_file;

/* Begins a report for `path`, or, when that is NULL, for the descriptor, which stays open. Returns
 * 0 or a negative errno. */
int report_file__open(const char *path, int fd, struct report_file **ret);

/* SIGHUP ends nothing while the report waits for its reader: it asks the caller for something, who
 * has blocked it and hears of it later. */
void report_file__hold_hangup(struct report_file *file);

/* Returns the stream to write to, owned by the file. */
FILE *report_file__stream(struct report_file *file);

/*
 * Ends the report and frees it. `err` is the writer's own failure, or 0; then, or when a write
 * failed, a file stays as it was. Returns 0 or a negative errno: that of the first failed write,
 * else `err`, else that of giving the file its name.
 */
int report_file__finish(struct report_file *file, int err);

/* Whether `path` can be written when the time comes. Returns 0 or a negative errno; creates
 * nothing. */
int report_file__check(const char *path);

/* The same for an option, NULL = stdout. *ret_message is an owned sentence when it fails. */
int report_file__check_option(const char *path, char **ret_message);

#endif
