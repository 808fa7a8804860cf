/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ledgers of a group's processes, added up. */
#include "engine/group_ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1ULL << 20)
#define PROCS 4
#define SMALL (12 * MIB) /* what a process has besides, with sanitizers, too */

static const struct {
	const char *path;
	uint64_t mib;
} wanted[PROCS] = {{"/shop", 40}, {"/shop/worker", 20}, {"/shopping", 80}, {"/", 10}};

static struct watch_group groups[PROCS];
static struct watch watch;

/* A process that holds so much memory, and does nothing. */
static pid_t start_holder(uint64_t bytes)
{
	int ready[2];
	pid_t parent = getpid(), pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED || prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
			_exit(1);
		memset(memory, 1, bytes);
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void end_holder(size_t i)
{
	kill(watch.items.items[i].pid, SIGKILL);
	assert_int_equal(waitpid(watch.items.items[i].pid, NULL, 0), watch.items.items[i].pid);
}

static int start_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < PROCS; i++) {
		struct watched item = {.group = &groups[i], .anon_bytes = wanted[i].mib * MIB};

		groups[i].path = (char *)wanted[i].path;
		item.pid = start_holder(item.anon_bytes);
		if (array_push(&watch.items, item))
			return -1;
	}
	return 0;
}

static int end_all(void **state)
{
	(void)state;
	for (size_t i = 1; i < PROCS; i++) /* the first one has ended */
		end_holder(i);
	array_free(&watch.items);
	return 0;
}

static struct ledger read_group(const char *path, uint64_t deadline_ns)
{
	struct ledger ledger;

	assert_int_equal(group_ledger__read(&watch, path, deadline_ns, &ledger), 0);
	return ledger;
}

static void test_sums(void **state)
{
	struct ledger ledger = read_group("/shop", UINT64_MAX);

	(void)state;
	assert_true(ledger.is_known);
	assert_in_range(ledger.part_bytes[LEDGER_MAPPED], 60 * MIB, 60 * MIB + SMALL);
	assert_in_range(ledger.anon_bytes, 60 * MIB, 60 * MIB + 2 * SMALL);
	ledger = read_group("/shop/worker", UINT64_MAX);
	assert_in_range(ledger.part_bytes[LEDGER_MAPPED], 20 * MIB, 20 * MIB + SMALL);
	assert_false(read_group("/none", UINT64_MAX).is_known);
}

static void test_no_time(void **state)
{
	struct ledger ledger = read_group("/shop", 0);

	(void)state;
	assert_true(ledger.is_known);
	assert_int_equal(ledger.part_bytes[LEDGER_UNEXPLAINED], 60 * MIB);
	assert_int_equal(ledger.anon_bytes, 60 * MIB);
}

static void test_one_has_ended(void **state)
{
	struct ledger ledger;

	(void)state;
	end_holder(0);
	ledger = read_group("/shop", UINT64_MAX);
	assert_in_range(ledger.anon_bytes, 20 * MIB, 20 * MIB + 2 * SMALL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_no_time),
		cmocka_unit_test(test_one_has_ended),
	};

	return cmocka_run_group_tests_name("engine group ledger", tests, start_all, end_all);
}
