/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real processes under watch: who is who, and what is kept open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/sweep.h"
#include "engine/watch.h"

#define SEC 1000000000ULL
#define MIB (1ULL << 20)
#define LAG (2 * MIB)
#define CHILDREN 12
#define FILES 6

static void live(int ready_fd, uint64_t bytes)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1,
	       bytes);
	if (write(ready_fd, "", 1) == 1)
		for (;;)
			pause();
	_exit(1);
}

/* Makes a child of a given number, 0 = any. As fork(2). */
static pid_t fork_as(pid_t wanted)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uint64_t)&wanted,
		.set_tid_size = 1,
	};

	return wanted ? (pid_t)syscall(SYS_clone3, &args, sizeof(args)) : fork();
}

/* Starts a child that holds so much. Returns its PID, 0 = it cannot have the wanted one. */
static pid_t start_child(uint64_t bytes, pid_t wanted)
{
	int ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork_as(wanted);
	if (!pid) {
		/* Who has another's number is called otherwise. */
		if (wanted)
			prctl(PR_SET_NAME, "another");
		live(ready[1], bytes);
	}
	assert_true(pid > 0 || (wanted && (geteuid() || errno == ENOSYS || errno == EEXIST)));
	close(ready[1]);
	if (pid > 0)
		assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid > 0 ? pid : 0;
}

