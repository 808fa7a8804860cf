/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that appear whole or not at all, whatever ends the writer: without a name until they are
 * published (O_TMPFILE), or, where the file system cannot do that, under a temporary name that is
 * locked while its writer lives.
 */
#ifndef LEAKSWEEP_UTIL_NEW_FILE_H
#define LEAKSWEEP_UTIL_NEW_FILE_H

#include <stdbool.h>

#define NEW_FILE_NAME_MAX 32

struct new_file {
	int fd;			      /* to write to */
	int dir_fd;		      /* borrowed */
	char name[NEW_FILE_NAME_MAX]; /* temporary; "" = has none */
};

/*
 * Makes an empty file of mode 0600 in the directory, which stays open until new_file__close.
 * Returns 0 or a negative errno.
 */
int new_file__create(int dir_fd, struct new_file *ret);

/* The same with a temporary name in any case. */
int new_file__create_named(int dir_fd, struct new_file *ret);

/*
 * Gives the file its name. Returns 0, -EEXIST (somebody has that name; his file stays) or another
 * negative errno.
 */
int new_file__publish(struct new_file *file, const char *name);

/* Closes; an unpublished file is gone. */
void new_file__close(struct new_file *file);

/* Whether this is a temporary name. */
bool new_file__is_temporary(const char *name);

/* Removes a temporary file if its writer is dead. */
void new_file__clean(int dir_fd, const char *name);

#endif
