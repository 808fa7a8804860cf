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

#define FAMILY 8
#define LOADED_BLOCKS (20 * MIB)
#define LOADED_MAPPED (40 * MIB)
#define OWN_MAPPED (5 * MIB)

static const struct {
	const char *path;
	uint64_t mib;
} wanted[PROCS] = {{"/shop", 40}, {"/shop/worker", 20}, {"/shopping", 80}, {"/", 10}};

static struct watch_group groups[PROCS];
static struct watch watch;

static void map_touched(uint64_t bytes)
{
	char *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		_exit(1);
	memset(memory, 1, bytes);
}

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
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
			_exit(1);
		map_touched(bytes);
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

	assert_int_equal(group_ledger__read(&watch, path, UINT64_MAX, deadline_ns, &ledger), 0);
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
	/* They may share it: what is not read is no more than the group has. */
	assert_int_equal(group_ledger__read(&watch, "/shop", 45 * MIB, 0, &ledger), 0);
	assert_int_equal(ledger.part_bytes[LEDGER_UNEXPLAINED], 45 * MIB);
	assert_int_equal(ledger.anon_bytes, 45 * MIB);
	assert_int_equal(group_ledger__read(&watch, "/shop", 45 * MIB, UINT64_MAX, &ledger), 0);
	assert_true(ledger.part_bytes[LEDGER_MAPPED] >= 60 * MIB);
}

static void test_one_has_ended(void **state)
{
	struct ledger ledger;

	(void)state;
	end_holder(0);
	ledger = read_group("/shop", UINT64_MAX);
	assert_in_range(ledger.anon_bytes, 20 * MIB, 20 * MIB + 2 * SMALL);
}

/* ---- workers of one process ---- */

static void hold(int ready)
{
	if (write(ready, &(pid_t){getpid()}, sizeof(pid_t)) != sizeof(pid_t))
		_exit(1);
	for (;;)
		pause();
}

/* Loads blocks and a mapping, then begins workers that have a mapping of their own each. */
static void run_family(int ready, pid_t parent)
{
	pid_t own = getpid();

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(1);
	for (uint64_t bytes = 0; bytes < LOADED_BLOCKS; bytes += 1024) {
		char *block = malloc(1024 - 16);

		if (!block)
			_exit(1);
		memset(block, 1, 1024 - 16);
	}
	map_touched(LOADED_MAPPED);
	for (int i = 1; i < FAMILY; i++) {
		if (fork())
			continue;
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != own)
			_exit(1);
		map_touched(OWN_MAPPED);
		hold(ready);
	}
	hold(ready);
}

static void start_family(struct watch *family, struct watch_group *group, pid_t *ret_first)
{
	int ready[2];
	pid_t parent = getpid();

	assert_int_equal(pipe(ready), 0);
	*ret_first = fork();
	assert_true(*ret_first >= 0);
	if (!*ret_first)
		run_family(ready[1], parent);
	for (int i = 0; i < FAMILY; i++) {
		struct watched item = {.group = group};

		assert_int_equal(read(ready[0], &item.pid, sizeof(item.pid)), sizeof(item.pid));
		assert_int_equal(array_push(&family->items, item), 0);
	}
	close(ready[0]);
	close(ready[1]);
}

/* What all of them have since the fork is there once. */
static void test_shared(void **state)
{
	struct watch_group group = {.path = (char *)"/family"};
	struct watch family = {0};
	struct ledger ledger;
	uint64_t sum = 0;
	bool is_heap;
	pid_t first;

	(void)state;
	start_family(&family, &group, &first);
	assert_int_equal(group_ledger__read(&family, "/family", UINT64_MAX, UINT64_MAX, &ledger),
			 0);
	kill(first, SIGKILL);
	assert_int_equal(waitpid(first, NULL, 0), first);
	array_free(&family.items);
	for (enum ledger_part i = 1; i < LEDGER_PART_CNT; i++) {
		sum += ledger.part_bytes[i];
		print_message("%s: %llu KiB\n", ledger_part__name(i),
			      (unsigned long long)ledger.part_bytes[i] / 1024);
	}
	assert_int_equal(sum, ledger.anon_bytes);
	is_heap = ledger.part_bytes[LEDGER_HEAP_USED]; /* sanitizers map blocks themselves */
	assert_in_range(ledger.part_bytes[LEDGER_MAPPED],
			LOADED_MAPPED + (FAMILY - 1) * OWN_MAPPED - MIB,
			LOADED_MAPPED + (FAMILY - 1) * OWN_MAPPED + SMALL +
				(is_heap ? 0 : 2 * LOADED_BLOCKS));
	if (is_heap)
		assert_in_range(ledger.part_bytes[LEDGER_HEAP_USED], LOADED_BLOCKS - MIB,
				LOADED_BLOCKS + MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_no_time),
		cmocka_unit_test(test_one_has_ended),
		cmocka_unit_test(test_shared),
	};

	return cmocka_run_group_tests_name("engine group ledger", tests, start_all, end_all);
}
