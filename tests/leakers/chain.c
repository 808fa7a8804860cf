/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ten functions with frames of different shapes, without frame pointers, down to every function of
 * the allocator.
 *   chain main      in the main thread
 *   chain threads   in four threads at once
 *   chain wait      as main, but waits for a line between two halves
 *   chain child     as main, started by stacks_tree
 * Built in many ways: see leakers.mk.
 */
#include <malloc.h>
#include <pthread.h>

#include "tests/leakers/whole_stacks.h"

#define ROUNDS 50
#define THREADS 4
#define BELOW " < link_1 < link_2 < link_3 < link_4 < link_5 < link_6 < link_7 < link_8 < link_9"
#define BELOW_MAIN_LINK BELOW " < in_main < main" BELOW_MAIN
#define BELOW_THREAD_LINK BELOW " < in_thread < thread_main" BELOW_THREAD
#define SITES(below)                                                                               \
	{.name = "take_malloc" below}, {.name = "take_calloc" below},                              \
		{.name = "take_realloc" below}, {.name = "take_memalign" below},                   \
		{.name = "take_aligned" below},                                                    \
	{                                                                                          \
		.name = "strdup|__strdup < take_strdup" below                                      \
	}

enum { S_MALLOC, S_CALLOC, S_REALLOC, S_MEMALIGN, S_ALIGNED, S_STRDUP, SITE_CNT };

static struct site main_sites[] = {SITES(BELOW_MAIN_LINK)};
static struct site thread_sites[] = {SITES(BELOW_THREAD_LINK)};

/* What a link passes down, so that no link can do without its own frame. */
struct order {
	struct site *sites;
	void *(*take)(struct order *);
	size_t bytes;
};

SITE_FN static void *take_malloc(struct order *order)
{
	return note_alloc(&order->sites[S_MALLOC], malloc(order->bytes), order->bytes);
}

SITE_FN static void *take_calloc(struct order *order)
{
	return note_alloc(&order->sites[S_CALLOC], calloc(order->bytes, 3), order->bytes * 3);
}

SITE_FN static void *take_realloc(struct order *order)
{
	return note_alloc(&order->sites[S_REALLOC], realloc(NULL, order->bytes), order->bytes);
}

SITE_FN static void *take_memalign(struct order *order)
{
	void *p = NULL;

	LEAKER_CHECK(!posix_memalign(&p, 64, order->bytes));
	return note_alloc(&order->sites[S_MEMALIGN], p, order->bytes);
}

SITE_FN static void *take_aligned(struct order *order)
{
	return note_alloc(&order->sites[S_ALIGNED], aligned_alloc(16, order->bytes), order->bytes);
}

SITE_FN static void *take_strdup(struct order *order)
{
	return note_alloc(&order->sites[S_STRDUP], strdup("twenty-four characters.."), 25);
}

SITE_FN static void *link_1(struct order *order)
{
	void *p = order->take(order);

	KEEP(p);
	return p;
}

/* Several registers saved. */
SITE_FN static long link_2(struct order *order, long a, long b, long c, long d)
{
	long before = a * b, between = b * c, behind = c * d;
	void *p = link_1(order);

	KEEP(p);
	return before + between * a + behind * b + c * d + order->bytes;
}

SITE_FN static long link_3(struct order *order)
{
	volatile char room[200];
	long sum;

	room[order->bytes % sizeof(room)] = 1;
	sum = link_2(order, order->bytes, 2, 3, 4);
	return sum + room[order->bytes % sizeof(room)];
}

/* Arguments on the stack. */
SITE_FN static long link_4(long a, long b, long c, long d, long e, long f, struct order *order,
			   long g)
{
	long sum = link_3(order);

	return sum + a + b + c + d + e + f + g;
}

SITE_FN static long link_5(struct order *order)
{
	long sum = link_4(1, 2, 3, 4, 5, 6, order, (long)order->bytes);

	return sum * 2;
}

/* A frame of a size that is not a multiple of 16 before the call. */
SITE_FN static long link_6(struct order *order)
{
	volatile long one = 1;
	long sum = link_5(order);

	return sum + one;
}

/* The call is not in the straight line of the function. */
SITE_FN static long link_7(struct order *order, int way)
{
	long sum;

	switch (way) {
	case 0:
		sum = link_6(order);
		break;
	case 1:
		sum = link_6(order) * 3;
		break;
	default:
		sum = 7;
	}
	KEEP(sum);
	return sum;
}

SITE_FN static double link_8(struct order *order, double factor)
{
	double more = factor * (double)order->bytes;
	long sum = link_7(order, (int)(order->bytes % 2));

	return more + (double)sum;
}

SITE_FN static long link_9(struct order *order)
{
	double sum = link_8(order, 1.5);

	KEEP(order);
	return (long)sum;
}

SITE_FN static void in_main(struct order *order)
{
	volatile long sum = link_9(order);

	KEEP(sum);
}

SITE_FN static void in_thread(struct order *order)
{
	volatile long sum = link_9(order);

	KEEP(sum);
}

static void *(*const takes[])(struct order *) = {take_malloc,	take_calloc,  take_realloc,
						 take_memalign, take_aligned, take_strdup};

SITE_FN static void *thread_main(void *barrier)
{
	pthread_barrier_wait(barrier);
	for (size_t i = 0; i < ROUNDS; i++)
		for (size_t take = 0; take < SITE_CNT; take++) {
			struct order order = {thread_sites, takes[take], 48 + i};

			in_thread(&order);
		}
	return NULL;
}

SITE_FN static void run_threads(void)
{
	pthread_barrier_t barrier;
	pthread_t threads[THREADS];

	LEAKER_CHECK(!pthread_barrier_init(&barrier, NULL, THREADS));
	for (size_t i = 0; i < THREADS; i++)
		LEAKER_CHECK(!pthread_create(&threads[i], NULL, thread_main, &barrier));
	for (size_t i = 0; i < THREADS; i++)
		LEAKER_CHECK(!pthread_join(threads[i], NULL));
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "main");
	size_t halves = !strcmp(mode, "wait") ? 2 : 1;

	leaker__ready(argc, argv);
	if (!strcmp(mode, "threads")) {
		run_threads();
		leaker__stacks(thread_sites, SITE_CNT);
		leaker__any_stacks(THREADS_THEMSELVES " < run_threads < main" BELOW_MAIN);
		leaker__done();
		return 0;
	}
	for (size_t half = 0; half < halves; half++) {
		if (half) {
			leaker__add("HALF\n");
			leaker__flush();
			leaker__await_newline();
		}
		for (size_t i = 0; i < ROUNDS; i++)
			for (size_t take = 0; take < SITE_CNT; take++) {
				struct order order = {main_sites, takes[take], 48 + i};

				in_main(&order);
			}
	}
	leaker__stacks(main_sites, SITE_CNT);
	if (!strcmp(mode, "child"))
		leaker__child_done();
	else
		leaker__done();
	return 0;
}
