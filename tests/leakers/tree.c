/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Process trees. Every process of a tree prints its own EXPECT line; children print theirs before
 * their parent does and stay until it exits. tree inherit      a forked child frees blocks of its
 * parent, and the parent blocks that the child has tree grandchild   three generations tree reuse
 * the parent frees and reuses an address that the child still has tree swarm        200 children
 * that free what they inherited and exit tree vfork        vfork + exec of a leaker tree vfork-free
 * a vfork child allocates and frees in its parent's memory tree spawn        posix_spawn of a
 * leaker tree exec         the process execs itself: what the old image held has ended
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/leakers/leaker.h"

enum { S_PARENT, S_CHILD, S_GRANDCHILD, S_AFTER_EXEC, S_VFORK, SITE_CNT };

static struct site sites[SITE_CNT] = {
	[S_PARENT] = {.name = "parent_leak"},	      [S_CHILD] = {.name = "child_leak"},
	[S_GRANDCHILD] = {.name = "grandchild_leak"}, [S_AFTER_EXEC] = {.name = "leak_after_exec"},
	[S_VFORK] = {.name = "leak_in_vfork"},
};

static void *kept[1000], *more[1000];
static char self[4096];
static int hold[2]; /* children read it; it ends with the root process */
extern char **environ;

SITE_FN static void *parent_leak(size_t bytes)
{
	return note_alloc(&sites[S_PARENT], malloc(bytes), bytes);
}

SITE_FN static void *child_leak(size_t bytes)
{
	return note_alloc(&sites[S_CHILD], malloc(bytes), bytes);
}

SITE_FN static void *grandchild_leak(size_t bytes)
{
	return note_alloc(&sites[S_GRANDCHILD], malloc(bytes), bytes);
}

SITE_FN static void *leak_after_exec(size_t bytes)
{
	return note_alloc(&sites[S_AFTER_EXEC], malloc(bytes), bytes);
}

SITE_FN static void *leak_in_vfork(size_t bytes)
{
	return note_alloc(&sites[S_VFORK], malloc(bytes), bytes);
}

SITE_FN static void give_back(struct site *site, void *p, size_t bytes)
{
	note_free(site, bytes);
	free(p);
	KEEP(p);
}

