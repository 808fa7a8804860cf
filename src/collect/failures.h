/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was found out about refused memory when it was refused, for a snapshot. */
#ifndef LEAKSWEEP_COLLECT_FAILURES_H
#define LEAKSWEEP_COLLECT_FAILURES_H

#include <stdint.h>

/* The limit behind an entry of the map `failures` (include/maps.h). */
struct failure_limit {
	uint32_t space;
	uint32_t cause; /* enum failure_cause */
	uint64_t stack_id;
	const char *limit; /* a sentence, borrowed; "" = not known */
	/* Asked for, where the map does not tell: by what was refused right before a MemoryError.
	 * 0 = not known. */
	uint64_t bytes;
};

#endif
