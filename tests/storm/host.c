/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/storm/host.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REMOVE_TRIES 500
#define REMOVE_PAUSE_NS 2000000

void die(const char *fmt, ...)
{
	int err = errno;
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(err));
	_exit(3);
}

char *text(const char *fmt, ...)
{
	char *made = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&made, fmt, args) < 0)
		die("no memory");
	va_end(args);
	return made;
}

uint64_t read_number(const char *what, const char *value, uint64_t low, uint64_t high)
{
	char *end;
	uint64_t number;

	errno = 0;
	number = strtoull(value, &end, 10);
	if (end == value || *end || errno || number < low || number > high) {
		errno = EINVAL;
		die("%s '%s'", what, value);
	}
	return number;
}

char *beside_us(const char *name)
{
	char *self = realpath("/proc/self/exe", NULL), *path;

	if (!self)
		die("/proc/self/exe");
	path = text("%s/%s", dirname(self), name);
	free(self);
	return path;
}

/* ---- programs ------------------------------------------------------------------------------- */

struct image {
	unsigned char *bytes;
	size_t len, id_at; /* where its build-id is */
};

/* The head of a build-id note: sizes of name and id, NT_GNU_BUILD_ID, "GNU" (elf.h). */
static const unsigned char note_head[] = {4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0};

static struct image read_image(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct image image = {0};
	unsigned char *note;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		die("%s", path);
	image.len = (size_t)st.st_size;
	image.bytes = malloc(image.len);
	if (!image.bytes || read(fd, image.bytes, image.len) != st.st_size)
		die("%s", path);
	close(fd);
	note = memmem(image.bytes, image.len, note_head, sizeof(note_head));
	if (!note || (size_t)(note - image.bytes) + sizeof(note_head) + 20 > image.len)
		die("%s has no build-id", path);
	image.id_at = (size_t)(note - image.bytes) + sizeof(note_head);
	return image;
}

static void write_image(const struct image *image, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

	if (fd < 0 || write(fd, image->bytes, image->len) != (ssize_t)image->len || close(fd))
		die("%s", path);
}

char **make_copies(const char *from, const char *dir, const char *name, size_t cnt)
{
	struct image image = read_image(from);
	char **copies = calloc(cnt + 1, sizeof(*copies));

	if (!copies)
		die("no memory");
	for (size_t i = 0; i < cnt; i++) {
		uint64_t id = i;

		copies[i] = text("%s/%s-%zu", dir, name, i);
		memcpy(image.bytes + image.id_at, &id, sizeof(id));
		write_image(&image, copies[i]);
	}
	free(image.bytes);
	return copies;
}

void free_copies(char **copies)
{
	for (size_t i = 0; copies[i]; i++)
		free(copies[i]);
	free(copies);
}

/* ---- cgroups -------------------------------------------------------------------------------- */

char *cgroup__make_inside(const char *parent, const char *name)
{
	char *path = text("%s/%s", parent, name);

	if (mkdir(path, 0755))
		die("%s", path);
	return path;
}

char *cgroup__make(const char *name)
{
	static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified",
					    "/sys/fs/cgroup/memory"};

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		char *procs = text("%s/cgroup.procs", roots[i]);
		bool is_root = !access(procs, W_OK);

		free(procs);
		if (is_root)
			return cgroup__make_inside(roots[i], name);
	}
	die("no cgroup hierarchy to write to");
}

void cgroup__enter(const char *path)
{
	char *procs = text("%s/cgroup.procs", path);
	int fd = open(procs, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		die("%s", procs);
	close(fd);
	free(procs);
}

void cgroup__remove(const char *path)
{
	const struct timespec pause = {.tv_nsec = REMOVE_PAUSE_NS};

	for (int i = 0; i < REMOVE_TRIES; i++) {
		if (!rmdir(path))
			return;
		if (errno != EBUSY)
			break;
		nanosleep(&pause, NULL);
	}
	die("%s", path);
}

/* ---- numbers -------------------------------------------------------------------------------- */

uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
