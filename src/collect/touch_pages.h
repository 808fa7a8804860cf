/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The samples of one space: where they are now, and how much of them is left. */
#ifndef LEAKSWEEP_COLLECT_TOUCH_PAGES_H
#define LEAKSWEEP_COLLECT_TOUCH_PAGES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/touch.h"
#include "util/array.h"

/* bpf/sample.bpf.h: certainty */
#define TOUCH_P_ONE 4294967296.0

enum touch_state {
	TOUCH_UNCHECKED = 0,
	TOUCH_HELD = 1, /* some of it is */
	TOUCH_GONE = 2,
};

struct touch_sample {
	struct touch_page_key key; /* of the kernel's table, addr 0 = is not in it ... */
	uint64_t addr;		   /* ... and where it is now */
	struct touch_page page;	   /* time_ns: since when it is there */
	uint8_t state;		   /* enum touch_state */
	double held_bytes;	   /* of page.bytes */
};

struct touch_samples {
	ARRAY(struct touch_sample) list;
};

struct touch_moves {
	ARRAY(struct touch_move) list; /* in the order of time */
};

/*
 * Brings samples to where mremap has taken their pages, in the order of the moves of their space;
 * others' are ignored. What was displaced is added if it had moved before. Returns 0 or -ENOMEM.
 */
int touch_samples__move(struct touch_samples *samples, const struct touch_moves *moves,
			uint32_t space);

/*
 * Orders the samples by address; those whose pages later ones have replaced lose what these stand
 * for. To be called after the pages were looked up.
 */
void touch_samples__settle(struct touch_samples *samples);

/*
 * Looks up in /proc/PID/pagemap what the process still has of each sample, for `limit_ns` (0 = no
 * limit) at most; of a few dozen however long they take, as nothing looked up would tell nothing.
 * `zero_frame`: page frame that reading untouched memory maps, 0 = not known. Returns 0, -ESRCH,
 * -EPERM or another negative errno.
 */
int touch_samples__check(struct touch_samples *samples, pid_t pid, uint64_t zero_frame,
			 uint64_t limit_ns);

/* Returns the frame of the page of zeros, 0 when the kernel does not tell (no CAP_SYS_ADMIN). */
uint64_t touch_zero_frame(void);

#endif
