/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A service's process that ends, and the next one, which goes on where it was. */
#ifndef LEAKSWEEP_ENGINE_WATCH_SERVICES_H
#define LEAKSWEEP_ENGINE_WATCH_SERVICES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/watch_groups.h"
#include "model/growth.h"
#include "model/life.h"
#include "util/array.h"
#include "util/procfs.h"

struct watch;
struct watched;

/* The process that a service had when it was seen first: its number is the service's, too. */
struct watch_first {
	pid_t pid;
	uint64_t start_ns;
};

/* What was known of a service's process that has ended. */
struct watch_ended {
	char comm[PROC_COMM_MAX + 1];
	struct watch_first first; /* of its service */
	struct watch_group *group;
	bool has_twin; /* another group goes by its name: only its path tells its next process */
	uint64_t at_ns;
	struct growth *growth; /* owned, as of struct watched */
	struct life *life;
};

struct watch_services {
	ARRAY(struct watch_ended) ended; /* by time */
};

/* Keeps what is known of a process that has ended, if it is a service's that one other may follow:
 * then it has no group and no growth any more. */
void watch_services__end(struct watch *watch, struct watched *item, uint64_t now_ns);

/*
 * Lets a process that is young follow one that has ended, of the same name: in the same control
 * group, or, as runtimes give a container another path at each start, in a new one of the same
 * title if there is no third. Returns 0, -ESRCH or another negative errno.
 */
int watch_services__follow(struct watch *watch, struct watched *item, uint64_t now_ns);

/* Forgets those that have ended long before. */
void watch_services__forget(struct watch *watch, uint64_t now_ns);

/* Forgets all of them. */
void watch_services__clear(struct watch *watch);

#endif
