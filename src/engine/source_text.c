/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paths come from the targets, and so do the files behind them: they are looked up below the
 * process's own root, links included, and only regular files of a size that source has are read.
 */
#include "engine/source_text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "model/annotation.h"
#include "util/clock.h"
#include "util/format.h"
#include "util/procfs.h"
#include "util/regular_file.h"
#include "util/remote_mount.h"

#define MAX_SOURCE_BYTES (4 << 20)
#define MAX_ALL_BYTES (64 << 20) /* of all files of a report: "__init__.py" is many */
#define MAX_TRIES 4		 /* processes that are asked for one file */

/* A file being looked for. */
struct source_file {
	int fd;
	int32_t pid; /* through whose root, 0 = the tool's own */
	struct stat st;
	char *text;
	size_t len;
	const char *remark; /* static */
};

/* ---- opening ---- */

static int open_below(int dir_fd, const char *path, uint64_t resolve)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = resolve | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* Opens the directory that a process's link `name` in /proc leads to, once it is sure whose it is.
 */
static int open_proc_dir(const struct snap_proc *proc, const char *name)
{
	char *path = format_text("/proc/%d/%s", (int)proc->pid, name);
	struct proc_info info;
	int fd, err;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = fd < 0 ? -errno : proc_info__read(proc->pid, &info);
	free(path);
	if (!err && info.start_ns != proc->start_ns)
		err = -ESRCH;
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	return err;
}

/* Opens a path as a process sees it. Returns an O_PATH descriptor or a negative errno. */
static int open_in_process(const struct snap_proc *proc, const char *path)
{
	bool is_absolute = *path == '/';
	int dir_fd = open_proc_dir(proc, is_absolute ? "root" : "cwd"), fd;

	if (dir_fd < 0)
		return dir_fd;
	/* Scripts that are started by a relative path: below the folder they run in, or not at all.
	 */
	fd = open_below(dir_fd, path, is_absolute ? RESOLVE_IN_ROOT : RESOLVE_BENEATH);
	close(dir_fd);
	return fd;
}

/* A path as a process sees it, or this tool. */
struct place {
	const struct snap_proc *proc; /* NULL = this tool */
	const char *path;
};

static int open_place(const struct place *place)
{
	return place->proc ? open_in_process(place->proc, place->path)
			   : open_below(AT_FDCWD, place->path, 0);
}

static void try_place(const void *arg)
{
	int fd = open_place(arg);
	struct stat st;

	if (fd >= 0 && !regular_file__stat(fd, &st))
		regular_file__reopen(fd);
}

/* Returns an O_PATH descriptor or a negative errno. */
static int open_in_time(const struct snap_proc *proc, const char *path)
{
	const struct place place = {.proc = proc, .path = path};
	int err = remote_mount__try(proc ? proc->pid : getpid(), 0, try_place, &place);

	return err ? err : open_place(&place);
}

static const char *error_text(int err)
{
	switch (err) {
	case -ETIMEDOUT:
		return "its file system does not answer";
	case -ENXIO:
		return "it is no regular file";
	case -EFBIG:
		return "it is too big to be source";
	case -EBADMSG:
		return "it is no text";
	case -EDQUOT:
		return "too many files have this name";
	case -EXDEV:
		return "it lies outside of the process's working directory";
	case -ESRCH:
		return "the process has ended";
	}
	return strerror(-err);
}

/* ---- reading ---- */

