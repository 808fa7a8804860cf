/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which signals end a run. */
#ifndef LEAKSWEEP_UTIL_SIGNALS_H
#define LEAKSWEEP_UTIL_SIGNALS_H

#include <signal.h>
#include <stddef.h>

/* Fills *ret with SIGINT, SIGTERM and SIGHUP, without those that are ignored: nohup(1), or the
 * shell of a background job, has said that they end nothing. Blocked, they would come all the same.
 */
static inline void end_signals(sigset_t *ret)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction old;

	sigemptyset(ret);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (!sigaction(signals[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaddset(ret, signals[i]);
}

#endif
