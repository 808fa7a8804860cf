/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Talk with a Python that says numbers, one a line, and waits in sys.stdin.readline(). */
#ifndef LEAKSWEEP_TESTS_UNIT_PYTHON_CHILD_H
#define LEAKSWEEP_TESTS_UNIT_PYTHON_CHILD_H

#include "unit/python_targets.h"

static inline uint64_t next_number(struct target *target)
{
	char *line = read_line(target);
	uint64_t value;

	assert_non_null(line);
	value = strtoull(line, NULL, 0);
	free(line);
	return value;
}

static inline void go_on(struct target *target)
{
	assert_int_equal(write(target->in, "\n", 1), 1);
}

/* Waits until the child sleeps: what it does before its next read is done. */
static inline void wait_until_idle(const struct target *target)
{
	char *path = NULL, state = 0;

	assert_true(asprintf(&path, "/proc/%d/stat", target->pid) > 0);
	for (int i = 0; i < 5000 && state != 'S'; i++) {
		FILE *stat = fopen(path, "r");

		usleep(1000);
		assert_non_null(stat);
		assert_int_equal(fscanf(stat, "%*d %*s %c", &state), 1);
		fclose(stat);
	}
	free(path);
	assert_int_equal(state, 'S');
}

#endif
