/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files that hold the interpreters of the Pythons that are here. */
#ifndef LEAKSWEEP_TESTS_UNIT_PYTHON_INTERPRETERS_H
#define LEAKSWEEP_TESTS_UNIT_PYTHON_INTERPRETERS_H

#include "unit/python_targets.h"

#include "util/regular_file.h"

/* The program or its library, owned; NULL = it is not known. */
static inline char *find_interpreter_file(const struct python *python)
{
	struct python_build build;
	char *paths[2];
	int err, fd;

	assert_true(asprintf(&paths[0], "%s", python->path) > 0);
	assert_true(asprintf(&paths[1], "%s/libpython%s.so.1.0", python->lib_dir,
			     python->lib_name) > 0);
	for (int i = 0; i < 2; i++) {
		fd = regular_file__open(paths[i]);
		err = fd < 0 ? fd : python_build__read(fd, &build);
		if (fd >= 0)
			close(fd);
		if (err) {
			free(paths[i]);
			continue;
		}
		python_build__free(&build);
		if (i == 0)
			free(paths[1]);
		return paths[i];
	}
	return NULL;
}

#endif
