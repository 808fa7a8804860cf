/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames that are not of a constant size, or whose caller is not where it usually is.
 *   odd_frames sizes       alloca, arrays of variable length, over-aligned locals, big frames
 *   odd_frames noreturn    the last instruction of a function is a call
 *   odd_frames deep N      recursion deeper than the N frames of a stack that are kept
 *   odd_frames callbacks   the C library calls back: qsort, bsearch, pthread_once
 *   odd_frames exit        handlers that run after main
 *   odd_frames start       constructors that run before main (glibc passes them the arguments)
 *   odd_frames contexts    makecontext, swapcontext
 */
#include <alloca.h>
#include <pthread.h>
#include <setjmp.h>
#if defined(__GLIBC__)
#include <execinfo.h>
#include <ucontext.h>
#endif

#include "tests/leakers/whole_stacks.h"

#define ROUNDS 100
#define IN_MAIN " < main" BELOW_MAIN

/* A function `take_<name>` that allocates for a site. */
#define TAKE(take, site)                                                                           \
	SITE_FN static void *take(size_t bytes)                                                    \
	{                                                                                          \
		void *p = note_alloc(site, malloc(bytes), bytes);                                  \
                                                                                                   \
		KEEP(p);                                                                           \
		return p;                                                                          \
	}

/* ---- sizes ----------------------------------------------------------------------------------- */

static struct site alloca_site = {.name = "take_alloca < in_alloca < sizes" IN_MAIN},
		   array_site = {.name = "take_array < in_array < sizes" IN_MAIN},
		   aligned_site = {.name = "take_aligned < in_aligned < sizes" IN_MAIN},
		   arguments_site = {.name = "take_arguments < in_arguments < sizes" IN_MAIN},
		   both_site = {.name = "take_both < in_both < sizes" IN_MAIN},
		   big_site = {.name = "take_big < in_big < sizes" IN_MAIN},
		   all_site = {.name = "take_all < in_big_2 < in_both_2 < in_arguments_2 < "
				       "in_array_2 < in_alloca_2 < sizes" IN_MAIN};

TAKE(take_alloca, &alloca_site)
TAKE(take_array, &array_site)
TAKE(take_aligned, &aligned_site)
TAKE(take_arguments, &arguments_site)
TAKE(take_both, &both_site)
TAKE(take_big, &big_site)
TAKE(take_all, &all_site)

SITE_FN static long in_alloca(size_t n)
{
	char *room = alloca(n);
	void *p;

	memset(room, 1, n);
	p = take_alloca(n);
	KEEP(p);
	return room[n / 2];
}

SITE_FN static long in_array(size_t n)
{
	long room[n];
	void *p;

	memset(room, 0, sizeof(room));
	p = take_array(n);
	KEEP(p);
	return room[n / 2];
}

SITE_FN static long in_aligned(size_t n)
{
	_Alignas(64) volatile char room[128];
	void *p;

	room[n % 128] = 1;
	p = take_aligned(n);
	KEEP(p);
	return room[n % 128];
}

/* Arguments on the stack, which is realigned: a register leads to the CFA, kept in the frame. */
SITE_FN static long in_arguments(size_t n, long b, long c, long d, long e, long f, long g, long h)
{
	_Alignas(64) volatile char room[192];
	void *p;

	room[n % 128] = 1;
	p = take_arguments(n);
	KEEP(p);
	return room[n % 128] + b + c + d + e + f + g + h;
}

SITE_FN static long in_both(size_t n, long b, long c, long d, long e, long f, long g, long h)
{
	_Alignas(128) volatile char room[192];
	char *more = alloca(n);
	void *p;

	memset(more, 1, n);
	room[n % 128] = 1;
	p = take_both(n);
	KEEP(p);
	return more[n / 2] + room[n % 128] + b + c + d + e + f + g + h;
}

SITE_FN static long in_big(size_t n)
{
	volatile char room[200000];
	void *p;

	room[n] = 1;
	room[199999 - n] = 2;
	p = take_big(n);
	KEEP(p);
	return room[n];
}

SITE_FN static long in_big_2(size_t n)
{
	volatile char room[100000];
	void *p;

	room[n] = 1;
	p = take_all(n);
	KEEP(p);
	return room[n];
}

