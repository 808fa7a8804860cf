/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the memory that suspects gain is first touched (collect/touches.h). */
#ifndef LEAKSWEEP_ENGINE_SUSPECT_TOUCHES_H
#define LEAKSWEEP_ENGINE_SUSPECT_TOUCHES_H

#include "engine/suspects_state.h"

/* Begins to watch a suspect, unless that is too dear just now; where the kernel does not let it,
 * nothing will be told. */
void suspect_touches__watch(struct suspects *suspects, struct suspect *suspect);

/*
 * Spends what samples, and runs of the programs for threads of the whole host, have cost since the
 * last time; to be called often. Takes fewer samples of whom there are many. When it is
 * more than a quarter of the budget (or 1 % of each CPU, where that is 0) and goes on, nobody is
 * watched for some minutes.
 */
void suspect_touches__bill(struct suspects *suspects, uint64_t now_ns);

/* Adds to a report why nobody is watched, if so. Returns 0 or -ENOMEM. */
int suspect_touches__note(const struct suspects *suspects, struct snapshot *snap);

/* Ends that. */
void suspect_touches__end(struct suspects *suspects, struct suspect *suspect);

/* Adds what is known to the sweep. Returns 0 or -ENOMEM. */
int suspect_touches__tell(struct suspects *suspects, struct suspect *suspect, struct sweep *sweep,
			  struct sweep_code *code);

#endif
