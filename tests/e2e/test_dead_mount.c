/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs on a file system whose server is away: whoever opens a file there waits for it, and the
 * tool must not.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/harness.h"

#define BINDFS "/usr/bin/bindfs"

struct mount {
	char *dir; /* owned */
	struct child *server;
};

/* Shows programs at another place, by a server of FUSE. */
static struct mount mount_programs(const char *const *names)
{
	const char *from = scratch_dir();
	struct mount mount = {.dir = format("%s", scratch_dir())};
	struct stat before, now;

	for (; *names; names++) {
		char *path = leaker_path(*names), *copy = format("%s/%s", from, *names);

		copy_file(path, copy);
		free(copy);
		free(path);
	}
	assert_int_equal(stat(mount.dir, &before), 0);
	mount.server = child__start(ARGS(BINDFS, "-f", from, mount.dir), NULL);
	for (int waited = 0; waited < TIMEOUT_MS; waited += 20) {
		assert_int_equal(stat(mount.dir, &now), 0);
		if (now.st_dev != before.st_dev)
			return mount;
		sleep_ms(20);
	}
	fail_msg("%s: %s", BINDFS, child__stderr(mount.server));
	return mount;
}

static struct child *start_program(const struct mount *mount, const char *name, const char *what)
{
	char *path = format("%s/%s", mount->dir, name);
	struct child *child = child__start(ARGS(path, what), NULL);

	free(child__await_line(child, child->out_fd, "READY", TIMEOUT_MS));
	free(path);
	return child;
}

/* The server goes on, and with it all who wait for it. */
static void unmount(struct mount *mount)
{
	kill(mount->server->pid, SIGCONT);
	assert_int_equal(umount2(mount->dir, MNT_DETACH), 0);
	child__await_exit(mount->server, TIMEOUT_MS);
	free(mount->dir);
}

static const char *reason_of(const struct report *report, pid_t pid)
{
	struct json_object *proc = report__process(report, pid), *allocators;

	assert_non_null(proc);
	allocators = field(field(proc, "coverage"), "allocators");
	assert_int_equal(json_object_array_length(allocators), 1);
	return text_of(json_object_array_get_idx(allocators, 0), "reason");
}

/* What is on it is told, or counted as far as its libraries are elsewhere; others are as ever. */
static void test_trace(void **state)
{
	struct mount mount = mount_programs(ARGS("alloc", "alloc-static"));
	struct child *whole = start_program(&mount, "alloc-static", "malloc"),
		     *partly = start_program(&mount, "alloc", "malloc"),
		     *local = leaker__start(ARGS("alloc", "calloc"), NULL), *tool;
	struct expects expects;
	struct report report;

	(void)state;
	kill(mount.server->pid, SIGSTOP);
	tool = trace__start(ARGS("-a"));
	leaker__go(local);
	leaker__go(partly);
	report = trace__end(tool);
	assert_string_equal(reason_of(&report, whole->pid), "its file system does not answer");
	expects = expects__read(local);
	assert_expect(&report, expects__of(&expects, 0));
	expects = expects__read(partly);
	assert_tally(&report, "a program that cannot be read",
		     report__sum(&report, partly->pid, "malloc", NULL),
		     expect__totals(expects__of(&expects, 0)));
	kill(mount.server->pid, SIGCONT);
	leaker__finish(local);
	leaker__finish(partly);
	leaker__go(whole);
	leaker__finish(whole);
	unmount(&mount);
}

/* A server that goes away later takes the names of its files with it, and no numbers. */
static void test_trace_begun(void **state)
{
	struct mount mount = mount_programs(ARGS("alloc"));
	struct child *leaker = start_program(&mount, "alloc", "malloc"), *tool;
	struct expects expects;
	struct report report;

	(void)state;
	tool = trace__start(ARGS("-a"));
	leaker__go(leaker);
	/* What is known of files without asking is forgotten after a second. */
	sleep_ms(2000);
	kill(mount.server->pid, SIGSTOP);
	report = trace__end(tool);
	expects = expects__read(leaker);
	assert_tally(&report, "a program whose server went away",
		     report__sum(&report, leaker->pid, "malloc", NULL),
		     expect__totals(expects__of(&expects, 0)));
	kill(mount.server->pid, SIGCONT);
	leaker__finish(leaker);
	unmount(&mount);
}

/* Who grows is told all the same. */
static void test_sweep(void **state)
{
	struct mount mount = mount_programs(ARGS("grower"));
	char *path = format("%s/grower", mount.dir);
	struct child *leak = child__start(ARGS(path, "leak", "4000"), NULL), *tool;
	struct json_object *row;
	struct report report;
	char *out;

	(void)state;
	free(child__await_line(leak, leak->out_fd, "READY", TIMEOUT_MS));
	child__poke(leak);
	sleep_ms(500);
	kill(mount.server->pid, SIGSTOP);
	tool = tool__start(ARGS("sweep", "--once", "--duration", "32s", "--format", "json"), NULL);
	child__await_code(tool, 0);
	out = child__stdout(tool);
	report = report__parse(out);
	row = sweep__row(report.root, leak->pid);
	if (!row)
		fail_msg("the leak is not told: %s", out);
	free(out);
	kill(mount.server->pid, SIGCONT);
	kill(leak->pid, SIGKILL);
	child__await_exit(leak, TIMEOUT_MS);
	unmount(&mount);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_trace),
		E2E_TEST(test_trace_begun),
		E2E_TEST(test_sweep),
	};

	/* However a test ends, its mount ends with this program. */
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		perror("a mount namespace");
		return 1;
	}
	return harness__main("e2e dead mount", tests, sizeof(tests) / sizeof(tests[0]));
}
