/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/cache_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/array.h"
#include "util/new_file.h"

#define KEY_NAME "key"
#define MAX_TRIES 4
#define NSEC_PER_SEC 1000000000ULL

struct entry {
	char *name; /* owned */
	uint64_t cost, used_ns;
};

struct entries {
	ARRAY(struct entry) list;
	uint64_t bytes;
};

/* ---- the directory -------------------------------------------------------------------------- */

static int make_parents(const char *path)
{
	char *part = strdup(path), *slash;
	int err = 0;

	if (!part)
		return -ENOMEM;
	for (slash = strchr(part + 1, '/'); slash && !err; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0755) && errno != EEXIST && errno != EISDIR)
			err = errno == EPERM ? -ENOTSUP : -errno;
		*slash = '/';
	}
	free(part);
	return err;
}

static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int cache_dir__open(const char *path)
{
	struct stat st;
	int fd, err;

	if (!path[0])
		return -ENOENT;
	fd = open_dir(path);
	if (fd == -ENOENT) {
		err = make_parents(path);
		if (err)
			return err;
		/* EPERM keeps its one meaning: the file system knows no directories. */
		if (mkdir(path, 0700) && errno != EEXIST)
			return errno == EPERM ? -ENOTSUP : -errno;
		fd = open_dir(path);
	}
	if (fd < 0)
		return fd == -ELOOP ? -ENOTDIR : fd;
	err = fstat(fd, &st) ? -errno : 0;
	if (!err && (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH)))
		err = -EPERM;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* ---- the secret ----------------------------------------------------------------------------- */

/* Returns 0, -ENOENT, -EBADMSG (not a secret: others can read it, or it is no key) or another. */
static int read_key(int dir_fd, uint8_t *ret_key)
{
	uint8_t key[SIPHASH_BYTES + 1];
	struct stat st;
	int fd, err = 0;

	fd = openat(dir_fd, KEY_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP || errno == ENXIO ? -EBADMSG : -errno;
	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077 ||
		 read(fd, key, sizeof(key)) != SIPHASH_BYTES)
		err = -EBADMSG;
	close(fd);
	if (!err)
		memcpy(ret_key, key, SIPHASH_BYTES);
	return err;
}

static int make_key(int dir_fd)
{
	uint8_t key[SIPHASH_BYTES];
	struct new_file file;
	ssize_t put;
	int err;

	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	err = new_file__create(dir_fd, &file);
	if (err)
		return err;
	put = write(file.fd, key, sizeof(key));
	if (put < 0)
		err = -errno;
	else
		err = put == sizeof(key) ? new_file__publish(&file, KEY_NAME) : -ENOSPC;
	new_file__close(&file);
	return err;
}

int cache_dir__key(int dir_fd, uint8_t ret_key[static SIPHASH_BYTES])
{
	int err = 0;

	/* Another process may make or remove one at the same time. */
	for (int i = 0; i < MAX_TRIES; i++) {
		err = read_key(dir_fd, ret_key);
		if (err == -EBADMSG && unlinkat(dir_fd, KEY_NAME, 0) && errno != ENOENT)
			return -errno;
		if (err != -EBADMSG && err != -ENOENT)
			return err;
		err = make_key(dir_fd);
		if (err && err != -EEXIST)
			return err;
	}
	return err ? err : -EBUSY;
}

void cache_dir__derive_key(const uint8_t key[static SIPHASH_BYTES], const char *use,
			   uint8_t ret_key[static SIPHASH_BYTES])
{
	struct siphash hash;

	siphash__init(&hash, key);
	siphash__update(&hash, use, strlen(use));
	siphash__final(&hash, ret_key);
}

/* ---- its size ------------------------------------------------------------------------------- */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t len = strlen(name), suffix_len = strlen(suffix);

	return len > suffix_len && !strcmp(name + len - suffix_len, suffix);
}

static bool is_ours(const char *name)
{
	return has_suffix(name, CACHE_SUFFIX) || has_suffix(name, SITES_SUFFIX);
}

static int add_entry(struct entries *entries, int dir_fd, const char *name)
{
	struct entry entry;
	struct stat st;
	int err;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return 0;
	entry.cost = cache_dir__cost((uint64_t)st.st_size);
	entry.used_ns = (uint64_t)st.st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st.st_mtim.tv_nsec;
	entry.name = strdup(name);
	err = entry.name ? array_push(&entries->list, entry) : -ENOMEM;
	if (err)
		free(entry.name);
	else
		entries->bytes += entry.cost;
	return err;
}

static int read_entries(int dir_fd, struct entries *entries)
{
	struct dirent *item;
	int fd, err = 0;
	DIR *dir;

	/* Another description: a position of its own. */
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		err = -errno;
		close(fd);
		return err;
	}
	while (!err && (item = readdir(dir))) {
		if (new_file__is_temporary(item->d_name))
			new_file__clean(dir_fd, item->d_name);
		else if (is_ours(item->d_name))
			err = add_entry(entries, dir_fd, item->d_name);
	}
	closedir(dir);
	return err;
}

static int compare_use(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->used_ns > y->used_ns) - (x->used_ns < y->used_ns);
}

int cache_dir__trim(int dir_fd, uint64_t max_bytes, uint64_t *ret_bytes)
{
	struct entries entries = {0};
	/* So that not every new table needs a look at all of them. */
	uint64_t wanted = max_bytes - max_bytes / 8;
	int err;

	err = read_entries(dir_fd, &entries);
	if (err)
		goto cleanup;
	if (entries.bytes > max_bytes) {
		qsort(entries.list.items, entries.list.cnt, sizeof(struct entry), compare_use);
		for (size_t i = 0; i < entries.list.cnt && entries.bytes > wanted; i++)
			if (!unlinkat(dir_fd, entries.list.items[i].name, 0) || errno == ENOENT)
				entries.bytes -= entries.list.items[i].cost;
	}
	*ret_bytes = entries.bytes;
cleanup:
	for (size_t i = 0; i < entries.list.cnt; i++)
		free(entries.list.items[i].name);
	array_free(&entries.list);
	return err;
}
