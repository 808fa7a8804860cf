/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process to be found by its name. After cmocka.h. */
#ifndef LEAKSWEEP_TESTS_UNIT_NAMED_CHILD_H
#define LEAKSWEEP_TESTS_UNIT_NAMED_CHILD_H

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Starts a child that waits; its name is `comm`. */
static inline pid_t named_child__start(const char *comm)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, comm);
		if (write(ready[1], "", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

#endif
