/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a sweep knows at one moment: who grows, how fast, and how long there is room for it. */
#ifndef LEAKSWEEP_MODEL_SWEEP_H
#define LEAKSWEEP_MODEL_SWEEP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "model/growth.h"
#include "model/snapshot.h"
#include "util/array.h"

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
	struct growth_verdict growth;
	/* the limit that is reached first, by this growth */
	char *limit_cgroup;	   /* owned; "" = the host's memory */
	uint64_t limit_bytes;	   /* of that group, or the host's memory */
	uint64_t room_bytes;	   /* below it, what can be reclaimed counted as room */
	uint64_t seconds_to_limit; /* UINT64_MAX = not within years */
};

struct sweep {
	struct snapshot *snap; /* owned; of it: host, times, mode, interval, overhead */
	uint64_t ram_bytes, available_bytes; /* MemTotal, MemAvailable */
	uint64_t processes, groups;	     /* watched */
	uint64_t left_out;		     /* processes that are not, for there are too many */
	uint64_t states[GROWTH_STATE_CNT];   /* processes, by state */
	ARRAY(struct sweep_row) rows;	     /* the fastest first, once sorted */
};

/* Returns an empty one, of this host, or NULL (no memory). */
struct sweep *sweep__new(void);
void sweep__free(struct sweep *sweep);

/* Adds a copy of a row; of its texts NULL means "". Returns 0 or -ENOMEM. */
int sweep__add(struct sweep *sweep, const struct sweep_row *row);

/* Puts the rows in order: bytes per hour, then PID and path. */
void sweep__sort(struct sweep *sweep);

/* Returns the highest lower bound of all rows, 0 = nothing grows. */
double sweep__fastest_lower(const struct sweep *sweep);

/* Returns whether there are processes, and nothing is known yet of any of them. */
bool sweep__is_too_early(const struct sweep *sweep);

#endif