SITE_FN static long in_both_2(size_t n, long b, long c, long d, long e, long f, long g, long h)
{
	_Alignas(64) volatile char room[192];
	char *more = alloca(n);
	long sum;

	memset(more, 1, n);
	room[n % 128] = 1;
	sum = in_big_2(n);
	return sum + more[n / 2] + room[n % 128] + b + c + d + e + f + g + h;
}

SITE_FN static long in_arguments_2(size_t n, long b, long c, long d, long e, long f, long g, long h)
{
	_Alignas(64) volatile char room[64];
	long sum;

	room[n % 64] = 1;
	sum = in_both_2(n, b, c, d, e, f, g, h);
	return sum + room[n % 64] + h;
}

SITE_FN static long in_array_2(size_t n)
{
	short room[n + 3];
	long sum;

	memset(room, 0, sizeof(room));
	sum = in_arguments_2(n, 1, 2, 3, 4, 5, 6, room[n]);
	return sum + room[n / 2];
}

SITE_FN static long in_alloca_2(size_t n)
{
	char *room = alloca(3 * n);
	long sum;

	memset(room, 1, 3 * n);
	sum = in_array_2(n);
	return sum + room[n / 2];
}

SITE_FN static void sizes(void)
{
	volatile long sum = 0;

	for (size_t i = 0; i < ROUNDS; i++) {
		sum += in_alloca(16 + 8 * i);
		sum += in_array(16 + 8 * i);
		sum += in_aligned(16 + 8 * i);
		sum += in_arguments(16 + 8 * i, 1, 2, 3, 4, 5, 6, 7);
		sum += in_both(16 + 8 * i, 1, 2, 3, 4, 5, 6, 7);
		sum += in_big(16 + 8 * i);
		sum += in_alloca_2(16 + 8 * i);
	}
	KEEP(sum);
	leaker__stacks(&alloca_site, 1);
	leaker__stacks(&array_site, 1);
	leaker__stacks(&aligned_site, 1);
	leaker__stacks(&arguments_site, 1);
	leaker__stacks(&both_site, 1);
	leaker__stacks(&big_site, 1);
	leaker__stacks(&all_site, 1);
}

/* ---- noreturn -------------------------------------------------------------------------------- */

static struct site jump_site = {.name = "jump_out < last_word < noreturn" IN_MAIN},
		   bare_site = {.name = "jump_out_bare < bare_last_word < noreturn" IN_MAIN};
static jmp_buf out;

SITE_FN __attribute__((noreturn)) static void jump_out(size_t bytes)
{
	void *p = note_alloc(&jump_site, malloc(bytes), bytes);

	KEEP(p);
	longjmp(out, 1);
}

SITE_FN __attribute__((noreturn)) static void last_word(size_t bytes)
{
	volatile char room[88];

	room[bytes % 88] = 1;
	jump_out(bytes + room[bytes % 88] - 1);
}

void bare_last_word(size_t bytes);
void jump_out_bare(size_t bytes);

SITE_FN __attribute__((noreturn)) void jump_out_bare(size_t bytes)
{
	void *p = note_alloc(&bare_site, malloc(bytes), bytes);

	KEEP(p);
	longjmp(out, 1);
}

#if defined(__x86_64__)
/* The return address is the first byte of another function, with a frame of another size. */
__asm__(".text\n"
	".type bare_last_word, @function\n"
	"bare_last_word:\n"
	".cfi_startproc\n"
	"	push %rbx\n"
	".cfi_adjust_cfa_offset 8\n"
	".cfi_rel_offset %rbx, 0\n"
	"	sub $48, %rsp\n"
	".cfi_adjust_cfa_offset 48\n"
	"	call jump_out_bare\n"
	".cfi_endproc\n"
	".size bare_last_word, . - bare_last_word\n"
	".type wrong_neighbour, @function\n"
	"wrong_neighbour:\n"
	".cfi_startproc\n"
	".cfi_def_cfa_offset 4096\n"
	"	ud2\n"
	".cfi_endproc\n"
	".size wrong_neighbour, . - wrong_neighbour\n");
#else
SITE_FN void bare_last_word(size_t bytes)
{
	jump_out_bare(bytes);
}
#endif

SITE_FN static void noreturn(void)
{
	for (volatile size_t i = 0; i < ROUNDS; i++) {
		if (!setjmp(out))
			last_word(20 + i);
		if (!setjmp(out))
			bare_last_word(20 + i);
	}
	leaker__stacks(&jump_site, 1);
	leaker__stacks(&bare_site, 1);
}

