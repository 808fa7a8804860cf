/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"

#define CHILD_MS 300
#define PATIENCE_MS 20000

static uint64_t in_ms(uint64_t ms)
{
	return clock_ns(CLOCK_MONOTONIC) + ms * NS_PER_MS;
}

static pid_t start_napper(uint64_t ms)
{
	pid_t pid = fork();

	if (!pid) {
		usleep((useconds_t)(ms * 1000));
		_exit(7);
	}
	assert_true(pid > 0);
	return pid;
}

static void check_waits(void)
{
	uint64_t begun_ns = clock_ns(CLOCK_MONOTONIC);
	pid_t pid = start_napper(CHILD_MS);
	int status = 0;

	assert_int_equal(child__wait(pid, 0, &status), -ETIMEDOUT);
	assert_int_equal(child__wait(pid, in_ms(CHILD_MS / 6), &status), -ETIMEDOUT);
	assert_true(clock_ns(CLOCK_MONOTONIC) >= begun_ns + CHILD_MS / 6 * NS_PER_MS);
	assert_int_equal(child__wait(pid, in_ms(PATIENCE_MS), &status), 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_true(clock_ns(CLOCK_MONOTONIC) < begun_ns + PATIENCE_MS * NS_PER_MS);
	assert_int_equal(child__wait(pid, in_ms(PATIENCE_MS), &status), -ECHILD);
}

static void test_wait(void **state)
{
	pid_t pid = start_napper(PATIENCE_MS);
	int status;

	(void)state;
	check_waits();
	assert_int_equal(child__wait(pid, 0, &status), -ETIMEDOUT);
	kill(pid, SIGKILL);
	/* No limit at all. */
	assert_int_equal(child__wait(pid, UINT64_MAX, &status), 0);
	assert_true(WIFSIGNALED(status));
}

/* A process without descriptors left waits as long. */
static void test_no_descriptors(void **state)
{
	struct rlimit before, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(dup(0), -1);
	check_waits();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_no_descriptors),
	};

	return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
