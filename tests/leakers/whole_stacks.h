/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a leaker tells the stacks that its blocks must be found under. The name of such a site is the
 * stack, leaf first:
 *
 *   "grab < middle < main < * < _start"
 *
 * A name may have wildcards and alternatives ("left|right", "std::vector<?>::*"; "?" stands for
 * characters that are special otherwise). "*" alone is any number of frames outside of the
 * program's own file, "*:left|right" of such frames and of these, "**" of any frames. "(unnamed)"
 * is code that has no name.
 * "[no-rule] grab" is a stack that ends so, instead of "complete";
 * there can be alternatives, too.
 *
 *   leaker -> test   STACK {json}    one line for each stack and process
 */
#ifndef LEAKSWEEP_TESTS_WHOLE_STACKS_H
#define LEAKSWEEP_TESTS_WHOLE_STACKS_H

#include "tests/leakers/leaker.h"

/* What lies below main, and below a thread's function. */
#ifdef STATIC_LIBC
#define BELOW_MAIN " < ** < _start"
#define BELOW_THREAD " < start_thread|start < clone|clone3|__clone|__clone3"
#else
#define BELOW_MAIN " < * < _start"
#define BELOW_THREAD " < *"
#endif

/* What the C library allocates for a new thread. */
#define THREADS_THEMSELVES                                                                         \
	"*:allocate_dtv|_dl_allocate_tls|allocate_stack|__pthread_create*|pthread_create"

/* Says STACK for each site that has allocated. */
static inline void leaker__stacks(const struct site *sites, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		if (!sites[i].alloc_count && !sites[i].inherited_count)
			continue;
		leaker__add("STACK {\"pid\":%d,\"frames\":\"%s\",", (int)getpid(), sites[i].name);
		leaker__add_totals(&sites[i]);
		leaker__add("}\n");
		leaker__flush();
	}
}

/* Says that there can be stacks like this, of a library's own affairs. */
static inline void leaker__any_stacks(const char *frames)
{
	leaker__add("STACK {\"pid\":%d,\"frames\":\"%s\",\"any\":true}\n", (int)getpid(), frames);
	leaker__flush();
}

/* Instead of DONE in a child: says so by a byte, and stays until the parent lets go. */
#define CHILD_DONE_FD 30
#define CHILD_STAY_FD 31
static inline void leaker__child_done(void)
{
	char c = 0;

	LEAKER_CHECK(write(CHILD_DONE_FD, &c, 1) == 1);
	while (read(CHILD_STAY_FD, &c, 1) < 0 && errno == EINTR)
		;
}

#endif
