/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control groups of processes. A host may have the one v2 hierarchy, the old v1 hierarchies, or v1
 * controllers beside an empty v2: memory is what this tool is about, so of v1 the memory hierarchy
 * counts.
 */
#include "util/procfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util/format.h"
#include "util/procfs_read.h"

/* Whether `word` is one of the comma-separated words of text[0..len). */
static bool has_word(const char *text, size_t len, const char *word)
{
	size_t word_len = strlen(word);

	for (const char *pos = text, *end; pos <= text + len; pos = end + 1) {
		end = memchr(pos, ',', (size_t)(text + len - pos));
		if (!end)
			end = text + len;
		if ((size_t)(end - pos) == word_len && memcmp(pos, word, word_len) == 0)
			return true;
	}
	return false;
}

char *procfs_cgroup_path(const char *text, bool is_v1)
{
	for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
		const char *controllers, *path = NULL;
		size_t len;
		char *copy;

		end = strchrnul(line, '\n');
		controllers = memchr(line, ':', (size_t)(end - line));
		if (controllers++)
			path = memchr(controllers, ':', (size_t)(end - controllers));
		if (!path)
			continue;
		len = (size_t)(path - controllers);
		if (is_v1 ? !has_word(controllers, len, "memory") : len || strncmp(line, "0:", 2))
			continue;
		copy = strndup(path + 1, (size_t)(end - path - 1));
		if (copy)
			procfs_cut_deleted(copy);
		return copy;
	}
	return NULL;
}

/* Whether a group is another one or above it. */
static bool holds(const char *group, const char *other)
{
	size_t len = strlen(group);

	while (len && group[len - 1] == '/')
		len--;
	return !strncmp(other, group, len) && (!other[len] || other[len] == '/');
}

/*
 * A runtime may leave a container's processes in its own service of v2 and make groups in v1 only.
 * systemd may make a service's group in v2 only; memory then shows one above that, or the root,
 * which it also shows of a process that is exiting.
 */
char *proc_thread_cgroup(pid_t pid, pid_t thread)
{
	char *text, *unified, *memory, name[32];
	bool is_unified;
	size_t len;

	snprintf(name, sizeof(name), "task/%d/cgroup", thread);
	if (procfs_read_pid(pid, thread ? name : "cgroup", &text, &len))
		return NULL;
	unified = procfs_cgroup_path(text, false);
	memory = procfs_cgroup_path(text, true);
	free(text);
	is_unified = unified && (!memory || holds(memory, unified));
	free(is_unified ? memory : unified);
	return is_unified ? unified : memory;
}

char *proc_cgroup(pid_t pid)
{
	return proc_thread_cgroup(pid, 0);
}

/* ---- where the hierarchies are mounted ------------------------------------------------------ */

void cgroup_mounts__free(struct cgroup_mounts *mounts)
{
	free(mounts->unified);
	free(mounts->memory);
}

/*
 * One line of mountinfo (proc(5)): ID PARENT DEV ROOT MOUNTPOINT OPTIONS [TAG]... - TYPE SOURCE
 * SUPEROPTIONS
 */
static int parse_mount(char *line, struct cgroup_mounts *mounts)
{
	char *fields[5], *save = NULL, *type, *options, **slot = NULL;
	char *tail = strstr(line, " - ");

	if (!tail)
		return 0;
	*tail = '\0';
	type = strtok_r(tail + 3, " ", &save);
	strtok_r(NULL, " ", &save);
	options = strtok_r(NULL, " ", &save);
	if (!type)
		return 0;
	if (strcmp(type, "cgroup2") == 0) {
		slot = &mounts->unified;
	} else if (strcmp(type, "cgroup") == 0 && options) {
		mounts->v1_cnt++;
		slot = has_word(options, strlen(options), "memory") ? &mounts->memory : NULL;
	}
	if (!slot || *slot)
		return 0;
	fields[0] = strtok_r(line, " ", &save);
	for (int i = 1; i < 5; i++)
		fields[i] = fields[i - 1] ? strtok_r(NULL, " ", &save) : NULL;
	if (!fields[4])
		return 0;
	*slot = procfs_unescape(fields[4], strlen(fields[4]), " \t\n\\");
	return *slot ? 0 : -ENOMEM;
}

