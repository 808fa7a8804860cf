/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups as a hierarchy shows them: folders with files, below any folder. */
#ifndef LEAKSWEEP_TESTS_UNIT_CGROUP_FILES_H
#define LEAKSWEEP_TESTS_UNIT_CGROUP_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "util/format.h"

/* Writes a file of a group, which is made if it is not there. */
static inline void put_group_file(const char *mount, const char *group, const char *name,
				  const char *text)
{
	char *dir = format_text("%s%s", mount, group), *path;
	FILE *file;

	mkdir(dir, 0700);
	path = format_text("%s/%s", dir, name);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	free(path);
	free(dir);
}

#endif
