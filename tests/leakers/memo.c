/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls of malloc that look alike: from the same instruction, with the same stack and frame
 * pointer, so that only words further up the stack tell the callers apart. memo same     always the
 * same stack memo near     two callers take turns, in several rhythms memo far      they are forty
 * frames up memo moved    the frames between lie elsewhere each time, old return addresses are left
 * around memo threads  several threads, which share all code
 */
#include <alloca.h>
#include <pthread.h>

#include "tests/leakers/whole_stacks.h"

#define ROUNDS 20000
#define LEVELS 40
#define THREADS 4
#define IN_MAIN(mode) " < " mode " < main" BELOW_MAIN
#define DOWN " < down < down < down < down < down"
#define DOWN_ALL DOWN DOWN DOWN DOWN DOWN DOWN DOWN DOWN

static struct site same_site = {.name = "take < same"
					" < main" BELOW_MAIN};
static struct site near_sites[2] = {{.name = "take < left" IN_MAIN("near")},
				    {.name = "take < right" IN_MAIN("near")}};
static struct site far_sites[2] = {{.name = "take" DOWN_ALL " < far_left" IN_MAIN("far")},
				   {.name = "take" DOWN_ALL " < far_right" IN_MAIN("far")}};
static struct site moved_sites[2] = {{.name = "take < inner < outer_left" IN_MAIN("moved")},
				     {.name = "take < inner < outer_right" IN_MAIN("moved")}};
static struct site thread_sites[2] = {{.name = "take < left < thread_main" BELOW_THREAD},
				      {.name = "take < right < thread_main" BELOW_THREAD}};
static uintptr_t take_sp[2];

/* The only place that calls malloc. */
SITE_FN static void *take(struct site *site, size_t bytes)
{
	void *p = note_alloc(site, malloc(bytes), bytes);

	KEEP(p);
	return p;
}

/* Keeps what it is for: both callers have their frames, and the allocator's, at the same place. */
SITE_FN static void note_sp(int side)
{
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0);

	LEAKER_CHECK(!take_sp[side] || take_sp[side] == sp);
	take_sp[side] = sp;
	LEAKER_CHECK(!take_sp[!side] || take_sp[!side] == sp);
}

static void forget_sp(void)
{
	take_sp[0] = take_sp[1] = 0;
}

SITE_FN static void left(struct site *sites, size_t bytes)
{
	void *p = take(&sites[0], bytes);

	KEEP(p);
}

SITE_FN static void right(struct site *sites, size_t bytes)
{
	void *p = take(&sites[1], bytes);

	KEEP(p);
}

/* Which side's turn it is: in turns, in pairs, in long runs, without a pattern. */
static int side_of(size_t i)
{
	switch (i / 512 % 4) {
	case 0:
		return i % 2;
	case 1:
		return i / 2 % 2;
	case 2:
		return i / 100 % 2;
	default:
		return (i * 2654435761U >> 16) % 2;
	}
}

SITE_FN static void same(void)
{
	for (size_t i = 0; i < ROUNDS; i++) {
		void *p = take(&same_site, 24);

		KEEP(p);
	}
	leaker__stacks(&same_site, 1);
}

SITE_FN static void near(void)
{
	for (size_t i = 0; i < ROUNDS; i++) {
		if (side_of(i))
			right(near_sites, 30);
		else
			left(near_sites, 20);
	}
	leaker__stacks(near_sites, 2);
}

SITE_FN static long down(size_t levels, int side, size_t bytes)
{
	volatile char room[24];
	long sum;

	room[bytes % 24] = 1;
	if (levels == 1) {
		void *p = take(&far_sites[side], bytes);

		KEEP(p);
		return room[bytes % 24];
	}
	sum = down(levels - 1, side, bytes);
	return sum + room[bytes % 24];
}

SITE_FN static void far_left(size_t bytes)
{
	volatile long sum = down(LEVELS, 0, bytes);

	KEEP(sum);
	note_sp(0);
}

SITE_FN static void far_right(size_t bytes)
{
	volatile long sum = down(LEVELS, 1, bytes);

	KEEP(sum);
	note_sp(1);
}

SITE_FN static void far(void)
{
	forget_sp();
	for (size_t i = 0; i < ROUNDS / 4; i++) {
		if (side_of(i))
			far_right(50);
		else
			far_left(40);
	}
	leaker__stacks(far_sites, 2);
}

SITE_FN static char inner(size_t n, int side, size_t bytes)
{
	char *room = alloca(n);
	void *p;

	room[0] = room[n - 1] = 1;
	p = take(&moved_sites[side], bytes);
	KEEP(p);
	return room[0];
}

SITE_FN static char outer_left(size_t n)
{
	char *room = alloca(n);
	char sum;

	room[0] = room[n - 1] = 1;
	KEEP(room);
	sum = inner(4096 - n, 0, 60);
	return sum + room[0];
}

SITE_FN static char outer_right(size_t n)
{
	char *room = alloca(n);
	char sum;

	room[0] = room[n - 1] = 1;
	KEEP(room);
	sum = inner(4096 - n, 1, 70);
	return sum + room[0];
}

SITE_FN static void moved(void)
{
	volatile char sum = 0;

	for (size_t i = 0; i < ROUNDS / 4; i++) {
		size_t n = 16 * (1 + i / 3 * 7 % 250);

		sum += side_of(i) ? outer_right(n) : outer_left(n);
	}
	KEEP(sum);
	leaker__stacks(moved_sites, 2);
}

SITE_FN static void *thread_main(void *barrier)
{
	pthread_barrier_wait(barrier);
	for (size_t i = 0; i < ROUNDS / THREADS; i++) {
		if (side_of(i))
			right(thread_sites, 30);
		else
			left(thread_sites, 20);
	}
	return NULL;
}

SITE_FN static void threads(void)
{
	pthread_barrier_t barrier;
	pthread_t list[THREADS];

	LEAKER_CHECK(!pthread_barrier_init(&barrier, NULL, THREADS));
	for (size_t i = 0; i < THREADS; i++)
		LEAKER_CHECK(!pthread_create(&list[i], NULL, thread_main, &barrier));
	for (size_t i = 0; i < THREADS; i++)
		LEAKER_CHECK(!pthread_join(list[i], NULL));
	leaker__stacks(thread_sites, 2);
	leaker__any_stacks(THREADS_THEMSELVES " < threads < main" BELOW_MAIN);
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "same");

	leaker__ready(argc, argv);
	if (!strcmp(mode, "same"))
		same();
	if (!strcmp(mode, "near"))
		near();
	if (!strcmp(mode, "far"))
		far();
	if (!strcmp(mode, "moved"))
		moved();
	if (!strcmp(mode, "threads"))
		threads();
	leaker__done();
	return 0;
}
