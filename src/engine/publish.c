/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/source_text.h"
#include "symbolize/symbolizer.h"
#include "util/io.h"

struct publisher {
	const struct publish_opts *opts;
	struct symbolizer *symbolizer;
	/* of the last report, for the differences of the next */
	struct snapshot *snap;
	struct symbol *symbols;
	struct profile *profile;
};

struct publisher *publisher__new(const struct publish_opts *opts)
{
	struct publisher *publisher = calloc(1, sizeof(*publisher));

	if (!publisher)
		return NULL;
	publisher->opts = opts;
	publisher->symbolizer = symbolizer__new();
	if (!publisher->symbolizer) {
		free(publisher);
		return NULL;
	}
	return publisher;
}

static void forget_last(struct publisher *publisher)
{
	profile__free(publisher->profile);
	free(publisher->symbols);
	snapshot__free(publisher->snap);
	publisher->profile = NULL;
	publisher->symbols = NULL;
	publisher->snap = NULL;
}

void publisher__free(struct publisher *publisher)
{
	if (!publisher)
		return;
	forget_last(publisher);
	symbolizer__free(publisher->symbolizer);
	free(publisher);
}

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
	int fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);

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

/*
 * Writes beside the target and renames: a reader sees the old report or the new one, never a part.
 * `old` is the file there now, NULL = none.
 */
static int write_atomically(const char *path, const struct stat *old, const char *text, size_t len)
{
	char *dir = directory_of(path), *temporary = NULL;
	bool named = false;
	int fd = -1, err = -ENOMEM;

	if (!dir || asprintf(&temporary, "%s/.leaksweep-XXXXXX", dir) < 0) {
		free(dir);
		return -ENOMEM;
	}
	fd = open_temporary(dir, temporary, &named);
	if (fd < 0) {
		err = fd;
		goto cleanup;
	}
	err = write_all(fd, text, len);
	if (!err)
		err = set_owner_and_mode(fd, old);
	if (!err && fsync(fd) && errno != EINVAL)
		err = -errno;
	if (!err && !named) {
		err = name_temporary(fd, temporary);
		named = !err;
	}
	if (!err && rename(temporary, path))
		err = -errno;
	if (err && named)
		unlink(temporary);
	close(fd);
cleanup:
	free(temporary);
	free(dir);
	return err;
}

static int write_in_place(const char *path, const char *text, size_t len)
{
	/* A pipe that nobody reads must not hang us; one that is read slowly is waited for. */
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), err;

	if (fd < 0)
		return -errno;
	fcntl(fd, F_SETFL, 0);
	err = write_all(fd, text, len);
	if (close(fd) && !err)
		err = -errno;
	return err;
}

int publish__write(const struct publish_opts *opts, const char *text, size_t len)
{
	const char *path = opts->path;
	struct stat st;
	bool exists;
	int err;

	if (!path)
		return write_all(opts->fd, text, len);
	exists = !stat(path, &st);
	if (exists && !S_ISREG(st.st_mode)) /* a pipe or a device */
		return write_in_place(path, text, len);
	err = write_atomically(path, exists ? &st : NULL, text, len);
	/* A file that is a mount point, as containers are given, cannot be replaced. */
	return exists && err == -EBUSY ? write_in_place(path, text, len) : err;
}

int publisher__publish(struct publisher *publisher, struct snapshot *snap, int64_t *ret_live_bytes)
{
	struct symbol *symbols = NULL;
	struct profile *profile = NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *out;
	int err;

	err = symbolizer__resolve(publisher->symbolizer, snap, &symbols);
	if (!err && publisher->opts->render.annotate)
		err = source_text__add(snap, symbols, publisher->opts->render.annotate,
				       publisher->snap);
	if (err)
		goto fail;
	err = -ENOMEM;
	profile = profile__new(snap, symbols, &publisher->opts->profile, publisher->profile);
	out = profile ? open_memstream(&text, &len) : NULL;
	if (!out)
		goto fail;
	err = publisher->opts->report(profile, &publisher->opts->render, out);
	if (fclose(out) && !err)
		err = -errno;
	if (!err)
		err = publish__write(publisher->opts, text, len);
	if (err)
		goto fail;
	if (ret_live_bytes)
		*ret_live_bytes = profile->total.live_bytes;
	free(text);
	forget_last(publisher);
	publisher->snap = snap;
	publisher->symbols = symbols;
	publisher->profile = profile;
	return 0;
fail:
	free(text);
	profile__free(profile);
	free(symbols);
	snapshot__free(snap);
	return err;
}

int publish__check_path(const char *path)
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
