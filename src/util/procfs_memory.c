/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/procfs_memory.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/procfs_read.h"

/* Defaults of mm/mmap.c, where a host has more than 4 GiB. */
#define DEFAULT_ADMIN_RESERVE (8192ULL << 10)
#define DEFAULT_USER_RESERVE (131072ULL << 10)

/* Of statm and status; the sizes of the latter stand before its long lists. */
#define ANON_TEXT_MAX 4096

#define MAX_THREAD_TRIES 16 /* the others may be about to leave, too */

/* Reads a number without sign, and steps over it. */
static bool take_number(const char **pos, uint64_t *ret)
{
	unsigned long long value;
	char *end;

	if (!isdigit((unsigned char)**pos))
		return false;
	errno = 0;
	value = strtoull(*pos, &end, 10);
	if (errno)
		return false;
	*pos = end;
	*ret = value;
	return true;
}

/* Returns what follows `name` on the line that begins with it, or NULL. */
static const char *find_line(const char *text, const char *name)
{
	size_t len = strlen(name);

	while (text && *text) {
		if (!strncmp(text, name, len))
			return text + len;
		text = strchr(text, '\n');
		text += text != NULL;
	}
	return NULL;
}

/* ---- a process ---- */

/* "Max address space         536870912            unlimited            bytes": the soft one. */
static bool find_limit(const char *text, const char *name, uint64_t *ret)
{
	const char *pos = find_line(text, name);

	if (!pos)
		return false;
	pos += strspn(pos, " ");
	if (!strncmp(pos, "unlimited ", strlen("unlimited "))) {
		*ret = MEMORY_UNLIMITED;
		return true;
	}
	return take_number(&pos, ret) && *pos == ' ';
}

/* "VmSize:	  123456 kB" */
static bool find_kib(const char *text, const char *name, uint64_t *ret)
{
	const char *pos = find_line(text, name);
	uint64_t kib;

	if (!pos)
		return false;
	pos += strspn(pos, " \t");
	if (!take_number(&pos, &kib) || strncmp(pos, " kB", 3) ||
	    __builtin_mul_overflow(kib, 1024, &kib))
		return false;
	*ret = kib;
	return true;
}

int proc_memory__parse_limits(struct proc_memory *memory, const char *text)
{
	uint64_t size, data;

	if (!find_limit(text, "Max address space ", &size) ||
	    !find_limit(text, "Max data size ", &data))
		return -EBADMSG;
	memory->size_limit = size;
	memory->data_limit = data;
	return 0;
}

int proc_memory__parse_status(struct proc_memory *memory, const char *text)
{
	uint64_t size, peak, data;

	if (!find_kib(text, "VmSize:", &size) || !find_kib(text, "VmPeak:", &peak) ||
	    !find_kib(text, "VmData:", &data))
		return -EBADMSG;
	memory->size = size;
	memory->size_peak = peak;
	memory->data = data;
	return 0;
}

int proc_memory__read(pid_t pid, struct proc_memory *ret)
{
	struct proc_memory memory = {0};
	size_t len;
	char *text;
	int err;

	err = procfs_read_pid(pid, "limits", &text, &len);
	if (err)
		return err;
	err = proc_memory__parse_limits(&memory, text);
	free(text);
	if (err)
		return err;
	err = procfs_read_pid(pid, "status", &text, &len);
	if (!err) {
		proc_memory__parse_status(&memory, text); /* a zombie has no sizes */
		free(text);
	}
	*ret = memory;
	return 0;
}

int proc_anon__parse(enum proc_anon_source source, const char *text, uint64_t page_bytes,
		     uint64_t *ret_bytes)
{
	uint64_t size, resident, shared, anon, swap;
	const char *pos = text;

	if (source == PROC_ANON_STATUS) {
		if (!find_line(text, "RssAnon:"))
			return find_line(text, "Name:") ? -ENODATA : -EBADMSG;
		if (!find_kib(text, "RssAnon:", &anon) || !find_kib(text, "VmSwap:", &swap) ||
		    __builtin_add_overflow(anon, swap, &anon))
			return -EBADMSG;
		*ret_bytes = anon;
		return 0;
	}
	if (!take_number(&pos, &size) || *pos++ != ' ' || !take_number(&pos, &resident) ||
	    *pos++ != ' ' || !take_number(&pos, &shared) || *pos != ' ')
		return -EBADMSG;
	if (!size)
		return -ENODATA;
	anon = resident > shared ? resident - shared : 0;
	if (__builtin_mul_overflow(anon, page_bytes, &anon))
		return -EBADMSG;
	*ret_bytes = anon;
	return 0;
}

