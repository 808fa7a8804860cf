/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Regular files and nothing else. Merely opening a device or a FIFO can block or have effects, so a
 * path that somebody else chose is opened with O_PATH first, which does neither (open(2)).
 */
#ifndef LEAKSWEEP_UTIL_REGULAR_FILE_H
#define LEAKSWEEP_UTIL_REGULAR_FILE_H

#include <stdint.h>
#include <sys/stat.h>

/* Tells whether two descriptors lead to the same file with the same contents. */
struct file_identity {
	uint64_t dev, ino;
	uint64_t size;	   /* bytes */
	uint64_t mtime_ns; /* CLOCK_REALTIME */
};

/* fstat(2) of a regular file. Returns 0, -ENXIO (not a regular file) or a negative errno. */
int regular_file__stat(int fd, struct stat *ret_st);

/*
 * Opens for reading what an O_PATH descriptor names; regular_file__stat has to have said what that
 * is. Returns a descriptor that the caller closes, or a negative errno; `path_fd` stays open.
 */
int regular_file__reopen(int path_fd);

/*
 * Opens a path for reading. Returns a descriptor that the caller closes, -ENXIO (not a regular
 * file) or a negative errno.
 */
int regular_file__open(const char *path);

/*
 * Identifies the regular file behind a descriptor. Returns 0, -ENXIO (not a regular file) or a
 * negative errno.
 */
int file_identity__read(int fd, struct file_identity *ret_identity);

#endif
