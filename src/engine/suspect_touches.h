/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the memory that suspects gain is first touched (collect/touches.h). */
#ifndef LEAKSWEEP_ENGINE_SUSPECT_TOUCHES_H
#define LEAKSWEEP_ENGINE_SUSPECT_TOUCHES_H

#include "engine/suspects_state.h"

/* Begins to watch a suspect; where the kernel does not let it, nothing will be told. */
void suspect_touches__watch(struct suspects *suspects, struct suspect *suspect);

/* Spends what its samples have cost since the last time, and takes fewer if that is too much. */
void suspect_touches__bill(struct suspects *suspects, struct suspect *suspect);

/* Ends that. */
void suspect_touches__end(struct suspects *suspects, struct suspect *suspect);

/* Adds what is known to the sweep. Returns 0 or -ENOMEM. */
int suspect_touches__tell(struct suspects *suspects, struct suspect *suspect, struct sweep *sweep,
			  struct sweep_code *code);

#endif
