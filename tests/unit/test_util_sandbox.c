/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "unit/dead_mount.h"
#include "util/sandbox.h"

#define NS 1000000000ULL

static const struct sandbox_limits limits = {
	.cpu_ns = 5000000000, .memory_bytes = 64U << 20, .output_bytes = 1U << 20};

/* Returns what sandbox__wait said; the output is left open in *box. */
static int run(int (*job)(void *, int), void *arg, struct sandbox *box)
{
	assert_int_equal(sandbox__start(job, arg, NULL, 0, &limits, box), 0);
	return sandbox__wait(box);
}

static int job_hello(void *arg, int output_fd)
{
	return write(output_fd, arg, 5) == 5 ? 0 : 1;
}

static void test_success(void **state)
{
	char word[] = "hello", got[8] = "";
	struct sandbox box;

	(void)state;
	assert_int_equal(run(job_hello, word, &box), 0);
	assert_int_equal(pread(box.output_fd, got, sizeof(got), 0), 5);
	assert_string_equal(got, "hello");
	assert_int_equal(sandbox__wait(&box), -ECHILD);
	sandbox__close(&box);
	assert_int_equal(box.output_fd, -1);
}

static int job_fail(void *arg, int output_fd)
{
	return write(output_fd, "partial", 7) == 7 ? *(int *)arg : 0;
}

static void test_failure_keeps_the_output(void **state)
{
	int results[] = {1, -EINVAL, 256, -256};
	struct sandbox box;
	char got[8] = "";

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(run(job_fail, &results[i], &box), -EPIPE);
		assert_int_equal(pread(box.output_fd, got, sizeof(got), 0), 7);
		sandbox__close(&box);
	}
}

static int job_crash(void *arg, int output_fd)
{
	(void)output_fd;
	raise(*(int *)arg);
	return 0;
}

static void test_crash(void **state)
{
	int signals[] = {SIGSEGV, SIGABRT, SIGKILL, SIGPIPE, SIGTERM};
	struct sandbox box;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(run(job_crash, &signals[i], &box), -EPIPE);
		sandbox__close(&box);
	}
	signal(SIGPIPE, SIG_DFL);
}

