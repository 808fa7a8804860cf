/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the kernel side's tables to a cohort (model/cohort.h): what has happened in a window to the
 * blocks of one space. Entries of the table of live blocks that the cohort remembers stay there
 * over the windows, so that a later one sees their ends; all others of the space are removed.
 */
#ifndef LEAKSWEEP_COLLECT_WINDOW_BLOCKS_H
#define LEAKSWEEP_COLLECT_WINDOW_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/attacher.h"
#include "collect/collector.h"
#include "model/cohort.h"
#include "util/array.h"
#include "util/hashmap.h"

/* What a stack has asked for. */
struct asked_sum {
	uint64_t cnt, bytes;
};

struct asked_sums {
	ARRAY(struct asked_sum) list;
	struct hashmap index; /* {stack, layer} -> index; stacks as the kernel side has them */
};

/* Of one space. Zero-initialise; free with window_blocks__free. */
struct window_blocks {
	struct asked_sums asked; /* ever, when a window was read last */
	uint64_t calls;		 /* allocations in that window */
};

void window_blocks__free(struct window_blocks *blocks);

/*
 * Tells `cohort` of a window that is over and of what the tables say of it. `collector` knows which
 * stacks are one. `goes_on`: probes are still there, and what is born after the window belongs to
 * the next one. Returns 0 or a negative errno.
 */
int window_blocks__read(struct window_blocks *blocks, const struct map_fds *maps,
			struct collector *collector, uint32_t space,
			const struct cohort_window *window, bool goes_on, struct cohort *cohort);

#endif