/* ---- deep ------------------------------------------------------------------------------------ */

static struct site deep_site, edge_site, over_site;
static char deep_name[16384], edge_name[16384], over_name[16384];
static size_t max_frames;

SITE_FN static long descend(size_t levels, struct site *site, size_t bytes)
{
	long below;

	if (!levels) {
		void *p = note_alloc(site, malloc(bytes), bytes);

		KEEP(p);
		return 1;
	}
	below = descend(levels - 1, site, bytes);
	KEEP(below);
	return below + 1;
}

SITE_FN static void deep_2(size_t levels, struct site *site, size_t bytes)
{
	volatile long sum = descend(levels - 1, site, bytes);

	KEEP(sum);
}

static void name_deep(char *name, const char *begin, size_t levels, const char *end)
{
	strcpy(name, begin);
	for (size_t i = 1; i < levels; i++)
		strcat(name, " < descend");
	strcat(name, end);
}

/* How many frames the C library has below main. */
SITE_FN static size_t count_below_main(void)
{
#if defined(__GLIBC__)
	void *frames[32];

	return (size_t)backtrace(frames, 32) - 3; /* we, deep, main */
#else
	return 0;
#endif
}

SITE_FN static void deep(void)
{
	size_t below = count_below_main(), edge = max_frames - 3 - below;

	LEAKER_CHECK(max_frames > 20 && max_frames < 1000);
	deep_site.name = deep_name;
	name_deep(deep_name, "[truncated] descend", max_frames, "");
	for (size_t i = 0; i < ROUNDS; i++)
		deep_2(max_frames + 20 + 3 * i, &deep_site, 32);
	leaker__stacks(&deep_site, 1);
	if (!below)
		return;
	/* Exactly as many as can be kept, and one more. */
	edge_site.name = edge_name;
	name_deep(edge_name, "descend", edge, " < deep_2 < deep" IN_MAIN);
	over_site.name = over_name;
	name_deep(over_name, "[truncated] descend", edge + 1, " < deep_2 < deep < main < *");
	for (size_t i = 0; i < ROUNDS; i++) {
		deep_2(edge, &edge_site, 40);
		deep_2(edge + 1, &over_site, 48);
	}
	leaker__stacks(&edge_site, 1);
	leaker__stacks(&over_site, 1);
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static struct site sort_site = {.name = "take_sort < compare_sort < ** < callbacks" IN_MAIN},
		   search_site = {.name = "take_search < compare_search < ** < callbacks" IN_MAIN},
		   once_site = {.name = "take_once < run_once < ** < callbacks" IN_MAIN};

TAKE(take_sort, &sort_site)
TAKE(take_search, &search_site)
TAKE(take_once, &once_site)

SITE_FN static int compare_sort(const void *a, const void *b)
{
	void *p = take_sort(24);

	KEEP(p);
	return *(const int *)a - *(const int *)b;
}

SITE_FN static int compare_search(const void *a, const void *b)
{
	void *p = take_search(32);

	KEEP(p);
	return *(const int *)a - *(const int *)b;
}

SITE_FN static void run_once(void)
{
	void *p = take_once(4096);

	KEEP(p);
}

SITE_FN static void callbacks(void)
{
	static int numbers[64], key = 5;
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 64; i++)
			numbers[i] = (i * 37 + round) % 64;
		qsort(numbers, 64, sizeof(int), compare_sort);
		LEAKER_CHECK(bsearch(&key, numbers, 64, sizeof(int), compare_search));
	}
	LEAKER_CHECK(!pthread_once(&once, run_once));
	leaker__stacks(&sort_site, 1);
	leaker__stacks(&search_site, 1);
	leaker__stacks(&once_site, 1);
}

/* ---- before and after main ------------------------------------------------------------------- */

static struct site start_site = {.name = "take_start < before_main" BELOW_MAIN},
		   handler_site = {.name = "take_handler < at_exit_handler" BELOW_MAIN},
		   called_site = {.name = "take_called < at_exit_called < ** < leave" IN_MAIN},
		   end_site = {.name = "take_end < behind_main" BELOW_MAIN},
		   end_called_site = {.name = "take_end_called < behind_main < ** < leave" IN_MAIN};
static bool exits, left;

TAKE(take_start, &start_site)
TAKE(take_handler, &handler_site)
TAKE(take_called, &called_site)
TAKE(take_end, &end_site)
TAKE(take_end_called, &end_called_site)

