/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose CPU time is the tool's: its own and that of what works for it, not that of a command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/session.h"
#include "util/clock.h"
#include "util/cpu_time.h"

#define BURNT_NS (20 * 1000000ULL)
#define ROUNDED_NS 2000 /* two times are told in whole microseconds */

static pid_t start_burning(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < BURNT_NS)
		;
	_exit(0);
}

static void test_child_is_counted_once_it_was_waited_for(void **state)
{
	const struct session session = {0};
	uint64_t children = children_cpu_ns(), all = session__cpu_ns(&session);
	siginfo_t info;
	pid_t pid;

	(void)state;
	pid = start_burning();
	assert_true(pid > 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(children_cpu_ns(), children);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(children_cpu_ns() + ROUNDED_NS >= children + BURNT_NS);
	assert_true(session__cpu_ns(&session) + ROUNDED_NS >= all + BURNT_NS);
}

/* Exactly: what the command used is what is left out. */
static void test_command_is_not_counted(void **state)
{
	char *const argv[] = {"sh", "-c", "i=0; while [ $i -lt 9999 ]; do i=$((i + 1)); done",
			      NULL};
	uint64_t children = children_cpu_ns(), before, counted;
	struct session session = {0};

	(void)state;
	if (launch__start(argv, &session.launch)) {
		print_message("skipped: no process can be traced here\n");
		skip();
	}
	assert_int_equal(launch__exec(&session.launch), 0);
	while (launch__next_library(&session.launch) > 0)
		;
	launch__wait(&session.launch);
	assert_true(session.launch.exited && !session.launch.wait_status);
	assert_true(session.launch.cpu_ns > 0);
	assert_int_equal(children_cpu_ns() - children, session.launch.cpu_ns);
	before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	counted = session__cpu_ns(&session) - children;
	assert_true(before <= counted && counted <= clock_ns(CLOCK_PROCESS_CPUTIME_ID));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_child_is_counted_once_it_was_waited_for),
		cmocka_unit_test(test_command_is_not_counted),
	};

	return cmocka_run_group_tests_name("engine cpu", tests, NULL, NULL);
}