static int job_loop(void *arg, int output_fd)
{
	volatile bool again = true;

	(void)arg;
	(void)output_fd;
	while (again)
		;
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void test_endless_loop(void **state)
{
	struct sandbox_limits brief = limits;
	struct sandbox box;

	(void)state;
	for (uint64_t ns = 0; ns <= 100000000; ns = ns * 10 + 10000000) {
		brief.cpu_ns = ns;
		assert_int_equal(sandbox__start(job_loop, NULL, NULL, 0, &brief, &box), 0);
		assert_int_equal(sandbox__wait(&box), -ETIME);
		sandbox__close(&box);
	}
}

static int job_open(void *path, int output_fd)
{
	(void)output_fd;
	open(path, O_RDONLY | O_CLOEXEC);
	return 0;
}

/* Returns the child, which waits. */
static pid_t start_deaf(const struct dead_mount *mount, const char *name, struct sandbox *box)
{
	struct sandbox_limits brief = limits;
	char path[64];

	brief.cpu_ns = 0;
	snprintf(path, sizeof(path), "%s/%s", mount->dir, name);
	assert_int_equal(sandbox__start(job_open, path, NULL, 0, &brief, box), 0);
	dead_mount__take(mount);
	return box->pid;
}

/* Who waits for a file system may not even hear that it is killed. */
static void test_deaf(void **state)
{
	struct sandbox waited, closed, other;
	struct dead_mount mount;
	pid_t pids[2];
	uint64_t begin;

	(void)state;
	if (!dead_mount__make(&mount))
		skip();
	dead_mount__open(&mount);
	pids[0] = start_deaf(&mount, "one", &waited);
	begin = now_ns();
	assert_int_equal(sandbox__wait(&waited), -ETIME);
	assert_in_range(now_ns() - begin, 15 * NS, 60 * NS);
	sandbox__close(&waited);

	pids[1] = start_deaf(&mount, "other", &closed);
	begin = now_ns();
	sandbox__close(&closed);
	assert_in_range(now_ns() - begin, NS, 8 * NS);
	for (int i = 0; i < 2; i++)
		assert_int_equal(kill(pids[i], 0), 0);

	/* They are not forgotten. */
	dead_mount__end(&mount);
	begin = now_ns();
	while (!kill(pids[0], 0) || !kill(pids[1], 0)) {
		assert_true(now_ns() - begin < 20 * NS);
		assert_int_equal(run(job_hello, "hello", &other), 0);
		sandbox__close(&other);
	}
}

static void test_close_kills(void **state)
{
	uint64_t begin = now_ns();
	struct sandbox box;
	pid_t pid;

	(void)state;
	assert_int_equal(sandbox__start(job_loop, NULL, NULL, 0, &limits, &box), 0);
	pid = box.pid;
	sandbox__close(&box);
	assert_int_equal(kill(pid, 0), -1);
	assert_true(now_ns() - begin < limits.cpu_ns);
}

/* By mmap: a sanitizer's malloc ends the process with a long report. */
static int job_hog(void *arg, int output_fd)
{
	size_t got = 0;

	(void)arg;
	while (got < (1U << 30) && mmap(NULL, 1U << 20, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		got += 1U << 20;
	return write(output_fd, &got, sizeof(got)) == sizeof(got) && got < (1U << 30) ? 1 : 0;
}

static void test_memory_hog(void **state)
{
	struct sandbox box;
	size_t got;

	(void)state;
	assert_int_equal(run(job_hog, NULL, &box), -EPIPE);
	assert_int_equal(pread(box.output_fd, &got, sizeof(got), 0), sizeof(got));
	assert_in_range(got, 60U << 20, 64U << 20);
	sandbox__close(&box);
}

static int job_flood(void *arg, int output_fd)
{
	static char page[4096];

	(void)arg;
	for (size_t i = 0; i < (4U << 20) / sizeof(page); i++)
		if (write(output_fd, page, sizeof(page)) < 0)
			return 1;
	return 0;
}

static int job_stretch(void *arg, int output_fd)
{
	(void)arg;
	return ftruncate(output_fd, 4U << 20) ? 1 : 0;
}

static void test_output_too_big(void **state)
{
	struct sandbox box;
	struct stat st;

	(void)state;
	assert_int_equal(run(job_flood, NULL, &box), -EFBIG);
	assert_int_equal(fstat(box.output_fd, &st), 0);
	assert_int_equal(st.st_size, limits.output_bytes);
	sandbox__close(&box);
	assert_int_equal(run(job_stretch, NULL, &box), -EFBIG);
	sandbox__close(&box);
}

struct fd_check {
	int kept[2];
	int gone;
};

static int job_list_fds(void *arg, int output_fd)
{
	const struct fd_check *check = arg;

	for (int fd = 0; fd < 1024; fd++) {
		bool open = fcntl(fd, F_GETFD) >= 0;

		if (open != (fd == check->kept[0] || fd == check->kept[1] || fd == output_fd))
			return 1;
	}
	return 0;
}

static void test_descriptors_closed(void **state)
{
	struct fd_check check;
	struct sandbox box;
	int keep[4];

	(void)state;
	check.kept[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	check.gone = open("/dev/null", O_RDONLY);
	check.kept[1] = fcntl(check.gone, F_DUPFD, 700);
	assert_true(check.kept[1] >= 700);
	keep[0] = check.kept[1];
	keep[1] = check.kept[0];
	keep[2] = -1;
	keep[3] = check.kept[1];
	assert_int_equal(sandbox__start(job_list_fds, &check, keep, 4, &limits, &box), 0);
	assert_int_equal(sandbox__wait(&box), 0);
	sandbox__close(&box);
	assert_true(fcntl(check.gone, F_GETFD) >= 0);
	close(check.kept[0]);
	close(check.kept[1]);
	close(check.gone);
}

static int job_identity(void *arg, int output_fd)
{
	const bool *root = arg;
	uid_t uids[3];
	gid_t gids[3];
	struct rlimit core;
	int deathsig;

	(void)output_fd;
	if (getresuid(&uids[0], &uids[1], &uids[2]) || getresgid(&gids[0], &gids[1], &gids[2]))
		return 1;
	for (int i = 0; *root && i < 3; i++)
		if (uids[i] != 65534 || gids[i] != 65534)
			return 1;
	if (*root && getgroups(0, NULL))
		return 1;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE) ||
	    prctl(PR_GET_PDEATHSIG, &deathsig) || deathsig != SIGKILL ||
	    getrlimit(RLIMIT_CORE, &core) || core.rlim_max)
		return 1;
	return fork() < 0 ? 0 : 1;
}

static void test_identity_dropped(void **state)
{
	bool root = !geteuid();
	struct sandbox box;

	(void)state;
	assert_int_equal(run(job_identity, &root, &box), 0);
	sandbox__close(&box);
}

static int job_signals(void *arg, int output_fd)
{
	struct sigaction action;
	sigset_t mask;

	(void)arg;
	(void)output_fd;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int sig = 1; sig < SIGRTMAX; sig++)
		if (sigismember(&mask, sig) == 1 ||
		    (!sigaction(sig, NULL, &action) && action.sa_handler != SIG_DFL))
			return 1;
	return 0;
}

static void on_usr1(int sig)
{
	(void)sig;
}

static void test_signals_reset(void **state)
{
	sigset_t mask, old;
	struct sandbox box;

	(void)state;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	signal(SIGUSR1, on_usr1);
	sigprocmask(SIG_BLOCK, &mask, &old);
	assert_int_equal(run(job_signals, NULL, &box), 0);
	sandbox__close(&box);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	assert_int_equal(sigismember(&mask, SIGUSR2), 1);
	assert_int_equal(sigismember(&mask, SIGUSR1), 0);
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGUSR1, SIG_DFL);
}

