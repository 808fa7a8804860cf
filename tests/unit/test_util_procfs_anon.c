/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Anonymous memory of a process, as it is polled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/procfs_memory.h"

#define MIB (1ULL << 20)
#define LAG (2 * MIB) /* of the kernel's counters */

static void test_parse(void **state)
{
	static const struct {
		enum proc_anon_source source;
		const char *text;
		int err;
		uint64_t bytes;
	} cases[] = {
		{PROC_ANON_STATM, "100 50 20 1 0 10 0\n", 0, 30 * 4096},
		{PROC_ANON_STATM, "100 20 50 1 0 10 0\n", 0, 0}, /* counters that lag */
		{PROC_ANON_STATM, "0 0 0 0 0 0 0\n", -ENODATA, 0},
		{PROC_ANON_STATM, "", -EBADMSG, 0},
		{PROC_ANON_STATM, "100 50", -EBADMSG, 0},
		{PROC_ANON_STATM, "100 50 20", -EBADMSG, 0},
		{PROC_ANON_STATM, "100 -50 20 1\n", -EBADMSG, 0},
		{PROC_ANON_STATM, "100 18446744073709551615 20 1\n", -EBADMSG, 0},
		{PROC_ANON_STATM, "100 99999999999999999999999 20 1\n", -EBADMSG, 0},
		{PROC_ANON_STATUS, "Name:\tx\nRssAnon:\t  30 kB\nRssFile:\t 7 kB\nVmSwap:\t 5 kB\n",
		 0, 35 * 1024},
		{PROC_ANON_STATUS, "Name:\tkthreadd\nState:\tS\n", -ENODATA, 0},
		{PROC_ANON_STATUS, "Name:\tx\nRssAnon:\t 30 kB\n", -EBADMSG, 0},
		{PROC_ANON_STATUS, "Name:\tx\nRssAnon:\t 18014398509481983 kB\nVmSwap:\t 1024 kB\n",
		 -EBADMSG, 0},
		{PROC_ANON_STATUS, "", -EBADMSG, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 7;
		int err = proc_anon__parse(cases[i].source, cases[i].text, 4096, &bytes);

		if (err != cases[i].err || bytes != (err ? 7 : cases[i].bytes))
			fail_msg("'%s': %d, %llu bytes", cases[i].text, err,
				 (unsigned long long)bytes);
	}
}

struct child {
	pid_t pid;
	int go, done;
};

/* Touches 64 MiB of memory and 64 MiB of a shared mapping when it is told to. */
static struct child start_child(void)
{
	int go[2], done[2];
	struct child child;
	char byte;

	assert_int_equal(pipe(go) | pipe(done), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (!child.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		memset(mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0),
		       1, 64 * MIB);
		memset(mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			    0),
		       1, 64 * MIB);
		if (write(done[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(go[0]);
	close(done[1]);
	child.go = go[1];
	child.done = done[0];
	return child;
}

/* The same file tells of the same process until it ends, and of no other afterwards. */
static void check_process(enum proc_anon_source source)
{
	struct child child = start_child();
	int fd = proc_anon__open(child.pid, 0, source);
	uint64_t before, after;
	siginfo_t info;
	char byte;

	assert_true(fd >= 0);
	assert_int_equal(proc_anon__read(fd, source, &before), 0);
	assert_int_equal(write(child.go, "", 1), 1);
	assert_int_equal(read(child.done, &byte, 1), 1);
	assert_int_equal(proc_anon__read(fd, source, &after), 0);
	assert_in_range(after - before, 64 * MIB - LAG, 64 * MIB + LAG);
	assert_true(child.pid > 0); /* else kill(2) means others */
	assert_int_equal(kill(child.pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(proc_anon__read(fd, source, &after), -ENODATA);
	waitpid(child.pid, NULL, 0);
	assert_int_equal(proc_anon__read(fd, source, &after), -ESRCH);
	assert_int_equal(proc_anon__open(child.pid, 0, source), -ESRCH);
	close(fd);
	close(child.go);
	close(child.done);
}

static void test_statm(void **state)
{
	(void)state;
	check_process(PROC_ANON_STATM);
}

static void test_status(void **state)
{
	(void)state;
	check_process(PROC_ANON_STATUS);
}

/* ---- a process without its main thread ---- */

static int pipes[2][2]; /* each command makes the thread that reads it grow, its end leaves it */

static void *run_thread(void *arg)
{
	int *pipe = arg;
	char byte;

	while (read(pipe[0], &byte, 1) == 1 && byte != 'x')
		memset(mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0),
		       1, 8 * MIB);
	return NULL;
}

static pid_t start_headless(void)
{
	pthread_t thread;
	pid_t pid;

	assert_int_equal(pipe(pipes[0]) | pipe(pipes[1]), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < 2; i++)
			if (pthread_create(&thread, NULL, run_thread, pipes[i]))
				_exit(1);
		pthread_exit(NULL);
	}
	return pid;
}

static uint64_t await_anon(int fd, enum proc_anon_source source, uint64_t least)
{
	uint64_t bytes = 0;
	int err = 0;

	for (int i = 0; i < 1000 && !err && bytes < least; i++) {
		usleep(5000);
		err = proc_anon__read(fd, source, &bytes);
	}
	assert_int_equal(err, 0);
	return bytes;
}

static int await_error(int fd, enum proc_anon_source source)
{
	uint64_t bytes;
	int err = 0;

	for (int i = 0; i < 1000 && !err; i++) {
		err = proc_anon__read(fd, source, &bytes);
		usleep(5000);
	}
	return err;
}

static void check_headless(enum proc_anon_source source)
{
	pid_t pid = start_headless(), first, second;
	int fd = proc_anon__open(pid, 0, source);
	uint64_t before;

	assert_int_equal(await_error(fd, source), -ENODATA);
	close(fd);
	first = proc_anon__find_thread(pid, source);
	assert_true(first > 0 && first != pid);
	fd = proc_anon__open(pid, first, source);
	assert_int_equal(proc_anon__read(fd, source, &before), 0);
	assert_int_equal(write(pipes[1][1], "a", 1), 1);
	assert_true(await_anon(fd, source, before + 8 * MIB - LAG) <= before + 8 * MIB + LAG);
	/* Threads are listed by age. */
	assert_int_equal(write(pipes[0][1], "x", 1), 1);
	assert_int_equal(await_error(fd, source), -ESRCH);
	close(fd);
	second = proc_anon__find_thread(pid, source);
	assert_true(second > 0 && second != first && second != pid);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(proc_anon__find_thread(pid, source), 0);
	for (int i = 0; i < 4; i++)
		close(pipes[i / 2][i % 2]);
}

static void test_headless_statm(void **state)
{
	(void)state;
	check_headless(PROC_ANON_STATM);
}

static void test_headless_status(void **state)
{
	(void)state;
	check_headless(PROC_ANON_STATUS);
}

static void test_kernel_thread(void **state)
{
	int fd = proc_anon__open(2, 0, PROC_ANON_STATM);
	uint64_t bytes;

	(void)state;
	if (fd < 0)
		skip(); /* a PID namespace without one */
	assert_int_equal(proc_anon__read(fd, PROC_ANON_STATM, &bytes), -ENODATA);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),		cmocka_unit_test(test_statm),
		cmocka_unit_test(test_status),		cmocka_unit_test(test_headless_statm),
		cmocka_unit_test(test_headless_status), cmocka_unit_test(test_kernel_thread),
	};

	return cmocka_run_group_tests_name("anonymous memory", tests, NULL, NULL);
}
