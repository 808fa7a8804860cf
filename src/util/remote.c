/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/remote.h"

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

#include "util/procfs_read.h"

#define KEPT 8 /* files of the processes that were read last; a power of two */

/* An open /proc/PID/mem. It stays with the memory that the process had when it was opened. */
struct kept_file {
	pid_t pid; /* 0 = none */
	int fd;
};

static _Thread_local struct kept_file kept_files[KEPT];

/* Returns 0 or a negative errno, as procfs_open_pid does. */
static int open_mem(struct kept_file *file, pid_t pid)
{
	int fd = procfs_open_pid(pid, "mem");

	if (fd < 0)
		return fd;
	if (file->pid)
		close(file->fd);
	*file = (struct kept_file){pid, fd};
	return 0;
}

/* Returns how many bytes it has read, all but at the end of what is readable; 0 = the memory is of
 * a process that has ended or called exec; or a negative errno. */
static ssize_t read_mem(const struct kept_file *file, uint64_t addr, void *buf, size_t len)
{
	ssize_t got = pread(file->fd, buf, len, (off_t)addr);

	return got >= 0 ? got : errno == EIO ? -EFAULT : -errno;
}

int remote_read(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct kept_file *file = &kept_files[(unsigned int)pid & (KEPT - 1)];
	bool is_new = file->pid != pid;
	int err = is_new ? open_mem(file, pid) : 0;
	size_t done = 0;
	ssize_t got;

	if (err)
		return err;
	if (addr > INT64_MAX || len > INT64_MAX - addr)
		return -EFAULT;
	while (done < len) {
		got = read_mem(file, addr + done, (uint8_t *)buf + done, len - done);
		if (got < 0)
			return (int)got;
		if (!got && is_new)
			return -ESRCH;
		if (!got) {
			err = open_mem(file, pid);
			if (err)
				return err;
			is_new = true;
			done = 0;
			continue;
		}
		done += (size_t)got;
	}
	return 0;
}

int remote_read_parts(pid_t pid, struct remote_part *parts, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		parts[i].err = remote_read(pid, parts[i].addr, parts[i].buf, parts[i].len);
		if (parts[i].err && parts[i].err != -EFAULT)
			return parts[i].err;
	}
	return 0;
}
