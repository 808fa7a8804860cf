/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What fills the tool's own memory.
 *   bounds deep N     N blocks, each from a call path of its own (at most 65536) of 200 frames
 *   bounds frees N    a child frees N blocks that were there before
 *   bounds maps N P   P children, each with N mappings of a page (at most 60000)
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "tests/leakers/leaker.h"

#define LEVELS 200
#define PAGE 4096UL

static struct site site = {.name = "leaf_of_deep"};
static void *volatile chain;

SITE_FN static void *leaf_of_deep(void)
{
	return note_alloc(&site, malloc(32), 32);
}

static void *turn(unsigned int path, int level);

SITE_FN static void *turn_left(unsigned int path, int level)
{
	void *p = turn(path, level);

	KEEP(p);
	return p;
}

SITE_FN static void *turn_right(unsigned int path, int level)
{
	void *p = turn(path, level);

	KEEP(p);
	return p;
}

static inline void *turn(unsigned int path, int level)
{
	if (!level)
		return leaf_of_deep();
	return path & 1 ? turn_right(path >> 1, level - 1) : turn_left(path >> 1, level - 1);
}

static void remember(void *p)
{
	LEAKER_CHECK(p);
	*(void **)p = chain;
	chain = p;
}

static void free_all(void)
{
	while (chain) {
		void *p = chain;

		chain = *(void **)p;
		free(p);
	}
}

/* Neighbours of different rights stay mappings of their own. */
static void map_pages(long cnt)
{
	for (long i = 0; i < cnt; i++)
		LEAKER_CHECK(mmap(NULL, PAGE, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

/* Runs a job in a child that stays, and waits for the end of the job. `page_cnt` 0: frees. */
static void run_in_child(long page_cnt)
{
	int done[2];
	char c;
	pid_t pid;

	LEAKER_CHECK(!pipe(done));
	pid = fork();
	LEAKER_CHECK(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (page_cnt)
			map_pages(page_cnt);
		else
			free_all();
		LEAKER_CHECK(write(done[1], "d", 1) == 1);
		for (;;)
			pause();
	}
	close(done[1]);
	LEAKER_CHECK(read(done[0], &c, 1) == 1);
	close(done[0]);
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "deep");
	long cnt = atol(leaker__arg(argc, argv, 2, "1000"));
	long child_cnt = atol(leaker__arg(argc, argv, 3, "1"));

	for (long i = 0; !strcmp(mode, "frees") && i < cnt; i++)
		remember(malloc(16));
	leaker__ready(argc, argv);
	for (long i = 0; !strcmp(mode, "deep") && i < cnt; i++)
		remember(turn((unsigned int)i, LEVELS));
	if (!strcmp(mode, "frees"))
		run_in_child(0);
	for (long i = 0; !strcmp(mode, "maps") && i < child_cnt; i++)
		run_in_child(cnt);
	leaker__expect(&site, 1);
	leaker__done();
	return 0;
}