int cgroup_mounts__read(struct cgroup_mounts *ret)
{
	struct cgroup_mounts mounts = {0};
	char *text, *save = NULL;
	size_t len;
	int err;

	err = procfs_read_path("/proc/self/mountinfo", &text, &len);
	if (err)
		return err;
	for (char *line = strtok_r(text, "\n", &save); line && !err;
	     line = strtok_r(NULL, "\n", &save))
		err = parse_mount(line, &mounts);
	free(text);
	if (err)
		cgroup_mounts__free(&mounts);
	else
		*ret = mounts;
	return err;
}

/* ---- walking a subtree ---------------------------------------------------------------------- */

struct dir_stack {
	ARRAY(char *) paths; /* owned */
};

/* Takes over `path`, which may be NULL when there was no memory for it. */
static int push_dir(struct dir_stack *stack, char *path)
{
	if (path && !array_push(&stack->paths, path))
		return 0;
	free(path);
	return -ENOMEM;
}

static bool is_cgroup_dir(const char *path)
{
	struct statfs fs;
	struct stat st;

	if (stat(path, &st) || !S_ISDIR(st.st_mode) || statfs(path, &fs))
		return false;
	return (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC ||
	       (unsigned long)fs.f_type == CGROUP_SUPER_MAGIC;
}

/*
 * A group may be removed at any moment, and one in threaded mode refuses to list processes: both
 * have none.
 */
static int add_procs(int dir_fd, struct pid_list *list)
{
	int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char *text, *end;
	size_t len;
	int err;

	if (fd < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	err = procfs_read_fd(fd, &text, &len);
	close(fd);
	if (err)
		return err == -ENODEV || err == -EOPNOTSUPP ? 0 : err;
	for (char *pos = text; *pos && !err; pos = end + strspn(end, "\n")) {
		err = pid_list__add(list, pos, &end);
		if (end == pos)
			break;
	}
	free(text);
	return err;
}

/* Groups below others may lie so deep that no path leads there: they must not hide the rest. */
static int visit_dir(const char *path, struct dir_stack *stack, struct pid_list *list)
{
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int err;

	dir = opendir(path);
	if (!dir)
		return errno == ENOENT || errno == ENODEV || errno == ENAMETOOLONG ? 0 : -errno;
	err = add_procs(dirfd(dir), list);
	while (!err && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISDIR(st.st_mode))
			continue;
		err = push_dir(stack, format_text("%s/%s", path, entry->d_name));
	}
	closedir(dir);
	return err;
}

/* Pushes `path`, taken from below `mount` when that is not NULL, if it is a control group. */
static int push_root(struct dir_stack *stack, const char *mount, const char *path)
{
	char *full = mount ? format_text("%s/%s", mount, path) : strdup(path);

	if (full && !is_cgroup_dir(full)) {
		free(full);
		return 0;
	}
	return push_dir(stack, full);
}

int proc_list_cgroup(const char *path, pid_t **ret_pids, size_t *ret_cnt)
{
	struct cgroup_mounts mounts = {0};
	struct dir_stack stack = {0};
	struct pid_list list = {0};
	int err = 0;

	if (!*path)
		return -ENOENT;
	if (path[0] == '/')
		err = push_root(&stack, NULL, path);
	if (!err && !stack.paths.cnt) {
		err = cgroup_mounts__read(&mounts);
		if (!err && mounts.unified)
			err = push_root(&stack, mounts.unified, path);
		if (!err && mounts.memory)
			err = push_root(&stack, mounts.memory, path);
	}
	if (!err && !stack.paths.cnt)
		err = -ENOENT;
	while (!err && stack.paths.cnt) {
		char *dir = stack.paths.items[--stack.paths.cnt];

		err = visit_dir(dir, &stack, &list);
		free(dir);
	}
	if (!err)
		pid_list__finish(&list, ret_pids, ret_cnt);
	else
		array_free(&list.pids);
	while (stack.paths.cnt)
		free(stack.paths.items[--stack.paths.cnt]);
	array_free(&stack.paths);
	cgroup_mounts__free(&mounts);
	return err;
}
