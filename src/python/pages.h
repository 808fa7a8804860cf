/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages of another process are in memory: only those are read. Reading one that is swapped
 * out would bring it back, at the cost of the process; one that was never touched holds nothing.
 */
#ifndef LEAKSWEEP_PYTHON_PAGES_H
#define LEAKSWEEP_PYTHON_PAGES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/array.h"

struct page_run {
	uint64_t start, end; /* addresses */
};

struct page_runs {
	ARRAY(struct page_run) list; /* by address, no two of them touch */
	uint64_t swapped_bytes;
};

struct page_map {
	int fd;
	bool no_scan; /* the kernel does not know PAGEMAP_SCAN (before 6.7) */
	uint64_t page_bytes;
};

/* Opens /proc/PID/pagemap. Returns 0, -ESRCH, -EPERM or another negative errno. */
int page_map__open(pid_t pid, struct page_map *ret);
void page_map__close(struct page_map *map);

/*
 * Lists what is in memory of [start, end), whole pages; *runs is begun anew and keeps its room, the
 * caller frees its list. Returns 0, -ESRCH (the process has ended), -ENOMEM or another negative
 * errno.
 */
int page_map__list(struct page_map *map, uint64_t start, uint64_t end, struct page_runs *runs);

#endif