static int job_pause(void *arg, int output_fd)
{
	(void)arg;
	(void)output_fd;
	pause();
	return 0;
}

/* A child whose parent is killed dies with it. */
static void test_dies_with_parent(void **state)
{
	struct sandbox box;
	int fds[2];
	pid_t parent, job = 0;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	parent = fork();
	if (!parent) {
		int err = sandbox__start(job_pause, NULL, &fds[1], 1, &limits, &box);

		usleep(50000); /* so that it has come to set its death signal */
		if (err || write(fds[1], &box.pid, sizeof(box.pid)) != sizeof(box.pid))
			_exit(1);
		pause();
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &job, sizeof(job)), sizeof(job));
	assert_int_equal(kill(parent, SIGKILL), 0);
	waitpid(parent, NULL, 0);
	/* The job holds the other end of the pipe: end of file is its end. */
	assert_int_equal(read(fds[0], &job, sizeof(job)), 0);
	close(fds[0]);
}

static void *allocate(void *arg)
{
	while (!__atomic_load_n((bool *)arg, __ATOMIC_RELAXED))
		free(malloc(100000));
	return NULL;
}

static int job_allocate(void *arg, int output_fd)
{
	void *block = malloc(1000);

	(void)arg;
	(void)output_fd;
	free(block);
	return block ? 0 : 1;
}

/* The threads of the parent hold malloc's locks at any time. */
static void test_from_threads(void **state)
{
	pthread_t threads[3];
	bool stop = false;
	struct sandbox box;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, allocate, &stop), 0);
	for (size_t i = 0; i < 50; i++) {
		assert_int_equal(run(job_allocate, NULL, &box), 0);
		sandbox__close(&box);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_success),
		cmocka_unit_test(test_failure_keeps_the_output),
		cmocka_unit_test(test_crash),
		cmocka_unit_test(test_endless_loop),
		cmocka_unit_test(test_deaf),
		cmocka_unit_test(test_close_kills),
		cmocka_unit_test(test_memory_hog),
		cmocka_unit_test(test_output_too_big),
		cmocka_unit_test(test_descriptors_closed),
		cmocka_unit_test(test_identity_dropped),
		cmocka_unit_test(test_signals_reset),
		cmocka_unit_test(test_dies_with_parent),
		cmocka_unit_test(test_from_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
