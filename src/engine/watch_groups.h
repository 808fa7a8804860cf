/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control groups of watched processes: how much memory each has that is not a cache of files,
 * by files that are kept open, how it grows, what people call it, and how much room is left to it.
 */
#ifndef LEAKSWEEP_ENGINE_WATCH_GROUPS_H
#define LEAKSWEEP_ENGINE_WATCH_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "discover/cgroup_name.h"
#include "engine/oom_levels.h"
#include "model/growth.h"
#include "util/hashmap.h"
#include "util/procfs.h"
#include "util/procfs_memory.h"

#define GROUP_RECENT 6

struct watch_group {
	struct watch_group *next; /* of the same hash */
	char *path;		  /* owned, as proc_cgroup */
	uint32_t refs;		  /* who watches a process of it */
	uint32_t nr;		  /* of those that were made */
	int fd;			  /* of memory.stat, kept open; -1 = opened for each reading */
	uint64_t id;		  /* of the directory that was read last */
	bool is_read;		  /* it has figures */
	bool has_name;
	struct cgroup_name name; /* owned, see watch_group__name */
	uint64_t anon_bytes;	 /* of the group and all below it, swap included */
	uint64_t shmem_bytes;	 /* the same of shared memory and files of tmpfs */
	uint64_t recent_shmem_bytes[GROUP_RECENT]; /* the last samples, in no order */
	uint32_t sample_cnt;
	struct growth growth;	    /* of both ... */
	struct growth shmem_growth; /* ... and of shmem, which no process has */
	/* of a report's growth, what those below it explain */
	double told_per_hour, told_shmem_per_hour;
	bool is_counted; /* its kills were asked for, see engine/watch_kills.h ... */
	bool has_kills;	 /* ... and told: */
	uint64_t kills;
	struct oom_levels ooms;
	struct cgroup_memory limit; /* owned: the nearest one when it was looked for last; no
				       path = there was none */
};

struct watch_groups {
	struct cgroup_mounts mounts;
	char *root;
	struct hashmap index; /* {hash of a path, 0} -> struct watch_group *, the first one */
	size_t cnt;
	uint32_t made_cnt;
	uint64_t pass;
	size_t max_open, open_cnt; /* files; the smallest groups go without */
	uint64_t least_bytes;	   /* from this size on a group has a file kept open */
};

/* Without mounted hierarchies groups have names, but no figures. Returns 0 or -ENOMEM. */
int watch_groups__init(struct watch_groups *groups);

/* The same for hierarchies mounted elsewhere (NULL = none); names are looked up below `root`. */
int watch_groups__init_at(struct watch_groups *groups, const char *unified, const char *memory,
			  const char *root);
void watch_groups__destroy(struct watch_groups *groups);

/* Returns a group of this path, made on first sight, which the caller has to put; NULL = no
 * memory. */
struct watch_group *watch_groups__get(struct watch_groups *groups, const char *path);
void watch_groups__put(struct watch_groups *groups, struct watch_group *group);

/* One more has to put it; NULL is none. Returns the group. */
struct watch_group *watch_group__ref(struct watch_group *group);

/*
 * Reads the memory of each but the one at the root, which is the host; of those without an open
 * file now and then. `now_ns` is CLOCK_MONOTONIC; `has_swap` tells to count what is swapped out.
 * Returns 0 or -ENOMEM.
 */
int watch_groups__sample(struct watch_groups *groups, uint64_t now_ns, bool has_swap);

/* Returns the nearest group above another one that is in the list, NULL = none. */
struct watch_group *watch_groups__above(struct watch_groups *groups,
					const struct watch_group *group);

/* Calls `visit` for each, in no order. */
void watch_groups__each(struct watch_groups *groups,
			void (*visit)(struct watch_group *group, void *target), void *target);

/* Return what it has that is not a cache of files, and the most of shared memory and files of tmpfs
 * that its last samples told. */
uint64_t watch_group__bytes(const struct watch_group *group);
uint64_t watch_group__recent_shmem(const struct watch_group *group);

/* Returns what people call it, looked up once; NULL = no memory. */
const struct cgroup_name *watch_group__name(struct watch_groups *groups, struct watch_group *group);

/* Whether it is a unit or a container that starts its process anew: sessions and users' slices are
 * not. */
bool cgroup_name__is_service(const struct cgroup_name *name);

/* Finds the limit with the least room at the group or above it, with the swap that may be used
 * counted as room. As cgroup_memory__find. */
int watch_group__limit(const struct watch_groups *groups, const struct watch_group *group,
		       uint64_t swap_free_bytes, struct cgroup_memory *ret);

/* Reads how many of its own processes the OOM killer has killed. As cgroup_oom_kills. */
int watch_group__oom_kills(const struct watch_groups *groups, const struct watch_group *group,
			   uint64_t *ret);

/* Reads what its levels count: to be asked for once its kills could be read. */
void watch_group__read_ooms(const struct watch_groups *groups, struct watch_group *group);

/*
 * Tells which limit was reached when a process of a group was killed, as noticed in a pass, and
 * notes that of all groups below it, whose own kills may be told later. *ret_path, owned, is NULL
 * unless it is a group's, with *ret_bytes.
 */
enum oom_limit watch_group__find_hit(struct watch_groups *groups, struct watch_group *group,
				     uint64_t pass, char **ret_path, uint64_t *ret_bytes);

/* Returns the least size of the `max` largest, 0 = there are no more. Sorts the sizes. */
uint64_t least_of_largest(uint64_t *sizes, size_t cnt, size_t max);

#endif
