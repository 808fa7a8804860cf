/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Goes through the control groups of a hierarchy from the top down, in the order of their depth:
 * who may make groups below his own can fill only what comes after them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "discover/container_state.h"
#include "util/format.h"
#include "util/procfs.h"

#define MAX_DEPTH 32
#define MAX_GROUPS 100000 /* of one hierarchy */

struct group {
	char *path; /* owned, "" for the root */
	unsigned int depth;
	struct stat dir; /* not of the root */
};

struct walk {
	struct name_cache *names;
	const char *mount, *wanted;
	ARRAY(struct group) queue; /* those before `next` are done, and freed */
	size_t next;
	bool is_cut; /* there was more than MAX_GROUPS or MAX_DEPTH allow */
	struct cgroup_paths *found;
};

static int push_group(struct walk *walk, const struct group *parent, const char *name,
		      const struct stat *dir)
{
	struct group group = {.depth = parent->depth + 1, .dir = *dir};

	if (walk->queue.cnt >= MAX_GROUPS || group.depth > MAX_DEPTH) {
		walk->is_cut = true;
		return 0;
	}
	group.path = format_text("%s/%s", parent->path, name);
	if (group.path && !array_push(&walk->queue, group))
		return 0;
	free(group.path);
	return -ENOMEM;
}

/*
 * A group that is removed meanwhile has nothing below it. Who may make groups may make them so deep
 * that no path leads there any more, too.
 */
static int push_children(struct walk *walk, struct group parent)
{
	char *path = format_text("%s%s", walk->mount, parent.path);
	struct dirent *entry;
	struct stat st;
	int err = 0;
	DIR *dir;

	if (!path)
		return -ENOMEM;
	dir = opendir(path);
	free(path);
	if (!dir) {
		walk->is_cut |= errno == ENAMETOOLONG;
		return errno == ENOENT || errno == ENODEV || errno == ENAMETOOLONG ? 0 : -errno;
	}
	while (!err && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISDIR(st.st_mode))
			err = push_group(walk, &parent, entry->d_name, &st);
	}
	closedir(dir);
	return err;
}

/* Takes over the group's path. */
static int visit_group(struct walk *walk, struct group group)
{
	const struct cgroup_name *name;
	bool matches = false;
	int err = 0;

	if (*group.path)
		err = name_cache__get(walk->names, group.path, &group.dir, &name);
	if (!err && *group.path)
		matches = cgroup_name__matches(name, walk->wanted);
	if (!err && !matches)
		err = push_children(walk, group);
	if (!err && matches) {
		err = array_push(&walk->found->list, group.path);
		if (!err)
			return 0;
	}
	free(group.path);
	return err;
}

int containers__find_below(struct name_cache *names, const char *mount, const char *wanted,
			   struct cgroup_paths *paths)
{
	struct walk walk = {.names = names, .mount = mount, .wanted = wanted, .found = paths};
	struct group top = {.path = strdup("")};
	size_t found_before = paths->list.cnt;
	int err;

	err = top.path ? array_push(&walk.queue, top) : -ENOMEM;
	if (err) {
		free(top.path);
		return err;
	}
	while (!err && walk.next < walk.queue.cnt)
		err = visit_group(&walk, walk.queue.items[walk.next++]);
	while (walk.next < walk.queue.cnt)
		free(walk.queue.items[walk.next++].path);
	array_free(&walk.queue);
	if (!err && walk.is_cut && paths->list.cnt == found_before)
		err = -E2BIG;
	return err;
}

void cgroup_paths__free(struct cgroup_paths *paths)
{
	for (size_t i = 0; i < paths->list.cnt; i++)
		free(paths->list.items[i]);
	array_free(&paths->list);
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_paths(struct cgroup_paths *paths)
{
	size_t cnt = 0;

	if (paths->list.cnt)
		qsort(paths->list.items, paths->list.cnt, sizeof(*paths->list.items),
		      compare_paths);
	for (size_t i = 0; i < paths->list.cnt; i++) {
		if (cnt && strcmp(paths->list.items[cnt - 1], paths->list.items[i]) == 0)
			free(paths->list.items[i]);
		else
			paths->list.items[cnt++] = paths->list.items[i];
	}
	paths->list.cnt = cnt;
}

int containers__find(struct name_cache *names, const char *wanted, char ***ret_paths,
		     size_t *ret_cnt)
{
	struct cgroup_paths paths = {0};
	struct cgroup_mounts mounts = {0};
	const char *dirs[2];
	bool is_cut = false;
	int err;

	err = cgroup_mounts__read(&mounts);
	if (err)
		return err;
	if (!mounts.unified && !mounts.memory)
		err = -ENOENT;
	dirs[0] = mounts.unified;
	dirs[1] = mounts.memory;
	for (size_t i = 0; i < 2 && !err; i++) {
		if (dirs[i])
			err = containers__find_below(names, dirs[i], wanted, &paths);
		is_cut |= err == -E2BIG;
		err = err == -E2BIG ? 0 : err;
	}
	if (!err && is_cut && !paths.list.cnt)
		err = -E2BIG;
	if (!err) {
		sort_paths(&paths);
		*ret_paths = paths.list.items;
		*ret_cnt = paths.list.cnt;
	} else {
		cgroup_paths__free(&paths);
	}
	cgroup_mounts__free(&mounts);
	return err;
}