/* Tells the parent, through a pipe, and waits for the end of the root process. */
static void rest(int ready_fd)
{
	char c;

	leaker__expect(sites, SITE_CNT);
	LEAKER_CHECK(write(ready_fd, "r", 1) == 1);
	close(hold[1]);
	while (read(hold[0], &c, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static void await(int fd)
{
	char c;

	LEAKER_CHECK(read(fd, &c, 1) == 1);
}

static void start_pipe(int fds[2])
{
	LEAKER_CHECK(!pipe(fds));
}

static pid_t start_child(void)
{
	pid_t pid = fork();

	LEAKER_CHECK(pid >= 0);
	if (!pid)
		sites__inherit(sites, SITE_CNT);
	return pid;
}

static void inherit(void)
{
	int ready[2], freed[2];

	start_pipe(ready);
	start_pipe(freed);
	for (size_t i = 0; i < 200; i++)
		kept[i] = parent_leak(100);
	if (!start_child()) {
		await(freed[0]); /* the parent frees first, also blocks that the child frees too */
		for (size_t i = 0; i < 50; i++)
			give_back(&sites[S_PARENT], kept[i], 100);
		for (size_t i = 0; i < 30; i++)
			more[i] = child_leak(64);
		rest(ready[1]);
	}
	for (size_t i = 40; i < 60; i++)
		give_back(&sites[S_PARENT], kept[i], 100);
	LEAKER_CHECK(write(freed[1], "f", 1) == 1);
	await(ready[0]);
}

static void grandchild(void)
{
	int ready[2];

	start_pipe(ready);
	for (size_t i = 0; i < 100; i++)
		kept[i] = parent_leak(80);
	if (!start_child()) {
		int inner[2];

		start_pipe(inner);
		for (size_t i = 0; i < 20; i++)
			more[i] = child_leak(48);
		for (size_t i = 0; i < 5; i++)
			give_back(&sites[S_PARENT], kept[i], 80);
		if (!start_child()) {
			for (size_t i = 5; i < 15; i++)
				give_back(&sites[S_PARENT], kept[i], 80);
			for (size_t i = 0; i < 7; i++)
				give_back(&sites[S_CHILD], more[i], 48);
			for (size_t i = 100; i < 111; i++)
				kept[i] = grandchild_leak(33);
			rest(inner[1]);
		}
		await(inner[0]);
		for (size_t i = 10; i < 13; i++)
			give_back(&sites[S_CHILD], more[i], 48);
		rest(ready[1]);
	}
	await(ready[0]);
}

static void reuse(void)
{
	int ready[2], reused[2];

	start_pipe(ready);
	start_pipe(reused);
	for (size_t i = 0; i < 50; i++)
		kept[i] = parent_leak(100);
	if (!start_child()) {
		await(reused[0]);
		for (size_t i = 0; i < 10; i++)
			give_back(&sites[S_PARENT], kept[i], 100);
		rest(ready[1]);
	}
	for (size_t i = 0; i < 20; i++)
		give_back(&sites[S_PARENT], kept[i], 100);
	for (size_t i = 0; i < 20; i++)
		more[i] = child_leak(97); /* the same addresses */
	LEAKER_CHECK(write(reused[1], "r", 1) == 1);
	await(ready[0]);
}

static void swarm(void)
{
	for (size_t i = 0; i < 50; i++)
		kept[i] = parent_leak(70);
	for (int n = 0; n < 200; n++) {
		pid_t pid = start_child();
		int status;

		if (!pid) {
			for (size_t i = 0; i < 50; i += 2)
				give_back(&sites[S_PARENT], kept[i], 70);
			more[0] = child_leak(5000);
			_exit(0);
		}
		LEAKER_CHECK(waitpid(pid, &status, 0) == pid && !status);
	}
}

static void vfork_exec(bool use_spawn)
{
	char *const args[] = {self, "exec-leaf", "now", NULL};
	int status;
	pid_t pid;

	for (size_t i = 0; i < 100; i++)
		kept[i] = parent_leak(90);
	if (use_spawn) {
		LEAKER_CHECK(!posix_spawn(&pid, self, NULL, NULL, args, environ));
	} else {
		pid = vfork();
		if (!pid) {
			execv(self, args);
			_exit(9);
		}
	}
	LEAKER_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && !status);
	for (size_t i = 0; i < 30; i++)
		give_back(&sites[S_PARENT], kept[i], 90);
}

/* No program should, some do: until it execs or exits, a vfork child works in its parent's heap. */
static void vfork_free(void)
{
	pid_t pid;

	for (size_t i = 0; i < 100; i++)
		kept[i] = parent_leak(90);
	pid = vfork();
	if (!pid) {
		for (size_t i = 0; i < 9; i++)
			more[i] = leak_in_vfork(44);
		for (size_t i = 0; i < 3; i++)
			give_back(&sites[S_VFORK], more[i], 44);
		for (size_t i = 0; i < 5; i++)
			give_back(&sites[S_PARENT], kept[i], 90);
		_exit(0);
	}
	LEAKER_CHECK(pid > 0 && waitpid(pid, NULL, 0) == pid);
	give_back(&sites[S_VFORK], more[3], 44);
}

static void exec_self(void)
{
	char *const args[] = {self, "exec-root", leaker_now ? "now" : NULL, NULL};

	for (size_t i = 0; i < 1000; i++)
		kept[i] = parent_leak(90);
	execv(self, args);
	_exit(9);
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "inherit");

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	LEAKER_CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	LEAKER_CHECK(!pipe2(hold, O_CLOEXEC));
	leaker_now = argc > 1 && !strcmp(argv[argc - 1], "now");
	if (strncmp(mode, "exec-", 5))
		leaker__ready(argc, argv);
	if (!strcmp(mode, "inherit"))
		inherit();
	else if (!strcmp(mode, "grandchild"))
		grandchild();
	else if (!strcmp(mode, "reuse"))
		reuse();
	else if (!strcmp(mode, "swarm"))
		swarm();
	else if (!strcmp(mode, "vfork") || !strcmp(mode, "spawn"))
		vfork_exec(!strcmp(mode, "spawn"));
	else if (!strcmp(mode, "vfork-free"))
		vfork_free();
	else if (!strcmp(mode, "exec"))
		exec_self();
	else
		for (size_t i = 0; i < 40; i++)
			kept[i] = leak_after_exec(30 + i);
	leaker__expect(sites, SITE_CNT);
	if (strcmp(mode, "exec-leaf"))
		leaker__done();
	return 0;
}
