/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#define PREFIX ".new-"
#define MAX_TRIES 8

int new_file__create_named(int dir_fd, struct new_file *ret)
{
	struct new_file file = {.dir_fd = dir_fd};
	uint64_t number;

	for (int i = 0; i < MAX_TRIES; i++) {
		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			return -EIO;
		snprintf(file.name, sizeof(file.name), PREFIX "%016" PRIx64, number);
		file.fd = openat(dir_fd, file.name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (file.fd < 0 && errno != EEXIST)
			return -errno;
		if (file.fd < 0)
			continue;
		/* Without the lock a cleaner may take it; then publishing fails, nothing worse. */
		flock(file.fd, LOCK_EX | LOCK_NB);
		*ret = file;
		return 0;
	}
	return -EEXIST;
}

int new_file__create(int dir_fd, struct new_file *ret)
{
	int fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	/* EISDIR: the kernel does not know the flag (open(2)). */
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		return new_file__create_named(dir_fd, ret);
	if (fd < 0)
		return -errno;
	*ret = (struct new_file){.fd = fd, .dir_fd = dir_fd};
	return 0;
}

static int publish_unnamed(const struct new_file *file, const char *name)
{
	char path[64];

	if (!linkat(file->fd, "", file->dir_fd, name, AT_EMPTY_PATH))
		return 0;
	if (errno != ENOENT && errno != EPERM)
		return -errno;
	/* Without CAP_DAC_READ_SEARCH (open(2)). */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file->fd);
	return linkat(AT_FDCWD, path, file->dir_fd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

int new_file__publish(struct new_file *file, const char *name)
{
	if (!file->name[0])
		return publish_unnamed(file, name);
	if (renameat2(file->dir_fd, file->name, file->dir_fd, name, RENAME_NOREPLACE)) {
		if (errno != EINVAL && errno != ENOSYS)
			return -errno;
		/* The file system does not know the flag. */
		if (linkat(file->dir_fd, file->name, file->dir_fd, name, 0))
			return -errno;
		unlinkat(file->dir_fd, file->name, 0);
	}
	file->name[0] = '\0';
	return 0;
}

void new_file__close(struct new_file *file)
{
	if (file->name[0])
		unlinkat(file->dir_fd, file->name, 0);
	close(file->fd);
}

bool new_file__is_temporary(const char *name)
{
	size_t len = strlen(PREFIX);

	return !strncmp(name, PREFIX, len) && strlen(name) == len + 16 &&
	       strspn(name + len, "0123456789abcdef") == 16;
}

void new_file__clean(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	if (!flock(fd, LOCK_EX | LOCK_NB))
		unlinkat(dir_fd, name, 0);
	close(fd);
}
