/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of memory that control groups set, and what they use. A limit holds for everything below
 * its group, so all groups above a process count. */
#include "util/procfs_memory.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/format.h"
#include "util/procfs.h"
#include "util/procfs_read.h"

#define NO_V1_LIMIT (1ULL << 62) /* v1 shows "no limit" as the largest number of whole pages */
#define VMSTAT_MAX 16384	 /* it had 4 to 6 KiB up to Linux 6.18 */

struct version {
	const char *limit, *usage, *peak;
	const char *anon, *file, *shmem; /* in memory.stat */
	/* and there, page cache on the lists of reclaim; shmem is not on them */
	const char *active_file, *inactive_file;
	const char *swap_limit, *swap_usage; /* of v1 memory and swap together */
};

static const struct version v1 = {
	"memory.limit_in_bytes",
	"memory.usage_in_bytes",
	"memory.max_usage_in_bytes",
	"total_rss",
	"total_cache",
	"total_shmem",
	"total_active_file",
	"total_inactive_file",
	"memory.memsw.limit_in_bytes",
	"memory.memsw.usage_in_bytes",
};
static const struct version v2 = {
	"memory.max",
	"memory.current",
	"memory.peak",
	"anon",
	"file",
	"shmem",
	"active_file",
	"inactive_file",
	"memory.swap.max",
	"memory.swap.current",
};

void cgroup_memory__free(struct cgroup_memory *memory)
{
	free(memory->path);
	memory->path = NULL;
}

int cgroup_value__read(const char *mount, const char *path, const char *name, uint64_t *ret)
{
	char *file = format_text("%s%s/%s", mount, path, name), *text = NULL, *end;
	unsigned long long value;
	size_t len;
	int err;

	if (!file)
		return -ENOMEM;
	err = procfs_read_path(file, &text, &len);
	free(file);
	if (err)
		return err;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (!strcmp(text, "max\n") || !strcmp(text, "max"))
		*ret = MEMORY_UNLIMITED;
	else if (isdigit((unsigned char)*text) && !errno && (!*end || *end == '\n'))
		*ret = value;
	else
		err = -EBADMSG;
	free(text);
	return err;
}

/* A group outside of the namespace of this process is shown as "/../other": where that is, is not
 * known. */
static bool is_plain_path(const char *path)
{
	if (*path != '/')
		return false;
	for (const char *name = path; name; name = strchr(name + 1, '/'))
		if (!strncmp(name, "/..", 3) && (!name[3] || name[3] == '/'))
			return false;
	return true;
}

uint64_t cgroup_memory__room(const struct cgroup_memory *memory)
{
	uint64_t used =
		memory->usage > memory->reclaimable ? memory->usage - memory->reclaimable : 0;
	uint64_t room = memory->limit > used ? memory->limit - used : 0;

	return room < UINT64_MAX - memory->swap_room ? room + memory->swap_room : UINT64_MAX;
}

bool cgroup_text__find(const char *text, const char *word, uint64_t *ret)
{
	unsigned long long value;
	size_t len = strlen(word);
	char *end;

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, word, len) || line[len] != ' ' ||
		    !isdigit((unsigned char)line[len + 1]))
			continue;
		errno = 0;
		value = strtoull(line + len + 1, &end, 10);
		if (errno || (*end && *end != '\n'))
			return false;
		*ret = value;
		return true;
	}
	return false;
}

/* Returns 0 where the kernel does not tell. */
static uint64_t read_reclaimable(const char *mount, const struct version *version, const char *path)
{
	char *name = format_text("%s%s/memory.stat", mount, path), *text = NULL;
	uint64_t active = 0, inactive = 0, sum = 0;
	size_t len;

	if (name && !procfs_read_path(name, &text, &len) &&
	    cgroup_text__find(text, version->active_file, &active) &&
	    cgroup_text__find(text, version->inactive_file, &inactive) &&
	    __builtin_add_overflow(active, inactive, &sum))
		sum = 0;
	free(name);
	free(text);
	return sum;
}

static int read_limit(const char *mount, const char *path, const char *name, uint64_t *ret)
{
	uint64_t limit;
	int err = cgroup_value__read(mount, path, name, &limit);

	if (!err && limit >= NO_V1_LIMIT)
		return -ENOENT;
	if (!err)
		*ret = limit;
	return err;
}