int proc_anon__open(pid_t pid, pid_t thread, enum proc_anon_source source)
{
	const char *name = source == PROC_ANON_STATUS ? "status" : "statm";
	char path[64];

	if (!thread)
		return procfs_open_pid(pid, name);
	snprintf(path, sizeof(path), "task/%d/%s", thread, name);
	return procfs_open_pid(pid, path);
}

/* Whether it tells any memory. */
static bool has_anon(pid_t pid, pid_t thread, enum proc_anon_source source)
{
	int fd = proc_anon__open(pid, thread, source);
	uint64_t bytes;
	bool has;

	if (fd < 0)
		return false;
	has = !proc_anon__read(fd, source, &bytes);
	close(fd);
	return has;
}

pid_t proc_anon__find_thread(pid_t pid, enum proc_anon_source source)
{
	struct dirent *entry;
	char path[32];
	pid_t found = 0, thread;
	int tries = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && !found && tries < MAX_THREAD_TRIES && (entry = readdir(dir))) {
		thread = (pid_t)strtol(entry->d_name, NULL, 10);
		if (thread <= 0 || thread == pid)
			continue;
		tries++;
		if (has_anon(pid, thread, source))
			found = thread;
	}
	if (dir)
		closedir(dir);
	return found;
}

int proc_anon__read(int fd, enum proc_anon_source source, uint64_t *ret_bytes)
{
	char text[ANON_TEXT_MAX];
	ssize_t len;

	do
		len = pread(fd, text, sizeof(text) - 1, 0);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;
	text[len] = '\0';
	return proc_anon__parse(source, text, (uint64_t)sysconf(_SC_PAGESIZE), ret_bytes);
}

uint64_t proc_map_cnt(pid_t pid)
{
	uint64_t cnt = 0;
	size_t len;
	char *text;

	if (procfs_read_pid(pid, "maps", &text, &len))
		return 0;
	for (const char *pos = text; (pos = strchr(pos, '\n')); pos++)
		cnt++;
	free(text);
	return cnt;
}

/* ---- the host ---- */

int host_memory__parse_meminfo(struct host_memory *host, const char *text)
{
	struct host_memory read = *host;

	if (!find_kib(text, "MemTotal:", &read.ram) ||
	    !find_kib(text, "MemAvailable:", &read.available) ||
	    !find_kib(text, "SwapTotal:", &read.swap) ||
	    !find_kib(text, "SwapFree:", &read.swap_free) ||
	    !find_kib(text, "CommitLimit:", &read.commit_limit) ||
	    !find_kib(text, "Committed_AS:", &read.committed))
		return -EBADMSG;
	*host = read;
	return 0;
}

/* Replaces *value by the number in a file, if there is one. */
static void read_number(const char *path, uint64_t unit, uint64_t *value)
{
	uint64_t number;
	const char *pos;
	size_t len;
	char *text;

	if (procfs_read_path(path, &text, &len))
		return;
	pos = text;
	if (take_number(&pos, &number) && (!*pos || *pos == '\n') &&
	    !__builtin_mul_overflow(number, unit, &number))
		*value = number;
	free(text);
}

int host_memory__read(struct host_memory *ret)
{
	struct host_memory host = {
		.admin_reserve = DEFAULT_ADMIN_RESERVE,
		.user_reserve = DEFAULT_USER_RESERVE,
	};
	size_t len;
	char *text;
	int err;

	err = procfs_read_path("/proc/meminfo", &text, &len);
	if (err)
		return err;
	err = host_memory__parse_meminfo(&host, text);
	free(text);
	if (err)
		return err;
	read_number("/proc/sys/vm/overcommit_memory", 1, &host.overcommit);
	read_number("/proc/sys/vm/admin_reserve_kbytes", 1024, &host.admin_reserve);
	read_number("/proc/sys/vm/user_reserve_kbytes", 1024, &host.user_reserve);
	read_number("/proc/sys/vm/max_map_count", 1, &host.max_maps);
	*ret = host;
	return 0;
}
