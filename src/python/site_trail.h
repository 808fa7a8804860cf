/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Goes against the direction of control from an instruction, along every way that leads there, to
 * where a register that it uses was loaded from memory: the first argument of a call, say.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_TRAIL_H
#define LEAKSWEEP_PYTHON_SITE_TRAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/site_sources.h"
#include "python/site_window.h"

#define TRAIL_CONTEXT 16 /* instructions in front of the load */
#define MAX_TRAIL (MAX_WINDOW - TRAIL_CONTEXT)

/* Where the argument is kept: a register, or a word of the stack. */
struct trail_home {
	uint8_t reg;  /* enum gpr; GPR_NONE = it is on the stack */
	int32_t slot; /* displacement from rsp */
};

struct trail_step {
	size_t at;
	struct trail_home home; /* when the instruction has run */
	size_t option;		/* which way in front of it is the next to be tried */
};

struct site_trail {
	const struct site_sources *sources; /* borrowed */
	struct trail_step steps[MAX_TRAIL]; /* the instruction is the first */
	size_t cnt;
	unsigned int budget; /* steps that may still be made */
	size_t places[MAX_WINDOW];
	size_t place_cnt;
	size_t load; /* which of them loads it */
};

#define MAX_TRAIL_STEPS 3000 /* enough for all calls that are known */

/* Begins in front of the instruction at `at`; no more than `budget` steps are made. */
void site_trail__begin(struct site_trail *trail, const struct site_sources *sources, size_t at,
		       enum gpr reg, unsigned int budget);

/*
 * Finds the next way: `places` are its instructions in the direction of control, from some in front
 * of the load on. Whether they do what they look like is left to site_window__run. Returns false
 * when there are no more.
 */
bool site_trail__next(struct site_trail *trail);

#endif