int cgroup_limit__read(const char *mount, bool is_v1, const char *path, uint64_t *ret_bytes)
{
	return read_limit(mount, path, (is_v1 ? &v1 : &v2)->limit, ret_bytes);
}

/* Reads one group. Returns 0, -ENOENT (no limit) or another negative errno. */
static int read_group(const char *mount, const struct version *version, const char *path,
		      struct cgroup_memory *ret)
{
	struct cgroup_memory memory = {.limit_name = version->limit};
	int err;

	err = read_limit(mount, path, version->limit, &memory.limit);
	if (err)
		return err;
	err = cgroup_value__read(mount, path, version->usage, &memory.usage);
	if (err)
		return err;
	if (cgroup_value__read(mount, path, version->peak, &memory.peak))
		memory.peak = 0;
	memory.reclaimable = read_reclaimable(mount, version, path);
	*ret = memory;
	return 0;
}

/* Takes a group for the tightest one if it has no more room than that. Returns 0 or -ENOMEM. */
static int take_tightest(struct cgroup_memory *best, const struct cgroup_memory *memory,
			 const char *path)
{
	char *copy;

	if (best->path && cgroup_memory__room(memory) > cgroup_memory__room(best))
		return 0;
	copy = strdup(*path ? path : "/");
	if (!copy)
		return -ENOMEM;
	free(best->path);
	*best = *memory;
	best->path = copy;
	return 0;
}

uint64_t cgroup_swapped(const char *mount, bool is_v1, const char *path)
{
	const struct version *version = is_v1 ? &v1 : &v2;
	uint64_t swapped, usage = 0;

	if (!is_plain_path(path) ||
	    cgroup_value__read(mount, path, version->swap_usage, &swapped) ||
	    (is_v1 && cgroup_value__read(mount, path, version->usage, &usage)))
		return 0;
	return swapped > usage ? swapped - usage : 0;
}

/* The limit of memory and swap together. Returns as read_group. */
static int read_both(const char *mount, const char *path, struct cgroup_memory *ret)
{
	struct version both = v1;

	both.limit = v1.swap_limit;
	both.usage = v1.swap_usage;
	both.peak = "memory.memsw.max_usage_in_bytes";
	return read_group(mount, &both, path, ret);
}

/* Leaves of the swap that may be used what a group of v2 may use of it. */
static void cut_swap(const char *mount, const char *path, uint64_t *swap_room)
{
	uint64_t limit, usage;

	if (!cgroup_value__read(mount, path, v2.swap_limit, &limit) && limit != MEMORY_UNLIMITED &&
	    !cgroup_value__read(mount, path, v2.swap_usage, &usage)) {
		limit = limit > usage ? limit - usage : 0;
		if (limit < *swap_room)
			*swap_room = limit;
	}
}

/* One group of those from the root down. */
static int visit_group(const char *mount, bool is_v1, const char *path, uint64_t *swap_room,
		       struct cgroup_memory *best)
{
	struct cgroup_memory memory;
	bool has_swap = *swap_room;
	int err = 0;

	if (has_swap && !is_v1)
		cut_swap(mount, path, swap_room);
	if (!read_group(mount, is_v1 ? &v1 : &v2, path, &memory)) {
		memory.swap_room = *swap_room;
		memory.swap = has_swap ? cgroup_swapped(mount, is_v1, path) : 0;
		err = take_tightest(best, &memory, path);
	}
	if (!err && has_swap && is_v1 && !read_both(mount, path, &memory))
		err = take_tightest(best, &memory, path);
	return err;
}

int cgroup_memory__find_with_swap(const char *mount, bool is_v1, const char *path,
				  uint64_t swap_free, struct cgroup_memory *ret)
{
	struct cgroup_memory best = {0};
	char *at, *end;
	int err = 0;

	if (!is_plain_path(path))
		return -EINVAL;
	at = strdup(path);
	if (!at)
		return -ENOMEM;
	end = at;
	do {
		char cut = *end;

		*end = '\0';
		err = visit_group(mount, is_v1, at, &swap_free, &best);
		*end = cut;
		end += strspn(end, "/");
		end = *end ? strchrnul(end, '/') : NULL;
	} while (!err && end);
	free(at);
	if (!err && !best.path)
		err = -ENOENT;
	if (err)
		free(best.path);
	else
		*ret = best;
	return err;
}

int cgroup_memory__find(const char *mount, bool is_v1, const char *path, struct cgroup_memory *ret)
{
	return cgroup_memory__find_with_swap(mount, is_v1, path, 0, ret);
}

