/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process that is number 1 of a PID namespace. After cmocka.h. */
#ifndef LEAKSWEEP_TESTS_UNIT_INNER_CHILD_H
#define LEAKSWEEP_TESTS_UNIT_INNER_CHILD_H

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct inner_child {
	pid_t outer, pid; /* who has made it, and itself, both as seen from here */
};

/* In the process between: makes the namespace, tells who is in it and waits for its end. */
static inline void __attribute__((noreturn)) inner_child__make(int told_fd)
{
	pid_t pid;

	if (unshare(CLONE_NEWUSER | CLONE_NEWPID))
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* new credentials drop an earlier one */
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(told_fd);
		for (;;)
			pause();
	}
	if (pid < 0 || write(told_fd, &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	waitpid(pid, NULL, 0);
	_exit(0);
}

/* Starts a child that waits. Skips the test where there are no PID namespaces. */
static inline struct inner_child inner_child__start(void)
{
	struct inner_child child;
	bool is_told;
	int told[2];

	assert_int_equal(pipe(told), 0);
	child.outer = fork();
	assert_true(child.outer >= 0);
	if (!child.outer)
		inner_child__make(told[1]);
	close(told[1]);
	is_told = read(told[0], &child.pid, sizeof(child.pid)) == sizeof(child.pid);
	close(told[0]);
	if (!is_told) {
		print_message("skipped: no PID namespaces here\n");
		assert_int_equal(waitpid(child.outer, NULL, 0), child.outer);
		skip();
	}
	assert_true(child.pid > 0);
	return child;
}

static inline void inner_child__end(const struct inner_child *child)
{
	assert_int_equal(kill(child->pid, SIGKILL), 0);
	assert_int_equal(waitpid(child->outer, NULL, 0), child->outer);
}

#endif
