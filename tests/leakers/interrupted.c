/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A timer signal whose handler allocates, at a high rate, in a program that is mostly in prologues
 * and epilogues, in the C library, in the vdso, in its own allocator, or in system calls. The
 * program notes where it is; a stack that leads through any other of its functions is wrong.
 *   interrupted plain     on the stack that was interrupted
 *   interrupted altstack  on one of its own
 *   interrupted jump      leaves calls of malloc by siglongjmp, which then never return
 */
#include <alloca.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#define ALLOC_NAME malloc
#define FREE_NAME free
#include "tests/leakers/signal_safe.h"
#include "tests/leakers/whole_stacks.h"

/* The rest of the family, without which a static program gets the C library's. */
void *calloc(size_t cnt, size_t bytes)
{
	return malloc(cnt * bytes); /* the pool is never used twice */
}

void *realloc(void *old, size_t bytes)
{
	void *p = malloc(bytes);

	LEAKER_CHECK(!old);
	return p;
}

#define SIGNALS 4000
#define IN_WORK " < work < main" BELOW_MAIN

/*
 * Some code has no unwind information and cannot be given any: a static program's PLT, musl's
 * sigsetjmp (which pops its own return address), a few ends of functions. When a signal interrupts
 * just that, the stack ends there and says so.
 */
#ifdef ODD_LIBC
#define MAY_END "[complete|no-rule] "
#define FROM(functions) "**"
#else
/* glibc's lazy binding keeps its caller's place in a register that few frames tell of. */
#define MAY_END "[complete|odd-rule] "
#define FROM(functions) "*:(unnamed)|*@plt|" functions IN_WORK
#endif

/* Where the program is, and which of its functions can be on the stack then. */
#define PLACES(PLACE)                                                                              \
	PLACE(work, "")                                                                            \
	PLACE(leaf, "step_leaf")                                                                   \
	PLACE(saves, "step_saves|step_leaf")                                                       \
	PLACE(room, "step_room|step_leaf")                                                         \
	PLACE(variable, "step_variable|step_leaf")                                                 \
	PLACE(aligned, "step_aligned|step_leaf")                                                   \
	PLACE(recursive, "step_recursive")                                                         \
	PLACE(strings, "step_strings")                                                             \
	PLACE(sort, "step_sort|compare|malloc|free")                                               \
	PLACE(print, "step_print")                                                                 \
	PLACE(vdso, "step_vdso")                                                                   \
	PLACE(syscall, "step_syscall")                                                             \
	PLACE(malloc, "step_malloc|malloc|on_alarm")                                               \
	PLACE(free, "step_free|free|malloc")

enum place {
#define PLACE(name, functions) AT_##name,
	PLACES(PLACE)
#undef PLACE
		PLACE_CNT
};

