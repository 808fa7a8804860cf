/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/regular_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int regular_file__stat(int fd, struct stat *ret_st)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENXIO;
	*ret_st = st;
	return 0;
}

int regular_file__reopen(int path_fd)
{
	char link[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
	int fd;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	fd = open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

int regular_file__open(const char *path)
{
	int path_fd = open(path, O_PATH | O_CLOEXEC), err;
	struct stat st;

	if (path_fd < 0)
		return -errno;
	err = regular_file__stat(path_fd, &st);
	if (!err)
		err = regular_file__reopen(path_fd);
	close(path_fd);
	return err;
}

int file_identity__read(int fd, struct file_identity *ret_identity)
{
	struct stat st;
	int err = regular_file__stat(fd, &st);

	if (err)
		return err;
	*ret_identity = (struct file_identity){
		.dev = st.st_dev,
		.ino = st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime_ns =
			(uint64_t)st.st_mtim.tv_sec * 1000000000U + (uint64_t)st.st_mtim.tv_nsec,
	};
	return 0;
}
