/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of container runtimes, below the test's own root directory. */
#ifndef LEAKSWEEP_TESTS_UNIT_STATE_FILES_H
#define LEAKSWEEP_TESTS_UNIT_STATE_FILES_H

#include "unit/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static inline char *full_path(const char *path)
{
	char *full;

	assert_true(asprintf(&full, "%s%s", work_dir, path) > 0);
	return full;
}

/* Makes the directories above `path`, too. */
static inline int make_file(const char *path)
{
	char *full = full_path(path);
	int fd;

	for (char *pos = full + strlen(work_dir); (pos = strchr(pos + 1, '/'));) {
		*pos = '\0';
		assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
		*pos = '/';
	}
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	free(full);
	return fd;
}

static inline void write_bytes(const char *path, const char *text, size_t len)
{
	int fd = make_file(path);

	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static inline void write_text(const char *path, const char *text)
{
	write_bytes(path, text, strlen(text));
}

#endif