/* Reads a file to its end; it may change meanwhile. */
static int read_bounded(int fd, size_t max, char **ret_text, size_t *ret_len)
{
	size_t len = 0, cap = 0;
	char *text = NULL, *grown;
	ssize_t got = 1;

	while (got > 0 && len <= max) {
		if (len == cap) {
			cap = cap ? 2 * cap : 16384;
			grown = realloc(text, cap);
			if (!grown) {
				free(text);
				return -ENOMEM;
			}
			text = grown;
		}
		got = read(fd, text + len, cap - len);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			len += got;
	}
	if (got < 0 || len > max || memchr(text, '\0', len)) {
		int err = got < 0 ? -errno : len > max ? -EFBIG : -EBADMSG;

		free(text);
		return err;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}

/* Reads the text behind an O_PATH descriptor, which is closed. Returns 0 or a negative errno. */
static int read_text(struct source_file *file, int path_fd, size_t left)
{
	int err = regular_file__stat(path_fd, &file->st), fd = -1;

	if (!err && file->st.st_size > MAX_SOURCE_BYTES)
		err = -EFBIG;
	if (!err && (size_t)file->st.st_size > left)
		err = -EDQUOT;
	if (!err) {
		fd = regular_file__reopen(path_fd);
		err = fd < 0 ? fd : 0;
	}
	if (!err)
		err = read_bounded(fd, MAX_SOURCE_BYTES, &file->text, &file->len);
	if (fd >= 0)
		close(fd);
	close(path_fd);
	return err;
}

/* ---- one file ---- */

/* The users of one file; the first names it. */
struct file_users {
	const struct snapshot *snap;
	const struct source_user *users;
	size_t cnt;
	bool native;  /* one of them is machine code */
	bool is_used; /* a process that uses it lives */
};

static const struct snap_proc *user_proc(const struct file_users *users, size_t i)
{
	return &users->snap->procs.items[users->users[i].proc];
}

/* Whether the file was written after a process that uses it had begun. */
static bool is_newer(const struct source_file *file, const struct snap_proc *proc)
{
	uint64_t boot_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
	uint64_t written_ns = file->st.st_mtim.tv_sec * NS_PER_SEC + file->st.st_mtim.tv_nsec;

	return file->st.st_mtim.tv_sec > 0 && written_ns > boot_ns + proc->start_ns;
}

static const char *const newer_text = "the file was changed after the process had begun: its lines "
				      "may be others than those that run";

/* Tries the processes that use the file. Returns 0, -ESRCH (none lives) or a negative errno. */
static int read_in_processes(struct source_file *file, struct file_users *users, size_t left)
{
	int err = -ESRCH, fd, tries = 0;

	for (size_t i = 0; i < users->cnt && tries < MAX_TRIES && err != -ENOMEM; i++) {
		const struct snap_proc *proc = user_proc(users, i);

		if (proc->state != PROC_RUNNING)
			continue;
		fd = open_in_time(proc, users->users[0].path);
		err = fd < 0 ? fd : read_text(file, fd, left);
		users->is_used |= err != -ESRCH;
		tries++;
		if (err)
			continue;
		file->pid = proc->pid;
		file->remark = is_newer(file, proc) ? newer_text : "";
		return 0;
	}
	return err;
}

static int read_here(struct source_file *file, const struct file_users *users, size_t left)
{
	int fd = open_in_time(NULL, users->users[0].path);
	int err = fd < 0 ? fd : read_text(file, fd, left);

	if (!err && is_newer(file, user_proc(users, 0)))
		file->remark = newer_text;
	else if (!err && !users->native)
		file->remark = "the process has ended: this is the file of that name on this host "
			       "now";
	return err;
}

/* Adds the file as it was found for an earlier report. Returns 0, -ENOENT (it was not) or -ENOMEM.
 */
static int add_previous(struct snapshot *snap, const struct snapshot *previous, const char *path)
{
	const struct snap_source *source = NULL;
	char *copy;

	for (size_t i = 0; previous && i < previous->sources.cnt && !source; i++)
		if (previous->sources.items[i].text &&
		    !strcmp(previous->sources.items[i].path, path))
			source = &previous->sources.items[i];
	if (!source)
		return -ENOENT;
	copy = malloc(source->len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, source->text, source->len);
	return snapshot__add_source(snap, path, copy, source->len, source->pid, source->reason);
}

/* Adds one file, with its text if there is a way to it. *left are the bytes that may be read. */
static int add_file(struct snapshot *snap, struct file_users *users,
		    const struct snapshot *previous, size_t *left)
{
	const char *path = users->users[0].path;
	struct source_file file = {.remark = ""};
	int err;

	/* What was found before is nearer to what runs than what is there now. */
	err = add_previous(snap, previous, path);
	if (err != -ENOENT)
		return err;
	/* "<string>", "<stdin>", "<frozen importlib._bootstrap>" */
	if (*path == '<')
		return snapshot__add_source(snap, path, NULL, 0, 0,
					    "code made at run time: there is no file");
	err = read_in_processes(&file, users, *left);
	/* What machine code was made of is rarely where it runs. */
	if (err && err != -ENOMEM && (users->native || !users->is_used))
		err = read_here(&file, users, *left);
	if (err == -ENOMEM)
		return err;
	if (err)
		return snapshot__add_source(snap, path, NULL, 0, 0, error_text(err));
	*left -= file.len < *left ? file.len : *left;
	return snapshot__add_source(snap, path, file.text, file.len, file.pid, file.remark);
}

/* By path; the users of one in their order. */
static int compare_users(const void *a, const void *b)
{
	const struct source_user *user_a = a, *user_b = b;
	int order = strcmp(user_a->path, user_b->path);

	return order ? order : (user_a->proc > user_b->proc) - (user_a->proc < user_b->proc);
}

int source_text__add(struct snapshot *snap, const struct symbol *symbols, const char *wanted,
		     const struct snapshot *previous)
{
	struct source_users list;
	size_t left = MAX_ALL_BYTES, cnt;
	int err = source_users__read(&list, snap, symbols, wanted);

	if (!err && list.users.cnt)
		qsort(list.users.items, list.users.cnt, sizeof(*list.users.items), compare_users);
	for (size_t i = 0; i < list.users.cnt && !err; i += cnt) {
		struct file_users users = {.snap = snap, .users = &list.users.items[i]};

		for (cnt = 0; i + cnt < list.users.cnt; cnt++) {
			if (strcmp(users.users[cnt].path, users.users[0].path))
				break;
			users.native |= users.users[cnt].native;
		}
		users.cnt = cnt;
		err = add_file(snap, &users, previous, &left);
	}
	source_users__free(&list);
	return err;
}
