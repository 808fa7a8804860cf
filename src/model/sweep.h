/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a sweep knows at one moment: who grows, how fast, and how long there is room for it. */
#ifndef LEAKSWEEP_MODEL_SWEEP_H
#define LEAKSWEEP_MODEL_SWEEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/touch.h"
#include "model/cohort.h"
#include "model/growth.h"
#include "model/ledger.h"
#include "model/snapshot.h"
#include "model/symbol.h"
#include "util/array.h"

/* How close a look the code of a process that grows gets. */
enum sweep_look {
	SWEEP_LOOK_WAITS = 1,	/* others grow more, or its first window is still to come */
	SWEEP_LOOK_WINDOWS = 2, /* now and then, all that it allocates */
	SWEEP_LOOK_EXACT = 3,	/* all the time */
	SWEEP_LOOK_REFUSED = 4, /* not at all */
	SWEEP_LOOK_OFF = 5,	/* nobody wants it: only first touches are told */
	SWEEP_LOOK_CNT,
};

/* Returns one word, as reports have it; "unknown" for a value out of range. */
const char *sweep_look__name(enum sweep_look look);

struct kept_code;
struct sweep_oom;

/* What one stack of a process does with its memory. */
struct sweep_site {
	uint32_t stack; /* node of the snapshot's stack tree, 0 = it is lost */
	struct cohort_verdict verdict;
};

/*
 * Where new memory of a process was first touched. That need not be who keeps it: an allocator
 * gives old memory to one and new memory to another. It is where memory comes from mappings.
 */
struct sweep_touch {
	uint32_t stack;	      /* node of the snapshot's stack tree, 0 = it is lost */
	enum touch_kind kind; /* include/touch.h */
	uint64_t bytes;	      /* that it still has, scaled to what the process has grown by */
	uint64_t error_bytes; /* by chance: one standard error */
	uint64_t samples;
};

/* Which code of a process keeps memory, as far as it is known. */
struct sweep_code {
	enum sweep_look look;
	char *obstacle;	       /* owned: why it is refused, or what is missing; "" */
	uint64_t watched_ns;   /* since it was looked at first */
	uint64_t traced_ns;    /* of that, the time in which its probes were in place ... */
	uint64_t window_cnt;   /* ... in so many windows */
	double lost_percent;   /* of one CPU since then, that took the process */
	uint64_t untold_bytes; /* allocated at sites that there was no room for */
	/* Growing ones that nobody wants to be told: how many, what they keep, and at most; bytes
	 * per hour. */
	size_t suppressed_cnt;
	double suppressed_rate, suppressed_high;
	ARRAY(struct sweep_site) sites;	   /* growing ones first, by their lower bounds */
	ARRAY(struct sweep_touch) touches; /* the most bytes first */
	uint64_t grown_bytes;	     /* since it was watched for that; 0 = it was not, or has not */
	struct ledger ledger;	     /* is_known false = it was not read */
	uint64_t ledger_ago_ns;	     /* how long ago: it could not be read again; 0 = now */
	struct ledger_verdict cause; /* what of it grew since it was looked at first ... */
	uint64_t cause_ns;	     /* ... in this time */
};

