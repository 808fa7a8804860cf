/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A timer signal whose handler allocates and frees while the main program is in its own allocator
 * calls. Built twice: `signals` calls sig_alloc/sig_free, to be named by option; `signals-malloc`
 * exports its allocator as malloc/free. signals plain | altstack | jump `jump`: the handler leaves
 * an allocation by siglongjmp, so that the call never returns.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

#ifndef ALLOC_NAME
#define ALLOC_NAME sig_alloc
#define FREE_NAME sig_free
#endif
#include "tests/leakers/leaker.h"
#include "tests/leakers/signal_safe.h"

enum { S_MAIN, S_MAIN_CHURN, S_HANDLER, S_HANDLER_CHURN, SITE_CNT };

static struct site sites[SITE_CNT] = {
	[S_MAIN] = {.name = "main_keeps"},
	[S_MAIN_CHURN] = {.name = "main_churns"},
	[S_HANDLER] = {.name = "handler_keeps"},
	[S_HANDLER_CHURN] = {.name = "handler_churns"},
};

static char alt_stack[64 << 10];
static volatile long handled, nested, jumped;
static volatile bool stop, jumps;
static sigjmp_buf out;

SITE_FN static void *main_keeps(size_t bytes)
{
	return note_alloc(&sites[S_MAIN], ALLOC_NAME(bytes), bytes);
}

SITE_FN static void *main_churns(size_t bytes)
{
	return note_alloc(&sites[S_MAIN_CHURN], ALLOC_NAME(bytes), bytes);
}

SITE_FN static void *handler_keeps(size_t bytes)
{
	return note_alloc(&sites[S_HANDLER], ALLOC_NAME(bytes), bytes);
}

SITE_FN static void *handler_churns(size_t bytes)
{
	return note_alloc(&sites[S_HANDLER_CHURN], ALLOC_NAME(bytes), bytes);
}

SITE_FN static void give_back(struct site *site, void *p, size_t bytes)
{
	note_free(site, bytes);
	FREE_NAME(p);
	KEEP(p);
}

static void on_alarm(int sig)
{
	void *p;

	(void)sig;
	if (stop)
		return;
	handled++;
	if (inside) {
		nested++;
		/* Only out of an allocation: a free has happened as soon as it was called. */
		if (jumps && handled % 2) {
			inside = 0;
			jumped++;
			siglongjmp(out, 1);
		}
	}
	handler_keeps(40);
	p = handler_churns(72);
	give_back(&sites[S_HANDLER_CHURN], p, 72);
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
	LEAKER_CHECK(!setitimer(ITIMER_REAL, &every, NULL));
}

static void work_until(long enough)
{
	volatile size_t round = 0;

	while (handled < enough || nested < enough / 20) {
		void *p;

		round++;
		main_keeps(24);
		p = main_churns(100);
		give_back(&sites[S_MAIN_CHURN], p, 100);
		LEAKER_CHECK(pool_used < POOL_BYTES - (1 << 20));
	}
}

/*
 * With jumps the main program only keeps blocks: a call that was left by siglongjmp never returned,
 * so nobody owns its block, and it is not in the books either, which are written after the return.
 */
static void jump_until(long enough)
{
	while (jumped < enough) {
		if (sigsetjmp(out, 1))
			continue;
		main_keeps(24);
		LEAKER_CHECK(pool_used < POOL_BYTES - (1 << 20));
	}
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "plain");
	struct itimerval never = {0};

	jumps = !strcmp(mode, "jump");
	leaker__ready(argc, argv);
	start_timer(!strcmp(mode, "altstack"));
	if (jumps)
		jump_until(300);
	else
		work_until(3000);
	stop = true;
	setitimer(ITIMER_REAL, &never, NULL);
	leaker__expect(sites, SITE_CNT);
	leaker__done();
	return 0;
}
