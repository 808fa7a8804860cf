/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/report_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/io.h"
#include "util/message.h"

#define TERMINAL_NAP_NS 20000000

struct report_file {
	FILE *stream;
	int fd;		  /* that the stream writes to */
	bool is_borrowed; /* the descriptor is the caller's */
	int terminal;	  /* the same one, as the tool alone has it; -1 = it is none */
	bool holds_hangup;
	int err;	 /* of the first write that failed */
	char *path;	 /* of what is replaced at the end; NULL = written in place */
	char *temporary; /* the name beside it, if the file has one by now */
	bool is_named;
	bool exists; /* `old` is what is there */
	struct stat old;
	char buffer[64 << 10];
};

static char *directory_of(const char *path)
{
	char *copy = strdup(path), *dir = NULL;

	if (copy)
		dir = strdup(dirname(copy));
	free(copy);
	return dir;
}

/* Gives the new file the old one's owner and mode, or those that any new file gets. */
static int set_owner_and_mode(int fd, const struct stat *old)
{
	mode_t mode, mask;

	if (old) {
		mode = old->st_mode & 0777;
		if (fchown(fd, old->st_uid, old->st_gid))
			mode &= ~070; /* it stays ours, and our group is not the one that was meant
				       */
	} else {
		mask = umask(0);
		umask(mask);
		mode = 0666 & ~mask;
	}
	return fchmod(fd, mode) ? -errno : 0;
}

/*
 * Opens a file without a name in `dir`, so that whoever kills us leaves nothing behind; where the
 * file system has no such files, one with a name. Fills `temporary`, a mkstemp template, unless
 * *ret_named is false.
 */
