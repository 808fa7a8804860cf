/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads: arenas, blocks that change hands, reallocs that race with mallocs for the same
 * addresses. The threads exist before READY, so that what pthread_create allocates is no part of
 * the ground truth.
 */
#include <malloc.h>
#include <pthread.h>
#include <sched.h>

#include "tests/leakers/leaker.h"

#define THREADS 8
#define PER_THREAD 1000
#define HANDOFFS 40000
#define HANDOFF_KEPT 100
#define RACES 20000

enum { S_LEAK, S_PRODUCE, S_RACE_MALLOC, S_RACE_REALLOC, SITE_CNT };

static struct site sites[SITE_CNT] = {
	[S_LEAK] = {.name = "thread_leak"},
	[S_PRODUCE] = {.name = "produce_block"},
	[S_RACE_MALLOC] = {.name = "race_malloc"},
	[S_RACE_REALLOC] = {.name = "race_realloc"},
};

static void *kept[THREADS][PER_THREAD];
static pthread_barrier_t go, done, quit;
static void *ring[64];
static void (*thread_work)(size_t id);

SITE_FN static void *thread_leak(size_t bytes)
{
	return note_alloc(&sites[S_LEAK], malloc(bytes), bytes);
}

SITE_FN static void *produce_block(size_t bytes)
{
	return note_alloc(&sites[S_PRODUCE], malloc(bytes), bytes);
}

SITE_FN static void *race_malloc(size_t bytes)
{
	return note_alloc(&sites[S_RACE_MALLOC], malloc(bytes), bytes);
}

SITE_FN static void *race_realloc(void *old, struct site *site, size_t old_bytes, size_t bytes)
{
	note_free(site, old_bytes);
	return note_alloc(&sites[S_RACE_REALLOC], realloc(old, bytes), bytes);
}

SITE_FN static void give_back(struct site *site, void *p, size_t bytes)
{
	note_free(site, bytes);
	free(p);
	KEEP(p);
}

static void arenas(size_t id)
{
	for (size_t i = 0; i < PER_THREAD; i++)
		kept[id][i] = thread_leak(100 + id);
	for (size_t i = 0; i < PER_THREAD; i += 4)
		give_back(&sites[S_LEAK], kept[id][i], 100 + id);
}

/* Even threads produce, odd ones free; each pair has its own slots. */
static void handoff(size_t id)
{
	void **slots = &ring[id / 2 * 16];

	for (size_t i = 0; i < HANDOFFS; i++) {
		void **slot = &slots[i % 16], *p;

		if (id % 2 == 0) {
			p = produce_block(64 + i % 32);
			while (__atomic_load_n(slot, __ATOMIC_ACQUIRE))
				sched_yield();
			__atomic_store_n(slot, p, __ATOMIC_RELEASE);
			continue;
		}
		while (!(p = __atomic_exchange_n(slot, NULL, __ATOMIC_ACQ_REL)))
			sched_yield();
		if (i >= HANDOFFS - HANDOFF_KEPT)
			kept[id][i - (HANDOFFS - HANDOFF_KEPT)] = p;
		else
			give_back(&sites[S_PRODUCE], p, 64 + i % 32);
	}
}

/* One arena and sizes that bypass the thread caches: an address freed here is at once reused there.
 */
static void race(size_t id)
{
	for (size_t i = 0; i < RACES; i++) {
		size_t bytes = 2000 + (i * 7 + id * 13) % 64 * 50;
		void *p = race_malloc(bytes);

		if (i % 2) {
			p = race_realloc(p, &sites[S_RACE_MALLOC], bytes, bytes * 2);
			if (i % 500 == 1) {
				kept[id][i / 500] = p;
				continue;
			}
			give_back(&sites[S_RACE_REALLOC], p, bytes * 2);
		} else {
			give_back(&sites[S_RACE_MALLOC], p, bytes);
		}
	}
}

static void *thread_main(void *arg)
{
	pthread_barrier_wait(&go);
	thread_work((size_t)arg);
	pthread_barrier_wait(&done);
	pthread_barrier_wait(&quit);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "arenas");
	size_t thread_cnt = THREADS;
	pthread_t threads[THREADS];

	thread_work = !strcmp(mode, "handoff") ? handoff : !strcmp(mode, "race") ? race : arenas;
	if (thread_work == race)
		thread_cnt = 4;
	if (thread_work == race)
		LEAKER_CHECK(mallopt(M_ARENA_MAX, 1) == 1);
	pthread_barrier_init(&go, NULL, (unsigned int)thread_cnt + 1);
	pthread_barrier_init(&done, NULL, (unsigned int)thread_cnt + 1);
	pthread_barrier_init(&quit, NULL, (unsigned int)thread_cnt + 1);
	for (size_t i = 0; i < thread_cnt; i++)
		LEAKER_CHECK(!pthread_create(&threads[i], NULL, thread_main, (void *)i));
	leaker__ready(argc, argv);
	pthread_barrier_wait(&go);
	pthread_barrier_wait(&done);
	leaker__expect(sites, SITE_CNT);
	leaker__done();
	if (leaker_now)
		_exit(0); /* the threads' own blocks stay as they are */
	pthread_barrier_wait(&quit);
	for (size_t i = 0; i < thread_cnt; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
