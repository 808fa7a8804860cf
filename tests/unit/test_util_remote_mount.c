/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/remote_mount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "unit/dead_mount.h"
#include "util/clock.h"

#define TRY_MS 1000 /* a try takes so long */
#define MOST_WAITING 4

static void open_file(const void *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
}

/* Returns what is said of a file, and how many milliseconds that took. */
static int try_file(pid_t pid, uint64_t dev, const char *path, uint64_t *ret_ms)
{
	uint64_t begun_ns = clock_ns(CLOCK_MONOTONIC);
	int err = remote_mount__try(pid, dev, open_file, path);

	*ret_ms = (clock_ns(CLOCK_MONOTONIC) - begun_ns) / NS_PER_MS;
	return err;
}

/* Once the server has gone for good, all who wait go on. */
static void assert_answers(const struct dead_mount *mount)
{
	int err = -ETIMEDOUT;
	uint64_t ms;

	for (int i = 0; err && i < 100; i++) {
		err = try_file(getpid(), mount->dev, mount->file, &ms);
		if (err)
			usleep(50000);
	}
	assert_int_equal(err, 0);
}

/* Returns a number out of a file of /proc. */
static int read_number(const char *path)
{
	FILE *file = fopen(path, "r");
	int number;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &number), 1);
	fclose(file);
	return number;
}

/* Whoever waits may wait for long, and goes first when memory gets short. */
static void assert_offered_to_oom_killer(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", read_number(path));
	assert_int_equal(read_number(path), 1000);
}

static void test_no_answer(void **state)
{
	struct dead_mount mount;
	uint64_t ms;

	(void)state;
	if (!dead_mount__make(&mount))
		skip();
	assert_int_equal(try_file(getpid(), mount.dev, mount.file, &ms), -ETIMEDOUT);
	assert_in_range(ms, TRY_MS - 1, 10 * TRY_MS);
	assert_offered_to_oom_killer();
	/* Who waits already tells the next one. */
	for (int i = 0; i < 20; i++) {
		assert_int_equal(try_file(getpid(), mount.dev, mount.file, &ms), -ETIMEDOUT);
		assert_true(ms < TRY_MS / 2);
	}
	/* It need not be known which mount it is. */
	assert_int_equal(try_file(getpid(), 0, mount.file, &ms), -ETIMEDOUT);
	dead_mount__hang_up(&mount);
	assert_answers(&mount);
	dead_mount__end(&mount);
}