#if defined(__GLIBC__) && !defined(STATIC_LIBC)
/* Runs before main, which then finds everything done. */
SITE_FN __attribute__((constructor(101))) static void before_main(int argc, char **argv)
{
	void *p;

	if (argc < 2 || strcmp(argv[1], "start"))
		return;
	leaker__ready(argc, argv);
	for (size_t i = 0; i < ROUNDS; i++) {
		p = take_start(50);
		KEEP(p);
	}
}
#endif

SITE_FN static void at_exit_handler(void)
{
	for (size_t i = 0; i < ROUNDS; i++) {
		void *p = take_handler(60);

		KEEP(p);
	}
}

SITE_FN static void at_exit_called(void)
{
	for (size_t i = 0; i < ROUNDS; i++) {
		void *p = take_called(60);

		KEEP(p);
	}
}

/* The last to run. */
SITE_FN __attribute__((destructor(101))) static void behind_main(void)
{
	void *p;

	if (!exits)
		return;
	for (size_t i = 0; i < ROUNDS; i++) {
		p = left ? take_end_called(70) : take_end(70);
		KEEP(p);
	}
	leaker__stacks(&handler_site, 1);
	leaker__stacks(&called_site, 1);
	leaker__stacks(&end_site, 1);
	leaker__stacks(&end_called_site, 1);
	leaker__done();
}

SITE_FN static void leave(void)
{
	left = true;
	exit(0);
}

/* ---- contexts -------------------------------------------------------------------------------- */

#if defined(__GLIBC__)
static struct site inside_site = {.name = "[complete|no-rule] take_inside < step_1 < step_2 < "
					  "coroutine < *:__start_context|(unnamed)"},
		   outside_site = {.name = "take_outside < contexts" IN_MAIN};
static ucontext_t main_context, coroutine_context;
static char coroutine_stack[64 << 10] __attribute__((aligned(16)));

TAKE(take_inside, &inside_site)
TAKE(take_outside, &outside_site)

SITE_FN static long step_1(size_t bytes)
{
	void *p = take_inside(bytes);

	KEEP(p);
	LEAKER_CHECK(!swapcontext(&coroutine_context, &main_context));
	return (long)bytes;
}

SITE_FN static long step_2(size_t bytes)
{
	volatile char room[40];
	long sum;

	room[bytes % 40] = 1;
	sum = step_1(bytes);
	return sum + room[bytes % 40];
}

SITE_FN static void coroutine(void)
{
	volatile long sum = 0;

	for (size_t i = 0; i < ROUNDS; i++)
		sum += step_2(100 + i);
	KEEP(sum);
}

SITE_FN static void contexts(void)
{
	LEAKER_CHECK(!getcontext(&coroutine_context));
	coroutine_context.uc_stack.ss_sp = coroutine_stack;
	coroutine_context.uc_stack.ss_size = sizeof(coroutine_stack);
	coroutine_context.uc_link = &main_context;
	makecontext(&coroutine_context, coroutine, 0);
	for (size_t i = 0; i < ROUNDS; i++) {
		void *p;

		LEAKER_CHECK(!swapcontext(&main_context, &coroutine_context));
		p = take_outside(80);
		KEEP(p);
	}
	leaker__stacks(&inside_site, 1);
	leaker__stacks(&outside_site, 1);
}
#else
static void contexts(void)
{
	LEAKER_CHECK(!"makecontext");
}
#endif

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "sizes");
	static const struct {
		const char *name;
		void (*run)(void);
	} modes[] = {
		{"sizes", sizes},	  {"noreturn", noreturn}, {"deep", deep},
		{"callbacks", callbacks}, {"contexts", contexts},
	};
	if (!strcmp(mode, "start")) {
		leaker__stacks(&start_site, 1);
		leaker__done();
		return 0;
	}
	count_below_main(); /* loads a library the first time */
	max_frames = strtoul(leaker__arg(argc, argv, 2, "0"), NULL, 10);
	leaker__ready(argc, argv);
	if (!strcmp(mode, "exit") || !strcmp(mode, "exit-called")) {
		exits = true;
		LEAKER_CHECK(!atexit(!strcmp(mode, "exit") ? at_exit_handler : at_exit_called));
		if (!strcmp(mode, "exit-called"))
			leave();
		return 0;
	}
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(mode, modes[i].name))
			modes[i].run();
	leaker__done();
	return 0;
}
