/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that the test itself maps, and what proc_map__open makes of them. After unit/compile.h. */
#ifndef LEAKSWEEP_TESTS_UNIT_MAPPED_FILE_H
#define LEAKSWEEP_TESTS_UNIT_MAPPED_FILE_H

#include <fcntl.h>
#include <sys/mman.h>

#include "util/procfs.h"

/* Creates a file of two pages that are full of `mark`. */
static inline void make_marked_file(const char *path, uint8_t mark)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint8_t *bytes = calloc(2, page);

	assert_true(fd >= 0);
	memset(bytes, mark, 2 * page);
	assert_int_equal(write(fd, bytes, 2 * page), 2 * page);
	close(fd);
	free(bytes);
}

/* Maps a file's second page, at `place` if that is not NULL. */
static inline void *map_page(const char *path, void *place)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *map;

	assert_true(fd >= 0);
	map = mmap(place, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | (place ? MAP_FIXED : 0), fd,
		   (off_t)page);
	assert_true(map != MAP_FAILED);
	close(fd);
	return map;
}

static inline const struct proc_map *own_map(struct proc_maps *maps, const void *addr)
{
	const struct proc_map *map;

	assert_int_equal(proc_maps__read(getpid(), maps), 0);
	map = proc_maps__find(maps, (uint64_t)(uintptr_t)addr);
	assert_non_null(map);
	return map;
}

/* Reads the first byte of what is opened, or returns the error. */
static inline int first_byte(const struct proc_map *map)
{
	int fd = proc_map__open(getpid(), map);
	uint8_t byte;

	if (fd < 0)
		return fd;
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	close(fd);
	return byte;
}

#endif
