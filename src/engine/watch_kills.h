/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notices that the kernel's OOM killer has killed, by its counters: that of the host is read at
 * each pass from a file that is kept open, those of the groups when it has risen. Who it was is
 * known from whoever has gone since; what a process had is kept for some passes.
 */
#ifndef LEAKSWEEP_ENGINE_WATCH_KILLS_H
#define LEAKSWEEP_ENGINE_WATCH_KILLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/watch_groups.h"
#include "engine/watch_services.h"
#include "model/growth.h"
#include "util/array.h"
#include "util/procfs.h"

struct watch;
struct watched;

/* A process that has ended. */
struct watch_gone {
	pid_t pid;
	uint64_t start_ns;
	char comm[PROC_COMM_MAX + 1];
	struct watch_group *group; /* referenced; NULL = it had none */
	struct watch_first first;
	uint64_t anon_bytes; /* the most of its last samples: while it dies it has less and less */
	struct growth_verdict growth; /* as of its end */
	uint32_t restarts;
	uint64_t pass; /* when it was missed */
	/* Of the kill that it was told with as one of those who may have been killed, 0 = none: it
	 * is kept for those of other groups below the same limit. */
	uint64_t told_pass;
	bool was_killed; /* it was told as that */
};

/* Processes of a group that were killed. */
struct watch_kill {
	struct watch_group *group; /* referenced; NULL = it is not known whose they were */
	uint64_t cnt;
	uint64_t pass, time_ns; /* when the counter had risen: by the watch's clock, too */
	bool is_ready;		/* they have gone, or it takes them long */
	enum oom_limit limit;	/* which was reached, of a group: */
	char *limit_path;	/* owned; NULL = it was not one */
	uint64_t limit_bytes;
};

struct watch_kills {
	int fd; /* of /proc/vmstat, -1 = there is none */
	bool is_known;
	uint64_t host_cnt;
	uint64_t unexplained;	       /* kills that no group has told so far ... */
	uint64_t risen_pass, risen_ns; /* ... since then */
	ARRAY(struct watch_gone) gone;
	ARRAY(struct watch_kill) list; /* by time */
};

/* Opens the host's counters, where there are any. */
void watch_kills__init(struct watch_kills *kills);
void watch_kills__destroy(struct watch *watch);

/* Keeps what is known of a process that has ended, before anybody else takes it. */
void watch_kills__end(struct watch *watch, const struct watched *item);

/* Looks at the counters, after a pass at `now_ns` has sampled all. Returns 0 or -ENOMEM. */
int watch_kills__pass(struct watch *watch, uint64_t now_ns);

/* Whether something was killed that cannot be told yet: the next pass should be soon. */
bool watch_kills__waits(const struct watch *watch);

/* Returns the first that can be told, until it is dropped; NULL = there is none. */
const struct watch_kill *watch_kills__ready(const struct watch *watch);
void watch_kills__drop(struct watch *watch, const struct watch_kill *kill);

/* Whether a process that has gone may be one that was killed: of its group, since then, and of no
 * kill that was dropped. */
bool watch_kill__may_be(const struct watch_kill *kill, const struct watch_gone *gone);

/* Whether a process that has gone was there when others were killed: not gone before, nor killed
 * before. */
bool watch_kill__has_met(const struct watch_kill *kill, const struct watch_gone *gone);

/* Whether it was killed, by whichever kill: no others of its group have gone. */
bool watch_kills__was_killed(const struct watch *watch, const struct watch_gone *gone);

#endif
