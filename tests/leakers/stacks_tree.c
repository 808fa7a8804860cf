/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes that allocate as soon as they are there.
 *   stacks_tree fork       forks children, which allocate
 *   stacks_tree exec PATH  starts PATH, which is chain, several times
 */
#include <fcntl.h>

#include "tests/leakers/whole_stacks.h"

#define CHILDREN 8
#define BLOCKS 20

static struct site parent_site = {.name = "take_parent < parent < main" BELOW_MAIN};
static struct site child_site = {
	.name = "take_child < child < ** < fork_children < main" BELOW_MAIN};

SITE_FN static void *take_parent(size_t bytes)
{
	return note_alloc(&parent_site, malloc(bytes), bytes);
}

SITE_FN static void *take_child(size_t bytes)
{
	return note_alloc(&child_site, malloc(bytes), bytes);
}

SITE_FN static void parent(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		KEEP(take_parent(30 + i));
}

SITE_FN static void child(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		KEEP(take_child(60 + i));
}

/* Waits until that many children have allocated. */
static void await_children(int fd, size_t cnt)
{
	char c;

	for (size_t i = 0; i < cnt; i++)
		LEAKER_CHECK(read(fd, &c, 1) == 1);
}

SITE_FN static void fork_children(int done_fd, int stay_fd)
{
	for (size_t i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();

		LEAKER_CHECK(pid >= 0);
		if (!pid) {
			sites__inherit(&parent_site, 1);
			child();
			leaker__stacks(&parent_site, 1);
			leaker__stacks(&child_site, 1);
			close(stay_fd);
			leaker__child_done();
			_exit(0);
		}
		await_children(done_fd, 1);
	}
}

SITE_FN static void start_children(const char *path, int done_fd)
{
	for (size_t i = 0; i < CHILDREN / 2; i++) {
		pid_t pid = fork();

		LEAKER_CHECK(pid >= 0);
		if (!pid) {
			execl(path, path, "child", "now", NULL);
			_exit(127);
		}
		await_children(done_fd, 1);
	}
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "fork");
	int done[2], stay[2];

	LEAKER_CHECK(!pipe2(done, O_CLOEXEC) && !pipe2(stay, O_CLOEXEC));
	LEAKER_CHECK(dup2(done[1], CHILD_DONE_FD) >= 0 && dup2(stay[0], CHILD_STAY_FD) >= 0);
	leaker__ready(argc, argv);
	parent();
	if (!strcmp(mode, "fork"))
		fork_children(done[0], stay[1]);
	else
		start_children(leaker__arg(argc, argv, 2, ""), done[0]);
	leaker__stacks(&parent_site, 1);
	leaker__done();
	return 0;
}
