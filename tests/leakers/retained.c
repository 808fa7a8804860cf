/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is freed and stays resident: small blocks, all but a few of which are freed at a
 * newline. What is kept is spread over the heap, and its last page is kept, so that malloc cannot
 * give it back.
 *
 *   retained [free|threads|leak]
 *
 * "free": one thread, malloc's main heap. "threads": the same in three threads, each with a heap of
 * its own. "leak": nothing is freed, and the second half is allocated at the newline.
 */
#include <pthread.h>

#include "leaker.h"

#define BLOCK_BYTES 1000
#define BLOCK_CNT 210000 /* 200 MiB */
#define KEEP_EVERY 2000
#define THREAD_CNT 3

struct holder {
	size_t begin, end;
};

static void *held[BLOCK_CNT];
static pthread_barrier_t barrier;

static SITE_FN void *take_small(void)
{
	void *p = malloc(BLOCK_BYTES);

	KEEP(p);
	return p;
}

static void fill(size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++) {
		held[i] = take_small();
		LEAKER_CHECK(held[i]);
		memset(held[i], 1, BLOCK_BYTES);
	}
}

static void drop(size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++) {
		if (!((i - begin) % KEEP_EVERY) || i + 1 == end)
			continue;
		free(held[i]);
		held[i] = NULL;
	}
}

static void *hold(void *arg)
{
	const struct holder *holder = arg;

	fill(holder->begin, holder->end);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	drop(holder->begin, holder->end);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void say(const char *what)
{
	leaker__add("%s\n", what);
	leaker__flush();
}

static void run_threads(void)
{
	struct holder holders[THREAD_CNT];
	pthread_t threads[THREAD_CNT];

	pthread_barrier_init(&barrier, NULL, THREAD_CNT + 1);
	for (size_t i = 0; i < THREAD_CNT; i++) {
		holders[i].begin = BLOCK_CNT / THREAD_CNT * i;
		holders[i].end = BLOCK_CNT / THREAD_CNT * (i + 1);
		LEAKER_CHECK(!pthread_create(&threads[i], NULL, hold, &holders[i]));
	}
	pthread_barrier_wait(&barrier);
	say("FILLED");
	leaker__await_newline();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	say("DONE");
	leaker__await_newline();
	pthread_barrier_wait(&barrier);
	for (size_t i = 0; i < THREAD_CNT; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "free");
	bool leaks = !strcmp(mode, "leak");

	leaker__ready(argc, argv);
	if (!strcmp(mode, "threads")) {
		run_threads();
		return 0;
	}
	fill(0, leaks ? BLOCK_CNT / 2 : BLOCK_CNT);
	say("FILLED");
	leaker__await_newline();
	if (leaks)
		fill(BLOCK_CNT / 2, BLOCK_CNT);
	else
		drop(0, BLOCK_CNT);
	say("DONE");
	leaker__await_newline();
	return 0;
}
