/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of control groups, for who wants them again and again: looked up in the runtimes' state
 * when a group is first seen and, as that may be written later and changed, again after 1, 2, 4 ...
 * times its age then, at the latest once a minute.
 */
#ifndef LEAKSWEEP_DISCOVER_NAME_CACHE_H
#define LEAKSWEEP_DISCOVER_NAME_CACHE_H

#include <stdint.h>
#include <sys/stat.h>

#include "discover/cgroup_name.h"

struct name_cache;

/* State is below directory `root`, "/" on a real host; copied. NULL: no memory. */
struct name_cache *name_cache__new(const char *root);
void name_cache__free(struct name_cache *cache);

/*
 * Begins a look at `now_ns`, CLOCK_MONOTONIC: state that is for all containers is read once in it
 * at most. Groups that were not asked for during two minutes are forgotten.
 */
void name_cache__begin(struct name_cache *cache, uint64_t now_ns);

/*
 * Returns in *ret the name of a group: its path as /proc/PID/cgroup has it, and its directory. What
 * the group above is looked up for is not looked up again: the name of a group within a container
 * is only what its path tells. *ret is the cache's and lasts until the next call. Of more than 8192
 * groups the last ones are looked up each time. Returns 0 or -ENOMEM.
 */
int name_cache__get(struct name_cache *cache, const char *path, const struct stat *dir,
		    const struct cgroup_name **ret);

#endif
