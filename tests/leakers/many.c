/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Large numbers.
 *   many blocks N        N live blocks from one function
 *   many stacks N        N blocks, each from a call path of its own (at most 32768)
 *   many pairs LIVE N    LIVE blocks stay, then N malloc/free pairs
 *   many sizes           fixed sets of small, medium and large blocks, for the filters
 *   many ages MS         100 old blocks, MS milliseconds, 40 young ones
 */
#include <time.h>

#include "tests/leakers/leaker.h"

#define LEVELS 15

enum { S_BLOCK, S_STACK, S_PAIR, S_SMALL, S_MEDIUM, S_LARGE, S_OLD, S_YOUNG, SITE_CNT };

static struct site sites[SITE_CNT] = {
	[S_BLOCK] = {.name = "hold_block"},   [S_STACK] = {.name = "leaf_of_path"},
	[S_PAIR] = {.name = "churn_pair"},    [S_SMALL] = {.name = "leak_small"},
	[S_MEDIUM] = {.name = "leak_medium"}, [S_LARGE] = {.name = "leak_large"},
	[S_OLD] = {.name = "leak_old"},	      [S_YOUNG] = {.name = "leak_young"},
};

/* The newest block; the others hang on it. Blocks too small for a pointer are simply forgotten. */
static void *volatile chain;

static void *remember(void *p, size_t bytes)
{
	if (p && bytes >= sizeof(void *)) {
		*(void **)p = chain;
		chain = p;
	}
	return p;
}

SITE_FN static void *hold_block(size_t bytes)
{
	return note_alloc(&sites[S_BLOCK], malloc(bytes), bytes);
}

SITE_FN static void *churn_pair(size_t bytes)
{
	return note_alloc(&sites[S_PAIR], malloc(bytes), bytes);
}

SITE_FN static void *leak_small(void)
{
	return note_alloc(&sites[S_SMALL], malloc(16), 16);
}

SITE_FN static void *leak_medium(void)
{
	return note_alloc(&sites[S_MEDIUM], malloc(1000), 1000);
}

SITE_FN static void *leak_large(void)
{
	return note_alloc(&sites[S_LARGE], malloc(100000), 100000);
}

SITE_FN static void *leak_old(void)
{
	return note_alloc(&sites[S_OLD], malloc(50), 50);
}

SITE_FN static void *leak_young(void)
{
	return note_alloc(&sites[S_YOUNG], malloc(60), 60);
}

SITE_FN static void *leaf_of_path(size_t bytes)
{
	return note_alloc(&sites[S_STACK], malloc(bytes), bytes);
}

static void *right_turn(unsigned int path, int level);

SITE_FN static void *left_turn(unsigned int path, int level)
{
	void *p;

	if (!level)
		p = leaf_of_path(24);
	else
		p = path & 1 ? right_turn(path >> 1, level - 1) : left_turn(path >> 1, level - 1);
	KEEP(p);
	return p;
}

SITE_FN static void *right_turn(unsigned int path, int level)
{
	void *p;

	if (!level)
		p = leaf_of_path(40);
	else
		p = path & 1 ? right_turn(path >> 1, level - 1) : left_turn(path >> 1, level - 1);
	KEEP(p);
	return p;
}

static void pairs(long live, long pair_cnt)
{
	for (long i = 0; i < live; i++)
		remember(hold_block(1000), 1000);
	for (long i = 0; i < pair_cnt; i++) {
		void *p = churn_pair(1000);

		note_free(&sites[S_PAIR], 1000);
		free(p);
	}
}

static void sizes(void)
{
	for (int i = 0; i < 400; i++)
		remember(leak_small(), 16);
	for (int i = 0; i < 50; i++)
		remember(leak_medium(), 1000);
	for (int i = 0; i < 10; i++)
		remember(leak_large(), 100000);
}

static void ages(long ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	for (int i = 0; i < 100; i++)
		remember(leak_old(), 50);
	while (nanosleep(&pause, &pause))
		;
	for (int i = 0; i < 40; i++)
		remember(leak_young(), 60);
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "sizes");
	long first = atol(leaker__arg(argc, argv, 2, "1000"));
	long second = atol(leaker__arg(argc, argv, 3, "1000"));

	leaker__ready(argc, argv);
	if (!strcmp(mode, "blocks")) {
		for (long i = 0; i < first; i++)
			remember(hold_block(16 + (size_t)i % 5), 16);
	} else if (!strcmp(mode, "stacks")) {
		for (long i = 0; i < first; i++)
			remember(left_turn((unsigned int)i, LEVELS), 24);
	} else if (!strcmp(mode, "pairs")) {
		pairs(first, second);
	} else if (!strcmp(mode, "sizes")) {
		sizes();
	} else if (!strcmp(mode, "ages")) {
		ages(first);
	} else {
		return 2;
	}
	leaker__expect(sites, SITE_CNT);
	leaker__done();
	return 0;
}
