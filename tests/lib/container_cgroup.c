/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cgroups of containers, wherever the host has them. A container is in the same path of the v2
 * hierarchy and of v1's memory hierarchy, as runtimes do it on a hybrid host.
 */
#include "lib/container_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_HIERARCHIES 32
#define MAX_GROUPS 64
#define REMOVE_TRIES 100 /* a group is busy until its last process is reaped */
#define REMOVE_MS 20

struct hierarchy {
	char *dir;
	bool is_v2, has_memory;
};

static struct hierarchy hierarchies[MAX_HIERARCHIES];
static size_t hierarchy_cnt;
static char *groups[MAX_GROUPS]; /* names, those above before those below */
static size_t group_cnt;
static pid_t owner; /* the test program, whatever its children call themselves */

static bool write_text(const char *dir, const char *name, const char *text)
{
	char *path = format("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done;

	free(path);
	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return done;
}

static void find_hierarchies(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *mount;

	assert_non_null(mounts);
	owner = getpid();
	while ((mount = getmntent(mounts)) && hierarchy_cnt < MAX_HIERARCHIES) {
		bool is_v2 = !strcmp(mount->mnt_type, "cgroup2");

		if (!is_v2 && strcmp(mount->mnt_type, "cgroup"))
			continue;
		hierarchies[hierarchy_cnt++] = (struct hierarchy){
			.dir = format("%s", mount->mnt_dir),
			.is_v2 = is_v2,
			.has_memory = !is_v2 && hasmntopt(mount, "memory"),
		};
		/* Refused where another hierarchy has it. */
		if (is_v2)
			hierarchies[hierarchy_cnt - 1].has_memory =
				write_text(mount->mnt_dir, "cgroup.subtree_control", "+memory");
	}
	endmntent(mounts);
}

static bool takes_part(const struct hierarchy *hierarchy)
{
	return hierarchy->is_v2 || hierarchy->has_memory;
}

char *group__path(const char *name)
{
	return format("/leaksweep-e2e-%d%s%s", (int)owner, *name ? "/" : "", name);
}

static char *group_dir(const struct hierarchy *hierarchy, const char *name)
{
	char *path = group__path(name), *dir = format("%s%s", hierarchy->dir, path);

	free(path);
	return dir;
}

static void set_limit(const struct hierarchy *hierarchy, const char *dir, uint64_t bytes)
{
	char *text = format("%llu", (unsigned long long)bytes);

	if (!write_text(dir, hierarchy->is_v2 ? "memory.max" : "memory.limit_in_bytes", text))
		fail_msg("%s takes no memory limit: %s", dir, strerror(errno));
	/* Not there without swap accounting. */
	write_text(dir, hierarchy->is_v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes",
		   hierarchy->is_v2 ? "0" : text);
	free(text);
}

/* Makes one directory in each hierarchy; it may be there. */
static void make_one(const char *name, uint64_t memory_bytes)
{
	for (size_t i = 0; i < hierarchy_cnt; i++) {
		const struct hierarchy *hierarchy = &hierarchies[i];
		char *dir;

		if (!takes_part(hierarchy))
			continue;
		dir = group_dir(hierarchy, name);
		if (mkdir(dir, 0755) && errno != EEXIST)
			fail_msg("%s: %s", dir, strerror(errno));
		if (memory_bytes && hierarchy->has_memory)
			set_limit(hierarchy, dir, memory_bytes);
		if (!*name && hierarchy->is_v2 && hierarchy->has_memory)
			assert_true(write_text(dir, "cgroup.subtree_control", "+memory"));
		free(dir);
	}
}

static void remember(const char *name)
{
	for (size_t i = 0; i < group_cnt; i++)
		if (!strcmp(groups[i], name))
			return;
	assert_true(group_cnt < MAX_GROUPS);
	groups[group_cnt++] = format("%s", name);
}

void group__make(const char *name, uint64_t memory_bytes)
{
	if (!hierarchy_cnt)
		find_hierarchies();
	if (!hierarchy_cnt) {
		print_message("skipped: no cgroup hierarchy is mounted\n");
		skip();
	}
	remember("");
	remember(name);
	make_one("", 0);
	make_one(name, memory_bytes);
}

bool group__enter(const char *name)
{
	bool entered = true;

	for (size_t i = 0; i < hierarchy_cnt && entered; i++) {
		char *dir = group_dir(&hierarchies[i], name);

		if (takes_part(&hierarchies[i]))
			entered = write_text(dir, "cgroup.procs", "0");
		free(dir);
	}
	return entered;
}

char *container__cgroup_dir(const char *name)
{
	const struct hierarchy *best = NULL;

	for (size_t i = 0; i < hierarchy_cnt; i++)
		if (takes_part(&hierarchies[i]) && (!best || hierarchies[i].is_v2))
			best = &hierarchies[i];
	assert_non_null(best);
	return group_dir(best, name);
}

char *container__memory_dir(const char *name, bool *ret_is_v2)
{
	for (size_t i = 0; i < hierarchy_cnt; i++)
		if (hierarchies[i].has_memory) {
			*ret_is_v2 = hierarchies[i].is_v2;
			return group_dir(&hierarchies[i], name);
		}
	return NULL;
}

char *container__parent_dir(void)
{
	return container__cgroup_dir("");
}

void group__remove_all(void)
{
	while (group_cnt) {
		char *name = groups[--group_cnt];

		/* runc makes directories in all hierarchies. */
		for (size_t i = 0; i < hierarchy_cnt; i++) {
			char *dir = group_dir(&hierarchies[i], name);

			for (int try = 0; rmdir(dir) && errno == EBUSY && try < REMOVE_TRIES; try++)
				sleep_ms(REMOVE_MS);
			free(dir);
		}
		free(name);
	}
	while (hierarchy_cnt)
		free(hierarchies[--hierarchy_cnt].dir);
}
