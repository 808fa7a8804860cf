/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/parallel.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 32

struct parallel {
	void (*job)(void *item);
	void **items;
	size_t cnt, next;
	pthread_t threads[MAX_THREADS];
	size_t thread_cnt;
};

static void *work(void *arg)
{
	struct parallel *parallel = arg;
	size_t i;

	while ((i = __atomic_fetch_add(&parallel->next, 1, __ATOMIC_RELAXED)) < parallel->cnt)
		parallel->job(parallel->items[i]);
	return NULL;
}

struct parallel *parallel__start(void (*job)(void *item), void *const *items, size_t cnt)
{
	struct parallel *parallel = calloc(1, sizeof(*parallel));
	sigset_t all, before;

	if (parallel)
		parallel->items = calloc(cnt ? cnt : 1, sizeof(*parallel->items));
	if (!parallel || !parallel->items) {
		free(parallel);
		for (size_t i = 0; i < cnt; i++)
			job(items[i]);
		return NULL;
	}
	parallel->job = job;
	parallel->cnt = cnt;
	memcpy(parallel->items, items, cnt * sizeof(*items));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
	while (parallel->thread_cnt < MAX_THREADS && parallel->thread_cnt < cnt &&
	       !pthread_create(&parallel->threads[parallel->thread_cnt], NULL, work, parallel))
		parallel->thread_cnt++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!parallel->thread_cnt)
		work(parallel);
	return parallel;
}

void parallel__join(struct parallel *parallel)
{
	if (!parallel)
		return;
	for (size_t i = 0; i < parallel->thread_cnt; i++)
		pthread_join(parallel->threads[i], NULL);
	free(parallel->items);
	free(parallel);
}
