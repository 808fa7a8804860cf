/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Picks the instruction to probe: passed exactly when the block is given out or returned, cheap
 * (util/x86_opcode.h), and with the block's address at hand.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_PLACE_H
#define LEAKSWEEP_PYTHON_SITE_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/site_match.h"

struct site_place {
	size_t at;     /* place in the window's area */
	uint8_t place; /* enum python_place */
	uint8_t reg;   /* enum gpr */
	int32_t disp;
	bool is_stepped;
};

/*
 * How good the `index`-th instruction is to tell `block` at, 0 = it cannot be told there. Emulated
 * ones are better than others, whatever else.
 */
#define SITE_PLACE_EMULATED 3 /* and above */
int site_place__rate(const struct site_window *window, struct value block, size_t index,
		     struct site_place *ret);

/* Returns false when there is none: the site cannot be seen. */
bool site_place__choose(const struct site_window *window, const struct site_match *match,
			struct site_place *ret);

#endif
