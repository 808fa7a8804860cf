/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs in subvolumes of one btrfs, as containers have them with btrfs for storage: all have the
 * same device and inode numbers in /proc/PID/maps, but a file of each is a file of its own.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/harness.h"

#define VOLUME_MIB 256 /* mkfs.btrfs wants 109 */

static void run_shell(const char *command)
{
	struct child *child = child__start(ARGS("/bin/sh", "-ec", command), NULL);

	child__await_code(child, 0);
}

static bool has_line(const char *path, const char *wanted)
{
	FILE *file = fopen(path, "re");
	char line[256];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = !strcmp(line, wanted);
	if (file)
		fclose(file);
	return found;
}

/* Returns the folder of a new btrfs, or skips the test. */
static char *make_volume(void)
{
	char *dir = format("%s", scratch_dir()), *command;

	run_shell("PATH=/sbin:/usr/sbin:$PATH; modprobe -q btrfs || true");
	if (!has_line("/proc/filesystems", "\tbtrfs\n")) {
		print_message("skipped: this kernel has no btrfs\n");
		skip();
	}
	if (access("/dev/loop-control", F_OK) || access("/sbin/mkfs.btrfs", X_OK)) {
		print_message("skipped: no loop devices, or btrfs-progs is not installed\n");
		skip();
	}
	command = format("PATH=/sbin:/usr/sbin:$PATH; truncate -s %dM %s/image; mkfs.btrfs -q "
			 "%s/image; mkdir %s/all; mount -o loop %s/image %s/all",
			 VOLUME_MIB, dir, dir, dir, dir, dir);
	run_shell(command);
	free(command);
	return dir;
}

/* Makes the subvolume "first", with the program in it, and its snapshot "second". */
static void make_snapshot(const char *dir)
{
	char *program = leaker_path("alloc-static"),
	     *command = format("PATH=/sbin:/usr/sbin:$PATH; cd %s/all; btrfs subvolume create "
			       "first; cp %s first/alloc; btrfs subvolume snapshot first second",
			       dir, program);

	run_shell(command);
	free(command);
	free(program);
}

/* Makes two subvolumes, each with another program: they number their files alike. */
static void make_twins(const char *dir)
{
	char *first = leaker_path("alloc-static"), *second = leaker_path("alloc-static-pie"),
	     *command = format("PATH=/sbin:/usr/sbin:$PATH; cd %s/all; btrfs subvolume create "
			       "first; cp %s first/alloc; sync; btrfs subvolume create second; "
			       "cp %s second/alloc",
			       dir, first, second);

	run_shell(command);
	free(command);
	free(first);
	free(second);
}

static void assert_same_numbers(pid_t first, pid_t second)
{
	char *command = format("a=$(awk '/\\/alloc$/ { print $4, $5; exit }' /proc/%d/maps); "
			       "b=$(awk '/\\/alloc$/ { print $4, $5; exit }' /proc/%d/maps); "
			       "test \"$a\" && test \"$a\" = \"$b\"",
			       (int)first, (int)second);

	run_shell(command);
	free(command);
}

static void unmount(char *dir)
{
	char *all = format("%s/all", dir);

	assert_int_equal(umount2(all, MNT_DETACH), 0);
	free(all);
	free(dir);
}

static void check_two(char *dir)
{
	char *first_path = format("%s/all/first/alloc", dir),
	     *second_path = format("%s/all/second/alloc", dir), *pids;
	struct child *first, *second, *tool;
	struct expects expects[2];
	struct report report;

	first = leaker__start(ARGS(first_path, "all"), NULL);
	second = leaker__start(ARGS(second_path, "all"), NULL);
	assert_same_numbers(first->pid, second->pid);
	pids = format("%d,%d", (int)first->pid, (int)second->pid);
	tool = trace__start(ARGS("-p", pids));
	leaker__go(first);
	leaker__go(second);
	report = trace__end(tool);
	expects[0] = expects__read(first);
	expects[1] = expects__read(second);
	assert_expect(&report, expects__of(&expects[0], 0));
	assert_expect(&report, expects__of(&expects[1], 0));
	leaker__finish(first);
	leaker__finish(second);
	unmount(dir);
	free(first_path);
	free(second_path);
	free(pids);
}

static void test_snapshot_of_a_program(void **state)
{
	char *dir = make_volume();

	(void)state;
	make_snapshot(dir);
	check_two(dir);
}

static void test_programs_of_one_number(void **state)
{
	char *dir = make_volume();

	(void)state;
	make_twins(dir);
	check_two(dir);
}

/* The trace runs, and has probed the one, when the other begins. */
static void test_snapshot_that_runs_later(void **state)
{
	char *dir = make_volume(), *first_path = format("%s/all/first/alloc", dir),
	     *second_path = format("%s/all/second/alloc", dir);
	struct child *first, *second, *tool;
	struct expects expects;
	struct report report;

	(void)state;
	make_snapshot(dir);
	first = leaker__start(ARGS(first_path, "idle"), NULL);
	tool = trace__start(ARGS("--comm", "alloc"));
	second = leaker__start(ARGS(second_path, "all"), NULL);
	sleep_ms(2000 * patience());
	leaker__go(second);
	report = trace__end(tool);
	expects = expects__read(second);
	assert_expect(&report, expects__of(&expects, 0));
	leaker__finish(second);
	leaker__go(first);
	leaker__finish(first);
	unmount(dir);
	free(first_path);
	free(second_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_snapshot_of_a_program),
		E2E_TEST(test_programs_of_one_number),
		E2E_TEST(test_snapshot_that_runs_later),
	};

	/* However a test ends, its mount ends with this program. */
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		perror("a mount namespace");
		return 1;
	}
	return harness__main("e2e btrfs", tests, sizeof(tests) / sizeof(tests[0]));
}
