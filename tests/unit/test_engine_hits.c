/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel side tells of hits: which of them cost a second trap, and how long its programs
 * run. Takes root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach/attacher.h"
#include "attach/calibrate.h"
#include "collect/map_reader.h"
#include "include/stats.h"
#include "small_attacher.h"
#include "util/procfs.h"

#define CALLS 500
#define ALLOC ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0)

/* Taken for allocators: what they return is told as a block. */
__attribute__((noinline)) static void *plain(size_t size)
{
	__asm__ volatile("" : "+r"(size));
	return (void *)(size << 12);
}

__attribute__((noinline)) static void *dear(size_t size)
{
	__asm__ volatile("" : "+r"(size));
	return (void *)(size << 13);
}

struct world {
	struct attacher *attacher;
	int go[2], done[2];
	pid_t child;
};

static void run_child(const struct world *world)
{
	char letter;

	while (read(world->go[0], &letter, 1) == 1) {
		for (size_t i = 1; i <= CALLS; i++)
			letter == 'd' ? dear(i) : plain(i);
		if (write(world->done[1], &letter, 1) != 1)
			break;
	}
	_exit(0);
}

/* Returns a function's place in the file of this program. */
static uint64_t offset_of(void *(*function)(size_t), int *ret_fd)
{
	struct proc_maps maps = {0};
	const struct proc_map *map;
	uint64_t off;

	assert_int_equal(proc_maps__read(getpid(), &maps), 0);
	map = proc_maps__find(&maps, (uintptr_t)function);
	assert_non_null(map);
	off = (uintptr_t)function - map->start + map->off;
	*ret_fd = proc_map__open(getpid(), map);
	assert_true(*ret_fd >= 0);
	proc_maps__free(&maps);
	return off;
}

static int attach(struct world *world)
{
	struct attach_outcome outcome;
	struct alloc_site sites[2] = {
		{.cookie = ALLOC, .cost = PROBE_EMULATED},
		{.cookie = ALLOC, .cost = PROBE_STEPPED},
	};
	struct elf_allocs allocs = {0};
	uint32_t space;
	int fd, err;

	sites[0].probe_off = sites[0].entry_off = offset_of(plain, &fd);
	close(fd);
	sites[1].probe_off = sites[1].entry_off = offset_of(dear, &fd);
	allocs.sites.items = sites;
	allocs.sites.cnt = 2;
	err = attacher__add_proc(world->attacher, world->child, &space);
	if (!err)
		err = attacher__attach(world->attacher, fd, &allocs, world->child, &outcome);
	close(fd);
	return err;
}

static int open_world(void **state)
{
	static struct world world;
	const struct attacher_opts opts = {.in_windows = true};

	*state = &world;
	if (geteuid())
		return 0;
	if (pipe2(world.go, O_CLOEXEC) || pipe2(world.done, O_CLOEXEC))
		return -1;
	world.child = fork();
	if (!world.child) {
		close(world.go[1]);
		run_child(&world);
	}
	if (small_attacher__open(opts, &world.attacher) || attach(&world))
		return -1;
	attacher__start(world.attacher);
	return 0;
}

static int close_world(void **state)
{
	struct world *world = *state;

	if (!world->attacher)
		return 0;
	attacher__free(world->attacher);
	kill(world->child, SIGKILL);
	waitpid(world->child, NULL, 0);
	return 0;
}

struct counts {
	uint64_t calls, stepped, runs, run_ns;
};

static struct counts count(const struct world *world)
{
	uint64_t stats[STAT_MAX];
	struct counts counts;

	assert_int_equal(map_read_counters(attacher__maps(world->attacher)->stats, stats, STAT_MAX),
			 0);
	counts = (struct counts){.calls = stats[STAT_HITS_ALLOC],
				 .stepped = stats[STAT_HITS_STEPPED]};
	attacher__program_runs(world->attacher, &counts.runs, &counts.run_ns);
	return counts;
}

/* Returns what the calls have added. */
static struct counts run(void **state, char letter)
{
	struct world *world = *state;
	struct counts from, to;

	if (!world->attacher) {
		print_message("loading BPF programs takes root\n");
		skip();
	}
	from = count(world);
	assert_int_equal(write(world->go[1], &letter, 1), 1);
	assert_int_equal(read(world->done[0], &letter, 1), 1);
	to = count(world);
	return (struct counts){to.calls - from.calls, to.stepped - from.stepped,
			       to.runs - from.runs, to.run_ns - from.run_ns};
}

static void test_stepped_are_told(void **state)
{
	struct counts counts = run(state, 'p');

	assert_int_equal(counts.calls, CALLS);
	assert_int_equal(counts.stepped, 0);
	counts = run(state, 'd');
	assert_int_equal(counts.calls, CALLS);
	assert_int_equal(counts.stepped, CALLS);
}

/* Programs are measured as long as that is asked for: each call and its return. */
static void test_programs_are_measured(void **state)
{
	struct counts counts = run(state, 'p');
	int fd;

	assert_int_equal(counts.runs, 0);
	fd = calibrate__enable_stats();
	if (fd < 0) {
		print_message("the kernel does not measure programs here\n");
		skip();
	}
	counts = run(state, 'p');
	close(fd);
	assert_int_equal(counts.runs, 2 * CALLS);
	assert_in_range(counts.run_ns / counts.runs, 20, 1000000);
	assert_int_equal(run(state, 'p').runs, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stepped_are_told),
		cmocka_unit_test(test_programs_are_measured),
	};

	return cmocka_run_group_tests_name("engine hits", tests, open_world, close_world);
}
