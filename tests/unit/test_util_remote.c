/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading another process: what can be read, what cannot, and that it costs the process nothing. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "util/remote.h"

#define MIB (1UL << 20)
#define PAGE 4096

static char *map_pages(size_t len)
{
	char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	madvise(memory, len, MADV_NOHUGEPAGE);
	memset(memory, 7, len);
	return memory;
}

static pid_t start_child(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A line of its smaps_rollup, in bytes. */
static uint64_t rollup(pid_t pid, const char *name)
{
	unsigned long long kib = 0;
	char path[64], line[256];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			kib = strtoull(line + strlen(name), NULL, 10);
	(void)fclose(file);
	return kib * 1024;
}

/* Workers share with their parent what neither has written to; they still do afterwards. */
static void test_shared_stays_shared(void **state)
{
	const size_t len = 32 * MIB;
	char *memory = map_pages(len), *copy = map_pages(len);
	pid_t pid = start_child();
	uint64_t before, after;

	(void)state;
	memset(copy, 0, len);
	before = rollup(pid, "Pss:");
	assert_int_equal(remote_read(pid, (uintptr_t)memory, copy, len), 0);
	after = rollup(pid, "Pss:");
	assert_memory_equal(memory, copy, len);
	if (after > before + 2 * MIB)
		fail_msg("its share was %llu KiB, and is %llu", (unsigned long long)before / 1024,
			 (unsigned long long)after / 1024);
	end_child(pid);
	munmap(memory, len);
	munmap(copy, len);
}

static void test_borders(void **state)
{
	char *memory = map_pages(3 * PAGE), buf[2 * PAGE];
	struct remote_part parts[3] = {
		{.addr = (uintptr_t)memory, .buf = buf, .len = 8},
		{.addr = (uintptr_t)memory + 2 * PAGE - 4, .buf = buf + 8, .len = 8},
		{.addr = (uintptr_t)memory + PAGE, .buf = buf + 16, .len = 8},
	};
	pid_t pid;

	(void)state;
	munmap(memory + 2 * PAGE, PAGE);
	pid = start_child();
	assert_int_equal(remote_read(pid, (uintptr_t)memory, buf, sizeof(buf)), 0);
	assert_int_equal(remote_read(pid, (uintptr_t)memory + 1, buf, sizeof(buf)), -EFAULT);
	assert_int_equal(remote_read(pid, (uintptr_t)memory + 2 * PAGE, buf, 1), -EFAULT);
	assert_int_equal(remote_read(pid, 0, buf, 1), -EFAULT);
	assert_int_equal(remote_read(pid, UINT64_MAX, buf, 1), -EFAULT);
	assert_int_equal(remote_read(pid, UINT64_MAX - 8, buf, 16), -EFAULT);
	assert_int_equal(remote_read(pid, INT64_MAX, buf, 16), -EFAULT);
	assert_int_equal(remote_read(pid, (uintptr_t)memory, buf, 0), 0);
	assert_int_equal(remote_read_parts(pid, parts, 3), 0);
	assert_int_equal(parts[0].err, 0);
	assert_int_equal(parts[1].err, -EFAULT);
	assert_int_equal(parts[2].err, 0);
	end_child(pid);
	munmap(memory, 2 * PAGE);
}

static void test_gone(void **state)
{
	char *memory = map_pages(PAGE), byte;
	pid_t pid = start_child();

	(void)state;
	assert_int_equal(remote_read(pid, (uintptr_t)memory, &byte, 1), 0);
	end_child(pid);
	assert_int_equal(remote_read(pid, (uintptr_t)memory, &byte, 1), -ESRCH);
	assert_int_equal(remote_read(pid, (uintptr_t)memory, &byte, 1), -ESRCH);
	munmap(memory, PAGE);
}

/* After exec there is other memory under the same number. */
static void test_exec(void **state)
{
	char *memory = map_pages(PAGE), byte = 0, go[2];
	int pipes[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (read(pipes[0], go, 1) == 1)
			execl("/bin/sleep", "sleep", "1000", (char *)NULL);
		_exit(1);
	}
	assert_int_equal(remote_read(pid, (uintptr_t)memory, &byte, 1), 0);
	assert_int_equal(byte, 7);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	while (!remote_read(pid, (uintptr_t)memory, &byte, 1))
		usleep(1000);
	assert_int_equal(remote_read(pid, (uintptr_t)memory, &byte, 1), -EFAULT);
	end_child(pid);
	close(pipes[0]);
	close(pipes[1]);
	munmap(memory, PAGE);
}

/* More processes than files are kept open. */
static void test_many(void **state)
{
	char *memory = map_pages(PAGE), byte;
	pid_t pids[24];

	(void)state;
	for (int i = 0; i < 24; i++)
		pids[i] = start_child();
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 24; i++) {
			byte = 0;
			assert_int_equal(remote_read(pids[i], (uintptr_t)memory, &byte, 1), 0);
			assert_int_equal(byte, 7);
		}
	for (int i = 0; i < 24; i++)
		end_child(pids[i]);
	munmap(memory, PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared_stays_shared),
		cmocka_unit_test(test_borders),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