/* Of a number that is not one process's, kill(2) would end every process there is. */
static void end_child(pid_t pid)
{
	assert_true(pid > 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static struct watched *find(struct watch *watch, pid_t pid)
{
	for (size_t i = 0; i < watch->items.cnt; i++)
		if (watch->items.items[i].pid == pid)
			return &watch->items.items[i];
	return NULL;
}

static void begin(struct watch *watch, size_t max_open, size_t max_procs)
{
	const struct watch_opts opts = {.max_open = max_open, .max_procs = max_procs};

	assert_int_equal(watch__init(watch, &opts), 0);
}

static size_t count_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t cnt = 0;

	assert_non_null(dir);
	while (readdir(dir))
		cnt++;
	closedir(dir);
	return cnt;
}

/* Children share with each other what they have of the test program. */
static void test_come_and_go(void **state)
{
	size_t files = count_files();
	pid_t first = start_child(20 * MIB, 0), second = start_child(50 * MIB, 0), third;
	struct watch watch;

	(void)state;
	begin(&watch, 10000, 100000);
	assert_int_equal(watch__pass(&watch, SEC), 0);
	assert_non_null(find(&watch, first));
	assert_non_null(find(&watch, second));
	assert_in_range(find(&watch, second)->anon_bytes - find(&watch, first)->anon_bytes,
			30 * MIB - LAG, 30 * MIB + LAG);
	assert_null(find(&watch, getpid()));
	third = start_child(MIB, 0);
	end_child(first);
	assert_int_equal(watch__pass(&watch, 2 * SEC), 0);
	assert_null(find(&watch, first));
	assert_non_null(find(&watch, second));
	assert_non_null(find(&watch, third));
	for (size_t i = 1; i < watch.items.cnt; i++)
		assert_true(watch.items.items[i - 1].pid < watch.items.items[i].pid);
	end_child(second);
	end_child(third);
	watch__destroy(&watch);
	assert_int_equal(count_files(), files);
}

/* Whoever gets the number of one that ended is somebody else, with or without a file kept open. */
static void check_reuse(size_t max_open)
{
	pid_t pid = start_child(8 * MIB, 0);
	struct watch watch;
	uint64_t start_ns;

	begin(&watch, max_open, 100000);
	for (uint64_t i = 1; i <= 20; i++)
		assert_int_equal(watch__pass(&watch, i * SEC), 0);
	assert_non_null(find(&watch, pid));
	assert_true(find(&watch, pid)->growth->series[2].cnt > 1);
	start_ns = find(&watch, pid)->start_ns;
	usleep(50000); /* start times are told in ticks */
	end_child(pid);
	if (start_child(90 * MIB, pid) != pid) {
		watch__destroy(&watch);
		skip();
	}
	for (uint64_t i = 21; i <= 40; i++)
		assert_int_equal(watch__pass(&watch, i * SEC), 0);
	assert_non_null(find(&watch, pid));
	assert_true(find(&watch, pid)->start_ns > start_ns);
	assert_true(find(&watch, pid)->found_ns > 20 * SEC);
	assert_string_equal(find(&watch, pid)->comm, "another");
	/* Nothing of the small one is among the big one's samples. */
	for (uint32_t i = 0; i < find(&watch, pid)->growth->series[2].cnt; i++)
		assert_true(find(&watch, pid)->growth->series[2].slots[i].bytes > 80 * MIB);
	end_child(pid);
	watch__destroy(&watch);
}

static void test_reuse_with_file(void **state)
{
	(void)state;
	check_reuse(10000);
}

static void test_reuse_without_file(void **state)
{
	(void)state;
	check_reuse(0);
}

/* Whether all files are kept open, and by the largest. */
static bool has_largest_open(const struct watch *watch)
{
	uint64_t least_open = UINT64_MAX, most_closed = 0;

	for (size_t i = 0; i < watch->items.cnt; i++) {
		const struct watched *item = &watch->items.items[i];

		if (item->fd >= 0 && item->anon_bytes < least_open)
			least_open = item->anon_bytes;
		if (item->fd < 0 && item->growth && item->anon_bytes > most_closed)
			most_closed = item->anon_bytes;
	}
	return watch->open_cnt == FILES && least_open + LAG >= most_closed;
}

/* With few files the largest have them; the others are still read, now and then. Other processes
 * of the host come, go and grow meanwhile: it takes a while until it is so at the end of a block of
 * passes. */
static void test_few_files(void **state)
{
	pid_t pids[CHILDREN];
	struct watch watch;
	uint64_t pass = 0;
	int blocks = 0;

	(void)state;
	for (int i = 0; i < CHILDREN; i++)
		pids[i] = start_child((1 + (uint64_t)i) * MIB, 0);
	begin(&watch, FILES, 100000);
	do {
		for (int i = 0; i < 49; i++) {
			assert_int_equal(watch__pass(&watch, ++pass * SEC), 0);
			assert_true(watch.open_cnt <= FILES);
			assert_true(watch.groups.open_cnt <= FILES / 4);
		}
	} while (!has_largest_open(&watch) && ++blocks < 20);
	assert_true(blocks < 20);
	for (int i = 0; i < CHILDREN; i++) {
		assert_true(find(&watch, pids[i])->growth->series[2].cnt >= 5);
		end_child(pids[i]);
	}
	watch__destroy(&watch);
}

static void test_few_processes(void **state)
{
	pid_t pids[5];
	struct watch watch;

	(void)state;
	for (int i = 0; i < 5; i++)
		pids[i] = start_child(MIB, 0);
	begin(&watch, 100, 3);
	assert_int_equal(watch__pass(&watch, SEC), 0);
	assert_int_equal(watch.items.cnt, 3);
	assert_true(watch.left_out >= 2);
	watch__destroy(&watch);
	for (int i = 0; i < 5; i++)
		end_child(pids[i]);
}

static int headless_fd;

static void *leave_when_told(void *arg)
{
	char byte;

	return read(headless_fd, &byte, 1) == 1 ? arg : NULL;
}

static void *hold(void *bytes)
{
	memset(mmap(NULL, (uint64_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0),
	       1, (uint64_t)bytes);
	for (;;)
		pause();
	return NULL;
}

static void await_passes(struct watch *watch, uint64_t *pass, uint64_t until)
{
	while (*pass < until)
		assert_int_equal(watch__pass(watch, ++*pass * SEC), 0);
}

/* Whether a process is still watched, as the one that it was. */
static void check_watched(struct watch *watch, pid_t pid, uint64_t pass, uint64_t before,
			  const char *group)
{
	const struct watched *item = find(watch, pid);

	assert_non_null(item);
	assert_in_range(item->anon_bytes, before + 40 * MIB - LAG, before + 60 * MIB);
	assert_true(item->found_ns == SEC);
	assert_true(item->growth->last_ns >= (pass - 16) * SEC);
	assert_string_equal(item->group->path, group);
}

/* A process goes on without its main thread, and so does what is known of it. */
static void check_headless(size_t max_open)
{
	struct watch watch;
	uint64_t pass = 0, before;
	char *group;
	int go[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(go), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		pthread_t thread;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		headless_fd = go[0];
		if (read(go[0], &byte, 1) != 1 ||
		    pthread_create(&thread, NULL, leave_when_told, NULL) ||
		    pthread_create(&thread, NULL, hold, (void *)(40 * MIB)))
			_exit(1);
		pthread_exit(NULL);
	}
	begin(&watch, max_open, 100000);
	await_passes(&watch, &pass, 9);
	assert_non_null(find(&watch, pid));
	before = find(&watch, pid)->anon_bytes;
	group = strdup(find(&watch, pid)->group->path);
	assert_int_equal(write(go[1], "", 1), 1);
	usleep(200000);
	/* Names and groups are read again, too. */
	await_passes(&watch, &pass, 200);
	check_watched(&watch, pid, pass, before, group);
	assert_int_equal(write(go[1], "", 1), 1);
	usleep(200000);
	await_passes(&watch, &pass, 300);
	check_watched(&watch, pid, pass, before, group);
	end_child(pid);
	assert_int_equal(watch__pass(&watch, ++pass * SEC), 0);
	assert_null(find(&watch, pid));
	watch__destroy(&watch);
	free(group);
	close(go[0]);
	close(go[1]);
}

static void test_headless_with_file(void **state)
{
	(void)state;
	check_headless(10000);
}

static void test_headless_without_file(void **state)
{
	(void)state;
	check_headless(0);
}

/* A control group that has gone is no error: it may come back. */
static void test_no_group(void **state)
{
	const char *const paths[] = {"/there/is/none"};
	const struct watch_opts opts = {
		.cgroups = paths, .cgroup_cnt = 1, .max_open = 10, .max_procs = 10};
	struct watch watch;

	(void)state;
	assert_int_equal(watch__init(&watch, &opts), 0);
	assert_int_equal(watch__pass(&watch, SEC), 0);
	assert_int_equal(watch.items.cnt, 0);
	watch__destroy(&watch);
}

/* Memory that grows by the watch's clock is a row, with the host or a group as its limit. */
static void test_rows(void **state)
{
	pid_t flat = start_child(8 * MIB, 0), leaking;
	struct sweep *sweep = NULL;
	struct watch watch;
	size_t rows = 0;
	int go[2], done[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(go) | pipe(done), 0);
	leaking = fork();
	assert_true(leaking >= 0);
	if (!leaking) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		close(done[0]);
		while (read(go[0], &byte, 1) == 1) {
			memset(mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				    -1, 0),
			       1, MIB);
			if (write(done[1], "", 1) != 1)
				break;
		}
		_exit(0);
	}
	close(go[0]);
	close(done[1]);
	begin(&watch, 10000, 100000);
	for (uint64_t i = 1; i <= 40; i++) {
		assert_int_equal(write(go[1], "", 1), 1);
		assert_int_equal(read(done[0], &byte, 1), 1);
		assert_int_equal(watch__pass(&watch, i * 60 * SEC), 0);
	}
	assert_int_equal(sweep__of_watch(&watch, &sweep), 0);
	for (size_t i = 0; i < sweep->rows.cnt; i++) {
		const struct sweep_row *row = &sweep->rows.items[i];

		assert_int_not_equal(row->pid, flat);
		if (row->pid != leaking)
			continue;
		rows++;
		/* Growth without noise has bounds that are next to each other. */
		assert_true(row->growth.lower <= 60 * MIB + 1024 &&
			    row->growth.upper >= 60 * MIB - 1024);
		assert_true(row->limit_bytes > row->room_bytes);
		assert_true(row->seconds_to_limit < UINT64_MAX);
	}
	assert_int_equal(rows, 1);
	assert_true(sweep->processes >= 2 && sweep->states[GROWTH_FLAT] >= 1);
	sweep__free(sweep);
	watch__destroy(&watch);
	close(go[1]);
	close(done[0]);
	end_child(flat);
	end_child(leaking);
}

/* A host may have more processes than a program's usual files. */
static int raise_files(void **state)
{
	(void)state;
	watch__raise_files();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_come_and_go),
		cmocka_unit_test(test_reuse_with_file),
		cmocka_unit_test(test_reuse_without_file),
		cmocka_unit_test(test_few_files),
		cmocka_unit_test(test_few_processes),
		cmocka_unit_test(test_headless_with_file),
		cmocka_unit_test(test_headless_without_file),
		cmocka_unit_test(test_no_group),
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests_name("watch", tests, raise_files, NULL);
}