static struct site handler_sites[PLACE_CNT] = {
#define PLACE(place, functions)                                                                    \
	[AT_##place] = {.name = MAY_END "signal_in_" #place " < on_alarm < " FROM(functions)},
	PLACES(PLACE)
#undef PLACE
};

static struct site nested_sites[PLACE_CNT] = {
#define PLACE(place, functions)                                                                    \
	[AT_##place] = {.name = MAY_END "nested_in_" #place                                        \
					" < on_nested < ** < on_alarm < " FROM(functions)},
	PLACES(PLACE)
#undef PLACE
};

static struct site malloc_site = {.name = "step_malloc" IN_WORK};
static struct site free_site = {.name = "step_free" IN_WORK};
static char alt_stack[64 << 10];
static volatile enum place place;
static volatile bool active, jumps;
static sigjmp_buf out;
static volatile long handled;
static volatile long sink;

/* The handlers allocate in a function of the place, so that each stack tells what it should hold.
 */
#define PLACE(place, functions)                                                                    \
	SITE_FN static void *signal_in_##place(size_t bytes)                                       \
	{                                                                                          \
		return note_alloc(&handler_sites[AT_##place], malloc(bytes), bytes);               \
	}                                                                                          \
                                                                                                   \
	SITE_FN static void *nested_in_##place(size_t bytes)                                       \
	{                                                                                          \
		return note_alloc(&nested_sites[AT_##place], malloc(bytes), bytes);                \
	}
PLACES(PLACE)
#undef PLACE

static void *(*const take_signal[PLACE_CNT])(size_t bytes) = {
#define PLACE(place, functions) [AT_##place] = signal_in_##place,
	PLACES(PLACE)
#undef PLACE
};

static void *(*const take_nested[PLACE_CNT])(size_t bytes) = {
#define PLACE(place, functions) [AT_##place] = nested_in_##place,
	PLACES(PLACE)
#undef PLACE
};

static void on_nested(int sig)
{
	void *p = take_nested[place](24);

	(void)sig;
	KEEP(p);
}

static void on_alarm(int sig)
{
	int saved_errno = errno;
	void *p;

	(void)sig;
	if (!active)
		return;
	p = take_signal[place](40);
	KEEP(p);
	if (++handled % 4 == 0)
		raise(SIGUSR1);
	if (jumps && inside && place == AT_malloc) {
		inside = 0;
		siglongjmp(out, 1);
	}
	errno = saved_errno;
}

SITE_FN static long step_leaf(long a)
{
	return a * 3 + 1;
}

/* As many registers as there are to save. */
SITE_FN static long step_saves(long a, long b, long c, long d)
{
	long e = a ^ b, f = b ^ c, g = c ^ d, h = step_leaf(a);

	return a + b + c + d + e + f + g + h + step_leaf(h);
}

SITE_FN static long step_room(long a)
{
	volatile char room[5000];

	room[a & 4095] = 1;
	return step_leaf(a) + room[a & 4095];
}

SITE_FN static long step_variable(size_t n)
{
	char *room = alloca(n);
	long sum;

	room[0] = room[n - 1] = 1;
	sum = step_leaf((long)n);
	KEEP(room);
	return sum + room[0];
}

SITE_FN static long step_aligned(long a, long b, long c, long d, long e, long f, long g)
{
	_Alignas(64) volatile char room[64];

	room[a & 63] = 1;
	return step_leaf(a) + b + c + d + e + f + g + room[a & 63];
}

SITE_FN static long step_recursive(long levels)
{
	long below;

	if (levels <= 0)
		return 0;
	below = step_recursive(levels - 1);
	KEEP(below);
	return below + levels;
}

SITE_FN static long step_strings(void)
{
	static char from[700], to[800];

	memset(from, 'x', sizeof(from) - 1);
	memcpy(to, from, sizeof(from));
	return (long)strlen(to) + strcmp(from, to) + (strchr(to, 'y') != NULL);
}

SITE_FN static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

SITE_FN static long step_sort(void)
{
	int numbers[40];

	for (int i = 0; i < 40; i++)
		numbers[i] = i * 17 % 40;
	qsort(numbers, 40, sizeof(int), compare);
	return numbers[3];
}

SITE_FN static long step_print(void)
{
	char text[100];

	return snprintf(text, sizeof(text), "%d %s %lx %c", 12345, "text", sink, 'c');
}

SITE_FN static long step_vdso(void)
{
	struct timespec now = {0};

	for (int i = 0; i < 20; i++)
		clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_nsec;
}

SITE_FN static long step_syscall(void)
{
	return getppid() + (handled % 64 ? 0 : usleep(1));
}

SITE_FN static long step_malloc(size_t bytes)
{
	void *p = note_alloc(&malloc_site, malloc(bytes), bytes);

	KEEP(p);
	return p != NULL;
}

SITE_FN static long step_free(size_t bytes)
{
	void *p = note_alloc(&free_site, malloc(bytes), bytes);

	KEEP(p);
	note_free(&free_site, bytes);
	free(p);
	return p != NULL;
}

#define STEP(where, call)                                                                          \
	do {                                                                                       \
		place = AT_##where;                                                                \
		sink += (call);                                                                    \
		place = AT_work;                                                                   \
	} while (0)

SITE_FN static void work(void)
{
	active = true;
	for (volatile long round = 0; handled < SIGNALS; round++) {
		for (int i = 0; i < 50; i++) {
			STEP(leaf, step_leaf(round));
			STEP(saves, step_saves(round, i, 3, 4));
			STEP(room, step_room(round));
			STEP(variable, step_variable(100 + (size_t)i));
			STEP(aligned, step_aligned(round, 1, 2, 3, 4, 5, 6));
		}
		STEP(recursive, step_recursive(30));
		STEP(strings, step_strings());
		STEP(sort, step_sort());
		STEP(print, step_print());
		STEP(vdso, step_vdso());
		if (round % 8 == 0)
			STEP(syscall, step_syscall());
		if (round % 8 == 0) {
			if (!sigsetjmp(out, 1))
				STEP(malloc, step_malloc(64));
			place = AT_work;
			STEP(free, step_free(64));
		}
		LEAKER_CHECK(pool_used < POOL_BYTES - (1 << 20));
	}
	active = false;
}

static void start_timer(bool use_alt_stack)
{
	struct itimerval every = {.it_interval.tv_usec = 200, .it_value.tv_usec = 200};
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	stack_t stack = {.ss_sp = alt_stack, .ss_size = sizeof(alt_stack)};

	if (use_alt_stack) {
		LEAKER_CHECK(!sigaltstack(&stack, NULL));
		action.sa_flags |= SA_ONSTACK;
	}
	LEAKER_CHECK(!sigaction(SIGALRM, &action, NULL));
	action.sa_handler = on_nested;
	LEAKER_CHECK(!sigaction(SIGUSR1, &action, NULL));
	LEAKER_CHECK(!setitimer(ITIMER_REAL, &every, NULL));
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "plain");
	struct itimerval never = {0};

	spin_rounds = 30;
	leaker__ready(argc, argv);
	jumps = !strcmp(mode, "jump");
	start_timer(!strcmp(mode, "altstack"));
	work();
	setitimer(ITIMER_REAL, &never, NULL);
	leaker__stacks(handler_sites, PLACE_CNT);
	leaker__stacks(nested_sites, PLACE_CNT);
	leaker__stacks(&malloc_site, 1);
	leaker__stacks(&free_site, 1);
	leaker__done();
	return 0;
}