/* A process that grows, or a control group that grows by more than its processes tell. */
struct sweep_row {
	pid_t pid;	   /* 0 = a group as a whole */
	uint64_t start_ns; /* since boot */
	char *comm;	   /* "" = a group; this and the following are owned */
	char *cgroup;	   /* path, "" = not known */
	char *title;	   /* of the group: container, pod, unit, or its path */
	char *runtime;	   /* of a container, "" = it is none */
	bool is_service;   /* a unit or a container */
	uint32_t restarts; /* of the service, during the sweep */
	uint64_t anon_bytes;
	/* Of a group, beside that: shared memory and files of tmpfs, which stay when the processes
	 * end, and what they grow by; 0 = they do not. */
	uint64_t shmem_bytes;
	double shmem_per_hour;
	struct growth_verdict growth; /* of a group: of both */
	/* the limit that leaves the least room */
	char *limit_cgroup; /* owned; "" = the host's memory */
	/* Of that group, or the host's memory, with the swap that may be used: growth includes what
	 * is swapped out. */
	uint64_t limit_bytes;
	uint64_t room_bytes;	   /* below it, what can be reclaimed counted as room */
	double limit_per_hour;	   /* bytes, of all rows that share it, see sweep__find_times */
	uint64_t seconds_to_limit; /* by that; UINT64_MAX = not within years */
	struct sweep_code *code;   /* owned; NULL = it is a group, or nobody looks at code */
	struct ledger ledger;	   /* of a group's processes; is_known false = it is no group */
	/* The process that the service's restarts began with, this one itself if it follows no
	 * other; 0 = a group. */
	pid_t first_pid;
	uint64_t first_start_ns;
	/* Owned reference: what was known of the code of the service's process before this one, or
	 * of one that is told when the kernel has killed, of its own; NULL = nothing. */
	struct kept_code *kept;
	uint64_t kept_ns; /* how long ago that was */
};

struct sweep {
	/* Owned; of it: host, times, mode, interval, overhead, and the stacks of sites. */
	struct snapshot *snap;
	struct symbol *symbols; /* owned, of the snapshot's frames; NULL = there are none */
	uint64_t ram_bytes, available_bytes; /* MemTotal, MemAvailable */
	uint64_t processes, groups;	     /* watched */
	uint64_t left_out;		     /* processes that are not, for there are too many */
	/* Of each CPU: what looking at code may take, and took in the last minute with all that the
	 * tool does itself; 0 = no code is looked at (yet). */
	double budget_percent, spent_percent;
	uint64_t states[GROWTH_STATE_CNT]; /* processes, by state */
	ARRAY(struct sweep_row) rows;	   /* the fastest first, once sorted */
	bool is_event; /* it is told between reports, for what the kernel has killed */
	ARRAY(const struct sweep_oom *) ooms; /* borrowed: what it has killed, the last one last */
	/* Taken out of these, and out of the code of those that are left (suppress.h). */
	uint64_t suppressed_rows, suppressed_stacks;
};

/* Returns an empty one, of this host, or NULL (no memory). */
struct sweep *sweep__new(void);
void sweep__free(struct sweep *sweep);

/* Adds a copy of a row, without code; of its texts NULL means "". Returns 0 or -ENOMEM. */
int sweep__add(struct sweep *sweep, const struct sweep_row *row);

/* The same for a row by itself; to be freed with sweep_row__free, harmless on an empty one. */
int sweep_row__copy(const struct sweep_row *row, struct sweep_row *ret);
void sweep_row__free(struct sweep_row *row);

/* Gives a row what is known of its process's code, which it owns then. Returns whether there is
 * such a row, else the code stays the caller's. */
bool sweep__set_code(struct sweep *sweep, pid_t pid, uint64_t start_ns, struct sweep_code *code);

/* Returns whether shared memory and files of tmpfs are most of what a row grows by. */
bool sweep_row__is_shmem(const struct sweep_row *row);

/* Return how many stacks are known to grow, and with those where memory was first touched; of no
 * code 0. */
size_t sweep_code__growing(const struct sweep_code *code);
size_t sweep_code__stacks(const struct sweep_code *code);
void sweep_code__free(struct sweep_code *code);

/* Returns whether a group, "" = not known, is the one with a limit or below it; a limit of "" is
 * that of the host, which has all. */
bool sweep_limit__has(const char *limit_cgroup, const char *cgroup);

/*
 * Tells of each row when its limit is reached by the growth of all rows that share it. That of a
 * group counts in the place of what is below it. Returns 0 or -ENOMEM.
 */
int sweep__find_times(struct sweep *sweep);

/* Puts the rows in order: bytes per hour, then PID and path. */
void sweep__sort(struct sweep *sweep);

/* Returns the highest lower bound of all rows, what suppressed stacks keep at most left out; 0 =
 * nothing grows. */
double sweep__fastest_lower(const struct sweep *sweep);

/* Returns whether there are processes, and nothing is known yet of any of them. */
bool sweep__is_too_early(const struct sweep *sweep);

#endif