int cgroup_memory__of_proc(pid_t pid, const char *path, struct cgroup_memory *ret)
{
	struct cgroup_mounts mounts;
	char *text = NULL, *own;
	const char *mount;
	size_t len;
	int err;

	err = cgroup_mounts__read(&mounts);
	if (err)
		return err;
	/* A controller is in one hierarchy only: where v1 has memory, v2 has not. */
	mount = mounts.memory ? mounts.memory : mounts.unified;
	own = NULL;
	if (!procfs_read_pid(pid, "cgroup", &text, &len))
		own = procfs_cgroup_path(text, mount == mounts.memory);
	/* v1 shows a process that is exiting at the root (kernel/cgroup/cgroup.c,
	 * proc_cgroup_show). */
	if (path && (!own || !strcmp(own, "/"))) {
		free(own);
		own = strdup(path);
	}
	err = -ENOENT;
	if (own && mount)
		err = cgroup_memory__find(mount, mount == mounts.memory, own, ret);
	free(own);
	free(text);
	cgroup_mounts__free(&mounts);
	return err;
}

/* ---- what a group uses ---- */

int cgroup_stat__parse(struct cgroup_stat *stat, const char *text, bool is_v1)
{
	const struct version *version = is_v1 ? &v1 : &v2;
	uint64_t anon, file, shmem;

	if (!cgroup_text__find(text, version->anon, &anon) ||
	    !cgroup_text__find(text, version->file, &file))
		return -EBADMSG;
	if (!cgroup_text__find(text, version->shmem, &shmem) || shmem > file)
		shmem = 0;
	stat->anon_bytes = anon;
	stat->file_bytes = file;
	stat->shmem_bytes = shmem;
	return 0;
}

int cgroup_stat__read(const char *mount, bool is_v1, const char *path, struct cgroup_stat *ret)
{
	struct cgroup_stat stat = {0};
	char *name, *text = NULL;
	size_t len;
	int err;

	if (!is_plain_path(path))
		return -EINVAL;
	name = format_text("%s%s/memory.stat", mount, path);
	if (!name)
		return -ENOMEM;
	err = procfs_read_path(name, &text, &len);
	free(name);
	if (!err)
		err = cgroup_stat__parse(&stat, text, is_v1);
	free(text);
	if (err)
		return err;
	if (cgroup_value__read(mount, path, (is_v1 ? &v1 : &v2)->usage, &stat.usage_bytes))
		stat.usage_bytes = 0;
	*ret = stat;
	return 0;
}

uint64_t cgroup_id(const char *mount, const char *path)
{
	char *name = is_plain_path(path) ? format_text("%s%s", mount, path) : NULL;
	uint64_t id = 0;
	struct stat st;

	if (name && !stat(name, &st) && S_ISDIR(st.st_mode))
		id = st.st_ino;
	free(name);
	return id;
}

/* ---- kills ---- */

int oom_kills__parse(const char *text, uint64_t *ret)
{
	uint64_t cnt;

	if (!cgroup_text__find(text, "oom_kill", &cnt))
		return -EBADMSG;
	*ret = cnt;
	return 0;
}

int cgroup_oom_kills(const char *mount, bool is_v1, const char *path, uint64_t *ret)
{
	static const char *const v1_files[] = {"memory.oom_control", NULL};
	static const char *const v2_files[] = {"memory.events.local", "memory.events", NULL};
	int err = -ENOENT;

	if (!is_plain_path(path))
		return -EINVAL;
	for (const char *const *file = is_v1 ? v1_files : v2_files; *file && err == -ENOENT;
	     file++) {
		char *name = format_text("%s%s/%s", mount, path, *file), *text = NULL;
		size_t len;

		err = name ? procfs_read_path(name, &text, &len) : -ENOMEM;
		if (!err)
			err = oom_kills__parse(text, ret);
		free(name);
		free(text);
	}
	return err;
}

int host_oom_kills(int fd, uint64_t *ret)
{
	char text[VMSTAT_MAX];
	ssize_t len, at = 0;

	do {
		len = pread(fd, text + at, sizeof(text) - 1 - (size_t)at, at);
		at += len > 0 ? len : 0;
	} while (len > 0 || (len < 0 && errno == EINTR));
	if (len < 0)
		return -errno;
	text[at] = '\0';
	return oom_kills__parse(text, ret);
}
