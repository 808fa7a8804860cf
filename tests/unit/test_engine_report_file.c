/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reports to a terminal that takes no output, and to one that takes it slowly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "engine/report_file.h"

#define LINES 20000
#define LINE_LEN 9 /* "%7d\r\n" as a terminal shows it */

struct terminal {
	int master, slave;
	char *path;
};

static void open_terminal(struct terminal *terminal)
{
	terminal->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(terminal->master >= 0);
	assert_int_equal(grantpt(terminal->master) | unlockpt(terminal->master), 0);
	terminal->path = ptsname(terminal->master);
	terminal->slave = open(terminal->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(terminal->slave >= 0);
}

static void close_terminal(struct terminal *terminal)
{
	close(terminal->master);
	close(terminal->slave);
}

/* Writes a report in a process that hears signals between reports only, as a sweep does. */
static pid_t start_report(const struct terminal *terminal, bool by_path, bool holds_hangup)
{
	struct report_file *file;
	sigset_t signals;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(terminal->master);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (report_file__open(by_path ? terminal->path : NULL, terminal->slave, &file))
		_exit(1);
	if (holds_hangup)
		report_file__hold_hangup(file);
	for (int i = 0; i < LINES; i++)
		fprintf(report_file__stream(file), "%7d\n", i);
	if (report_file__finish(file, 0))
		_exit(2);
	sigpending(&signals);
	_exit(sigismember(&signals, SIGHUP) ? 3 : 0);
}

/* Waits until nothing comes any more, or as much as is wanted has. Returns how much has come. */
static size_t read_some(int fd, char *text, size_t wanted)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	ssize_t part = 1;

	while (len < wanted && part > 0 && poll(&poll_fd, 1, 2000) == 1) {
		part = read(fd, text + len, wanted - len < 700 ? wanted - len : 700);
		len += part > 0 ? (size_t)part : 0;
	}
	return len;
}

static void assert_killed(pid_t pid, int signal_nr)
{
	int status = 0, waited = 0;

	assert_int_equal(kill(pid, signal_nr), 0);
	for (int i = 0; i < 500 && !waited; i++) {
		usleep(10000);
		waited = waitpid(pid, &status, WNOHANG);
	}
	if (!waited) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		fail_msg("a report that nobody takes holds signal %d back", signal_nr);
	}
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signal_nr);
}

/* Nobody reads, or somebody has pressed Ctrl-S after some lines. */
static void check_stuck(bool is_stopped, bool by_path)
{
	char text[3000];
	struct terminal terminal;
	pid_t pid;

	open_terminal(&terminal);
	pid = start_report(&terminal, by_path, false);
	if (is_stopped) {
		assert_int_equal(read_some(terminal.master, text, sizeof(text)), sizeof(text));
		assert_int_equal(tcflow(terminal.slave, TCOOFF), 0);
	}
	usleep(300000);
	assert_killed(pid, by_path ? SIGHUP : SIGTERM);
	/* The terminal is other programs' too: they go on as they were. */
	assert_false(fcntl(terminal.slave, F_GETFL) & O_NONBLOCK);
	close_terminal(&terminal);
}

static void test_unread(void **state)
{
	(void)state;
	check_stuck(false, false);
	check_stuck(false, true);
}

static void test_stopped(void **state)
{
	(void)state;
	check_stuck(true, false);
	check_stuck(true, true);
}

/* Whoever reads slowly gets everything once. */
static void test_slow(void **state)
{
	char *text = malloc(LINES * LINE_LEN + 1), line[16];
	struct terminal terminal;
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(text);
	open_terminal(&terminal);
	pid = start_report(&terminal, false, false);
	assert_int_equal(tcflow(terminal.slave, TCOOFF), 0);
	usleep(200000);
	assert_int_equal(tcflow(terminal.slave, TCOON), 0);
	assert_int_equal(read_some(terminal.master, text, LINES * LINE_LEN), LINES * LINE_LEN);
	for (int i = 0; i < LINES; i++) {
		snprintf(line, sizeof(line), "%7d\r\n", i);
		assert_memory_equal(text + i * LINE_LEN, line, LINE_LEN);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close_terminal(&terminal);
	free(text);
}

/* SIGHUP asks for something: it is there when the report has been read, and SIGTERM ends it still.
 */
static void test_hangup(void **state)
{
	char *text = malloc(LINES * LINE_LEN + 1);
	struct terminal terminal;
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(text);
	open_terminal(&terminal);
	pid = start_report(&terminal, false, true);
	usleep(200000);
	assert_int_equal(kill(pid, SIGHUP), 0);
	usleep(200000);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	assert_int_equal(read_some(terminal.master, text, LINES * LINE_LEN), LINES * LINE_LEN);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	pid = start_report(&terminal, false, true);
	usleep(200000);
	assert_int_equal(kill(pid, SIGHUP), 0);
	assert_killed(pid, SIGTERM);
	close_terminal(&terminal);
	free(text);
}

/* Who was there has left: an error, no end. */
static void test_gone(void **state)
{
	struct terminal terminal;
	int status;
	pid_t pid;

	(void)state;
	open_terminal(&terminal);
	pid = start_report(&terminal, false, false);
	usleep(100000);
	close(terminal.master);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
	close(terminal.slave);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unread), cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_slow),   cmocka_unit_test(test_hangup),
		cmocka_unit_test(test_gone),
	};

	return cmocka_run_group_tests_name("report files", tests, NULL, NULL);
}