static int open_temporary(const char *dir, char *temporary, bool *ret_named)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	*ret_named = fd < 0;
	if (fd < 0)
		fd = mkostemp(temporary, O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Gives a nameless file a temporary name. */
static int name_temporary(int fd, char *temporary)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	for (int attempt = 0; attempt < 100; attempt++) {
		snprintf(temporary + strlen(temporary) - 6, 7, "%06x",
			 (rand() ^ getpid()) & 0xffffff);
		if (!linkat(AT_FDCWD, link, AT_FDCWD, temporary, AT_SYMLINK_FOLLOW))
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

/* Opens what is going to be renamed to file->path. Returns 0 or a negative errno. */
static int open_beside(struct report_file *file)
{
	char *dir = directory_of(file->path);

	if (!dir || asprintf(&file->temporary, "%s/.leaksweep-XXXXXX", dir) < 0) {
		file->temporary = NULL;
		free(dir);
		return -ENOMEM;
	}
	file->fd = open_temporary(dir, file->temporary, &file->is_named);
	free(dir);
	return file->fd < 0 ? file->fd : 0;
}

/* A pipe that nobody reads must not hang us; one that is read slowly is waited for. */
static int open_in_place(const char *path)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	fcntl(fd, F_SETFL, 0);
	return fd;
}

/*
 * A terminal has room for some bytes, nobody knows how many: it must not block. The flag belongs to
 * all that have the same file open, a shell among them, so it is opened once more. Returns -1 where
 * that is refused.
 */
static int open_terminal(int fd)
{
	char path[40];

	if (!isatty(fd))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static int open_target(struct report_file *file, const char *path)
{
	file->exists = !stat(path, &file->old);
	if (file->exists && !S_ISREG(file->old.st_mode)) { /* a pipe or a device */
		file->fd = open_in_place(path);
		return file->fd < 0 ? file->fd : 0;
	}
	file->path = strdup(path);
	return file->path ? open_beside(file) : -ENOMEM;
}

/*
 * Waits for room: for PIPE_BUF bytes in a pipe, for some in a terminal. Nobody may ever read them:
 * signals that end a run are blocked to be heard between reports, here they kill. Of -1 poll(2)
 * would tell nothing.
 */
static void await_room(const struct report_file *file, int fd, const struct timespec *most)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
	sigset_t mask;

	sigprocmask(SIG_BLOCK, NULL, &mask);
	sigdelset(&mask, SIGINT);
	sigdelset(&mask, SIGTERM);
	if (!file->holds_hangup)
		sigdelset(&mask, SIGHUP);
	while ((fd >= 0 || most) && ppoll(&poll_fd, 1, most, &mask) < 0 && errno == EINTR)
		;
}

static int write_in_place(const struct report_file *file, const char *text, size_t len)
{
	int err = 0;

	for (size_t part; !err && len; text += part, len -= part) {
		part = len < PIPE_BUF ? len : PIPE_BUF;
		await_room(file, file->fd, NULL);
		err = write_all(file->fd, text, part);
	}
	return err;
}

/* A terminal may say that it has room and take nothing: a line's end needs two bytes of it. */
static int write_terminal(const struct report_file *file, const char *text, size_t len)
{
	const struct timespec nap = {.tv_nsec = TERMINAL_NAP_NS};

	while (len) {
		ssize_t written;

		await_room(file, file->terminal, NULL);
		written = write(file->terminal, text, len);
		if (written > 0) {
			text += written;
			len -= (size_t)written;
		} else if (!written || errno == EAGAIN) {
			await_room(file, -1, &nap);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int write_out(const struct report_file *file, const char *text, size_t len)
{
	if (file->path)
		return write_all(file->fd, text, len);
	if (file->terminal >= 0)
		return write_terminal(file, text, len);
	return write_in_place(file, text, len);
}

static ssize_t take(void *cookie, const char *text, size_t len)
{
	struct report_file *file = cookie;

	if (!file->err)
		file->err = write_out(file, text, len);
	errno = -file->err;
	return file->err ? 0 : (ssize_t)len; /* 0 = failed (fopencookie(3)) */
}

static int close_target(struct report_file *file)
{
	int fd = file->fd;

	file->fd = -1;
	if (file->terminal >= 0)
		close(file->terminal);
	file->terminal = -1;
	return fd >= 0 && !file->is_borrowed && close(fd) ? -errno : 0;
}

static void free_file(struct report_file *file)
{
	if (file->is_named)
		unlink(file->temporary);
	close_target(file);
	free(file->temporary);
	free(file->path);
	free(file);
}

int report_file__open(const char *path, int fd, struct report_file **ret)
{
	const cookie_io_functions_t functions = {.write = take};
	struct report_file *file = calloc(1, sizeof(*file));
	int err = 0;

	if (!file)
		return -ENOMEM;
	file->fd = path ? -1 : fd;
	file->is_borrowed = !path;
	if (path)
		err = open_target(file, path);
	file->terminal = file->path ? -1 : open_terminal(file->fd);
	if (!err)
		file->stream = fopencookie(file, "w", functions);
	if (!err &&
	    (!file->stream || setvbuf(file->stream, file->buffer, _IOFBF, sizeof(file->buffer))))
		err = -ENOMEM;
	if (err) {
		if (file->stream)
			fclose(file->stream);
		free_file(file);
		return err;
	}
	*ret = file;
	return 0;
}

void report_file__hold_hangup(struct report_file *file)
{
	file->holds_hangup = true;
}

FILE *report_file__stream(struct report_file *file)
{
	return file->stream;
}

/* A file that is a mount point, as containers are given, cannot be replaced. */
static int copy_in_place(const struct report_file *file)
{
	char buf[8192];
	int fd = open_in_place(file->path), err = fd < 0 ? fd : 0;
	off_t at = 0;
	ssize_t len;

	while (!err && (len = pread(file->fd, buf, sizeof(buf), at)) != 0) {
		err = len < 0 ? -errno : write_all(fd, buf, (size_t)len);
		at += len;
	}
	if (fd >= 0 && close(fd) && !err)
		err = -errno;
	return err;
}

/* A reader sees the old report or the new one, never a part. */
static int replace(struct report_file *file)
{
	int err = set_owner_and_mode(file->fd, file->exists ? &file->old : NULL);

	if (!err && fsync(file->fd) && errno != EINVAL)
		err = -errno;
	if (!err && !file->is_named) {
		err = name_temporary(file->fd, file->temporary);
		file->is_named = !err;
	}
	if (err)
		return err;
	if (!rename(file->temporary, file->path)) {
		file->is_named = false;
		return 0;
	}
	return file->exists && errno == EBUSY ? copy_in_place(file) : -errno;
}

int report_file__finish(struct report_file *file, int err)
{
	int closed = fclose(file->stream) ? -errno : 0;

	if (file->err)
		err = file->err;
	else if (!err)
		err = closed;
	if (!err && file->path)
		err = replace(file);
	closed = close_target(file);
	free_file(file);
	return err ? err : closed;
}

int report_file__check(const char *path)
{
	struct stat st;
	char *dir;
	int err;

	if (!stat(path, &st)) {
		if (S_ISDIR(st.st_mode))
			return -EISDIR;
		if (S_ISSOCK(st.st_mode))
			return -ENXIO;
		if (access(path, W_OK))
			return -errno;
		if (!S_ISREG(st.st_mode))
			return 0;
	} else if (errno != ENOENT || !*path) {
		return -errno;
	} else if (path[strlen(path) - 1] == '/') {
		return -EISDIR;
	}
	dir = directory_of(path);
	if (!dir)
		return -ENOMEM;
	err = access(dir, W_OK | X_OK) ? -errno : 0;
	free(dir);
	return err;
}

int report_file__check_option(const char *path, char **ret_message)
{
	int err = path ? report_file__check(path) : 0;

	return err ? fail(ret_message, err, "cannot write %s: %s", path, strerror(-err)) : 0;
}
