/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The windows of suspects: what the plan orders, done with real probes, and what they tell. */
#ifndef LEAKSWEEP_ENGINE_SUSPECT_WINDOWS_H
#define LEAKSWEEP_ENGINE_SUSPECT_WINDOWS_H

#include "engine/suspects_state.h"

/* Looks at the window that is open, if one is, and closes it when it is over. *ret_due_ns as below.
 * Returns 0 or a negative errno. */
int suspect_windows__watch(struct suspects *suspects, uint64_t now_ns, uint64_t *ret_due_ns);

/* Does what is due while no window is open. *ret_due_ns is when the next thing is, at the latest.
 * Returns 0 or a negative errno. */
int suspect_windows__work(struct suspects *suspects, uint64_t now_ns, uint64_t *ret_due_ns);

/* Takes a suspect's probes away, if it has any; what they have seen since they were read last is
 * lost. */
void suspect_windows__end(struct suspects *suspects, struct suspect *suspect);

/*
 * Closes the window that is open, as nobody will watch it for a while; if that is long, takes the
 * probes of exact tracing away, too, until there is work again. Drops nobody. Returns 0 or a
 * negative errno.
 */
int suspect_windows__pause(struct suspects *suspects, bool is_long);

/* Tells what there is at this moment. Returns 0, -ESRCH or another negative errno. */
int suspect_windows__moment(const struct suspects *suspects, const struct suspect *suspect,
			    struct suspect_moment *ret);

#endif