/* Starts a process with mounts of its own: those that are there now. */
static pid_t start_elsewhere(void)
{
	int ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!unshare(CLONE_NEWNS) && write(ready[1], "r", 1) == 1)
			close_range(0, ~0U, 0);
		pause();
		_exit(0);
	}
	assert_true(pid > 0);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void stop_elsewhere(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* A mount that the process has no longer is not known to be harmless; nor is its file. */
static void test_not_listed(void **state)
{
	struct dead_mount mount;
	char path[128];
	uint64_t ms;
	pid_t pid;

	(void)state;
	if (!dead_mount__make(&mount))
		skip();
	pid = start_elsewhere();
	snprintf(path, sizeof(path), "/proc/%d/root%s", (int)pid, mount.file);
	assert_int_equal(umount2(mount.dir, MNT_DETACH), 0);
	assert_int_equal(try_file(getpid(), mount.dev, path, &ms), -ETIMEDOUT);
	assert_true(ms >= TRY_MS - 1);
	dead_mount__hang_up(&mount);
	stop_elsewhere(pid);
	dead_mount__end(&mount);
}

/* Where it is not known which mount it is, those of one namespace refuse nothing in another. */
static void test_namespaces(void **state)
{
	struct dead_mount mount;
	uint64_t ms;
	pid_t pid;

	(void)state;
	if (!dead_mount__make(&mount))
		skip();
	pid = start_elsewhere();
	assert_int_equal(try_file(pid, 0, mount.file, &ms), -ETIMEDOUT);
	assert_int_equal(try_file(pid, 0, "/", &ms), -ETIMEDOUT);
	assert_true(ms < TRY_MS / 2);
	assert_int_equal(try_file(getpid(), 0, "/", &ms), 0);
	dead_mount__hang_up(&mount);
	stop_elsewhere(pid);
	dead_mount__end(&mount);
}

/* Of a process that has gone nothing can be read: we have its mounts, too, or it does not matter.
 */
static void test_process_gone(void **state)
{
	struct dead_mount mount;
	uint64_t ms;

	(void)state;
	if (!dead_mount__make(&mount))
		skip();
	assert_int_equal(try_file(INT32_MAX, mount.dev, mount.file, &ms), -ETIMEDOUT);
	assert_true(ms >= TRY_MS - 1);
	dead_mount__hang_up(&mount);
	assert_answers(&mount);
	dead_mount__end(&mount);
}

/* Each holds a copy of what the tool has in memory. */
static void test_many(void **state)
{
	struct dead_mount mounts[MOST_WAITING + 1];
	uint64_t ms;

	(void)state;
	for (int i = 0; i <= MOST_WAITING; i++) {
		if (!dead_mount__make(&mounts[i]))
			skip();
		assert_int_equal(try_file(getpid(), mounts[i].dev, mounts[i].file, &ms),
				 -ETIMEDOUT);
		assert_true(i < MOST_WAITING ? ms >= TRY_MS - 1 : ms < TRY_MS / 2);
	}
	for (int i = 0; i <= MOST_WAITING; i++)
		dead_mount__hang_up(&mounts[i]);
	for (int i = 0; i <= MOST_WAITING; i++) {
		assert_answers(&mounts[i]);
		dead_mount__end(&mounts[i]);
	}
}

/* Whoever has a file open waits as well. */
static void test_open_file(void **state)
{
	struct dead_mount mount;
	int fd, err = -ETIMEDOUT;

	(void)state;
	if (!dead_mount__make(&mount))
		skip();
	assert_true(remote_mount__may_hold(getpid(), mount.dev));
	assert_false(remote_mount__may_hold(getpid(), makedev(8, 1)));
	fd = open(mount.dir, O_PATH | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(remote_mount__try_open(mount.dev, fd), -ETIMEDOUT);
	dead_mount__hang_up(&mount);
	for (int i = 0; err && i < 100; i++) {
		err = remote_mount__try_open(mount.dev, fd);
		if (err)
			usleep(50000);
	}
	assert_int_equal(err, 0);
	close(fd);
	dead_mount__end(&mount);
}

static void kill_self(const void *arg)
{
	(void)arg;
	raise(SIGKILL);
}

static void give_up(const void *arg)
{
	(void)arg;
	_exit(1);
}

static void do_nothing(const void *arg)
{
	(void)arg;
}

/* A child that did not come to the end of its job has not found out that the mount answers. */
static void test_no_job(void **state)
{
	struct dead_mount mount;

	(void)state;
	if (!dead_mount__make(&mount))
		skip();
	assert_int_equal(remote_mount__try(getpid(), mount.dev, do_nothing, NULL), 0);
	assert_int_equal(remote_mount__try(getpid(), mount.dev, kill_self, NULL), -EIO);
	assert_int_equal(remote_mount__try(getpid(), mount.dev, give_up, NULL), -EIO);
	dead_mount__end(&mount);
}

static void note_job(const void *ran)
{
	**(bool *const *)ran = true;
}

/* What is on no such mount is not tried. */
static void test_local(void **state)
{
	bool *ran =
		mmap(NULL, sizeof(*ran), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct stat st;

	(void)state;
	assert_true(ran != MAP_FAILED);
	assert_int_equal(stat("/proc", &st), 0);
	assert_int_equal(remote_mount__try(getpid(), st.st_dev, note_job, &ran), 0);
	assert_int_equal(remote_mount__try(getpid(), makedev(8, 1), note_job, &ran), 0);
	assert_int_equal(remote_mount__try(INT32_MAX, st.st_dev, note_job, &ran), 0);
	assert_false(*ran);
	munmap(ran, sizeof(*ran));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_answer),  cmocka_unit_test(test_not_listed),
		cmocka_unit_test(test_namespaces), cmocka_unit_test(test_process_gone),
		cmocka_unit_test(test_many),	   cmocka_unit_test(test_open_file),
		cmocka_unit_test(test_no_job),	   cmocka_unit_test(test_local),
	};

	return cmocka_run_group_tests_name("remote mount", tests, NULL, NULL);
}
