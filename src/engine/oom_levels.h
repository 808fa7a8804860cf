/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether a control group's limit was reached when the kernel has killed in it, and which of those
 * above it: a kill is counted in the victim's group even when it was the host that ran out. In v2
 * each group counts beside it how often its own limit was reached and nothing could be reclaimed:
 * "oom" of memory.events.local, before Linux 5.2 of memory.events
 * (Documentation/admin-guide/cgroup-v2.rst). In v1 memory.failcnt counts how often a limit was
 * reached at all, as page cache does all the time, and the newer kernels' not when it was that of
 * memory and swap together (cgroup-v1/memory.rst, mm/page_counter.c).
 */
#ifndef LEAKSWEEP_ENGINE_OOM_LEVELS_H
#define LEAKSWEEP_ENGINE_OOM_LEVELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OOM_LEVELS 16 /* of a path, the root included */

struct oom_level {
	uint64_t cnt;	   /* UINT64_MAX = it does not count */
	uint64_t hit_pass; /* in which it was found to have risen, 0 = never */
};

/* Of a group and those above it, the root first; zero-initialise. */
struct oom_levels {
	size_t cnt; /* 0 = nothing is known */
	struct oom_level items[OOM_LEVELS];
};

enum oom_limit {
	OOM_LIMIT_UNKNOWN,
	OOM_LIMIT_HOST,	  /* no group's was reached: of v2 only */
	OOM_LIMIT_GROUP,  /* one was ... */
	OOM_LIMIT_LIKELY, /* ... but there may have been room to reclaim (v1) */
};

/* Reads the counters of the plain path of a group in the hierarchy mounted at `mount`. */
void oom_levels__read(struct oom_levels *levels, const char *mount, bool is_v1, const char *path);

/*
 * Reads them again when a process of the group was killed, as noticed in pass `pass` (not 0). A
 * level that has this pass was reached then. *ret_level is the one nearest to the group that was.
 */
enum oom_limit oom_levels__judge(struct oom_levels *levels, const char *mount, bool is_v1,
				 const char *path, uint64_t pass, size_t *ret_level);

/* Returns the length of the part of a path that is a level's, 0 = that of the root. */
size_t oom_level__len(const char *path, size_t level);

#endif
