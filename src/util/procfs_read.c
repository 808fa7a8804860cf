/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/procfs_read.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/format.h"

#define DELETED " (deleted)"

/* Frees `value` and returns `err`: for one-line error paths. */
static int fail_free(void *value, int err)
{
	free(value);
	return err;
}

int procfs_read_fd(int fd, char **ret, size_t *ret_len)
{
	size_t len = 0, cap = 4096;
	char *text = malloc(cap), *grown;
	ssize_t got;

	if (!text)
		return -ENOMEM;
	for (;;) {
		got = read(fd, text + len, cap - len - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_free(text, -errno);
		if (got == 0)
			break;
		len += (size_t)got;
		if (cap - len > 1)
			continue;
		if (cap > SIZE_MAX / 2)
			return fail_free(text, -ENOMEM);
		grown = realloc(text, cap * 2);
		if (!grown)
			return fail_free(text, -ENOMEM);
		text = grown;
		cap *= 2;
	}
	text[len] = '\0';
	*ret = text;
	*ret_len = len;
	return 0;
}

int procfs_read_path(const char *path, char **ret, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = procfs_read_fd(fd, ret, ret_len);
	close(fd);
	return err;
}

int procfs_read_pid(pid_t pid, const char *name, char **ret, size_t *ret_len)
{
	char *path = format_text("/proc/%d/%s", (int)pid, name);
	int err;

	if (!path)
		return -ENOMEM;
	err = procfs_read_path(path, ret, ret_len);
	free(path);
	return err == -ENOENT ? -ESRCH : err;
}

int procfs_open_pid(pid_t pid, const char *name)
{
	char *path = format_text("/proc/%d/%s", (int)pid, name);
	int fd;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : errno == EACCES ? -EPERM : -errno;
	return fd;
}

bool procfs_cut_deleted(char *path)
{
	size_t len = strlen(path), cut = strlen(DELETED);

	if (len < cut || strcmp(path + len - cut, DELETED) != 0)
		return false;
	path[len - cut] = '\0';
	return true;
}

char *procfs_unescape(const char *text, size_t len, const char *escapes)
{
	char *copy = malloc(len + 1);
	size_t out = 0;

	if (!copy)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		unsigned int c = (unsigned char)text[i];

		if (c == '\\' && len - i >= 4 && text[i + 1] >= '0' && text[i + 1] <= '3' &&
		    text[i + 2] >= '0' && text[i + 2] <= '7' && text[i + 3] >= '0' &&
		    text[i + 3] <= '7') {
			unsigned int value = (unsigned int)(text[i + 1] - '0') * 64 +
					     (unsigned int)(text[i + 2] - '0') * 8 +
					     (unsigned int)(text[i + 3] - '0');

			if (value && strchr(escapes, (int)value)) {
				c = value;
				i += 3;
			}
		}
		copy[out++] = (char)c;
	}
	copy[out] = '\0';
	return copy;
}

static int compare_pids(const void *a, const void *b)
{
	pid_t left = *(const pid_t *)a, right = *(const pid_t *)b;

	return left < right ? -1 : left > right;
}

void pid_list__finish(struct pid_list *list, pid_t **ret_pids, size_t *ret_cnt)
{
	size_t kept = 0;

	if (list->pids.cnt)
		qsort(list->pids.items, list->pids.cnt, sizeof(pid_t), compare_pids);
	for (size_t i = 0; i < list->pids.cnt; i++)
		if (!kept || list->pids.items[kept - 1] != list->pids.items[i])
			list->pids.items[kept++] = list->pids.items[i];
	*ret_pids = list->pids.items;
	*ret_cnt = kept;
}

int pid_list__add(struct pid_list *list, const char *text, char **ret_end)
{
	long pid;

	errno = 0;
	pid = strtol(text, ret_end, 10);
	if (*ret_end == text || errno || pid <= 0 || pid > INT_MAX)
		return 0; /* cgroup.procs shows 0 for a process of another PID namespace */
	return array_push(&list->pids, (pid_t)pid);
}
