/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one capture works with: its targets, their probes, what is known of them. The loop is in
 * capture.c. */
#ifndef LEAKSWEEP_ENGINE_SESSION_H
#define LEAKSWEEP_ENGINE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/attacher.h"
#include "attach/calibrate.h"
#include "collect/codes.h"
#include "collect/collector.h"
#include "collect/ring_source.h"
#include "collect/space_table.h"
#include "engine/capture.h"
#include "engine/deferred.h"
#include "engine/failures.h"
#include "engine/groups.h"
#include "engine/launch.h"
#include "engine/prober.h"
#include "engine/publish.h"
#include "engine/pythons.h"
#include "engine/resident.h"
#include "engine/same_files.h"
#include "engine/unwinder.h"
#include "util/pace.h"

struct session {
	const struct capture_opts *opts;
	struct features features;
	struct attacher *attacher;
	struct ring_source *events;
	struct space_table table;
	struct same_files *same;
	struct prober *prober;
	struct unwinder *unwinder;
	struct pythons *pythons;
	struct failures *failures;
	size_t finalized;		  /* Python interpreters that ended */
	struct ring_source *code_records; /* of Python ... */
	struct code_table codes;	  /* ... and what they say */
	uint64_t looked_ns;		  /* CLOCK_MONOTONIC: when session__look began */
	const struct python_view *views;  /* what it saw, owned by `pythons` */
	size_t view_cnt;
	struct residents *residents;
	struct groups *groups;
	struct deferred *deferred;
	struct collector *collector;
	struct publisher *publisher;
	struct name_cache *names;	 /* of the control groups, where containers are wanted */
	ARRAY(char *) container_cgroups; /* owned: of the containers that are wanted */
	bool moved;			 /* somebody may have come into a wanted control group */
	struct pace listing;		 /* of the wanted control groups, whoever execs elsewhere */
	bool procs_full;		 /* somebody could not be traced for want of room */
	size_t trim_files_at;		 /* engine/open_files.h; 0 = at the usual number */
	uint64_t weighed_ns;		 /* CLOCK_MONOTONIC: when its memory was looked at */
	bool memory_full;		 /* the tool's own memory is near its bound */
	uint64_t events_lost;		 /* when all processes were last asked for */
	struct pace making_good;	 /* of events that are lost all the time */
	struct launch launch;		 /* pid 0 = no command */
	bool begun;			 /* the initial targets are covered */
	uint64_t interval;		 /* reports at intervals so far */
	uint64_t started_real_ns, started_ns, started_cpu_ns;
	int stats_fd; /* the kernel measures our programs while it is open; -1 */
	bool calibrated;
	struct trap_costs traps; /* all 0 when they could not be measured */
	size_t late_files; /* allocators that were found after their process had begun to use them
			    */
};

/*
 * Checks what this host allows, loads the programs and finds the targets; the command, if there is
 * one, is started and held before exec. Returns 0 or a negative errno; *ret_message is then an
 * owned sentence or NULL.
 */
int session__open(const struct capture_opts *opts, struct session **ret, char **ret_message);
void session__free(struct session *session);

/* Puts the probes in place and starts recording. Same contract. */
int session__begin(struct session *session, char **ret_message);

/*
 * For capture_opts.in_windows, once it has begun: children of a process are not looked at.
 * session__add prepares a process for its probes:
 * tables for its stacks, places for the probes; *ret_space is its space. Returns 0, -ESRCH (it has
 * ended), -E2BIG or another negative errno.
 */
int session__add(struct session *session, pid_t pid, uint32_t *ret_space);

/* Puts its probes in place; takes them away, at once. Returns 0, -ENOENT (the space has ended) or
 * another negative errno; what cannot be probed is told by space_info.coverage. */
int session__arm(struct session *session, uint32_t space);
void session__disarm(struct session *session, uint32_t space);

/* The process is not looked at any more. What is known of it is purged in time. */
void session__drop(struct session *session, uint32_t space);

/* Applies waiting events, follows new processes and libraries. Returns 0 or a negative errno. */
int session__process_events(struct session *session);

/* Prints what was refused since the last time; UINT64_MAX: all of it (engine/failures.h). */
void session__tell_failures(const struct session *session, uint64_t now_ns);

/* Goes on with Python interpreters that are not ready yet. Returns 0 or a negative errno. */
int session__poll_pythons(struct session *session);

/* Purges what ended processes left once it is much, and closes files. Returns 0 or a negative
 * errno. */
int session__make_room(struct session *session);

/*
 * Asks the named processes whether they still run. Once events were lost, finds out what they would
 * have told: who has come or gone, and what is mapped. Where that happens all the time it takes a
 * fiftieth of the time at most, but now with `at_once`. Returns 0 or a negative errno.
 */
int session__make_good(struct session *session, bool at_once);

/* Lets the kernel measure the programs' run time, if it does so; ends that, as it costs a little on
 * every run. */
void session__begin_stats(struct session *session);
void session__end_stats(struct session *session);

/*
 * Lists the wanted control groups if somebody may have come in. While programs are started all the
 * time that waits now and then, so that it takes a fiftieth of the time at most; session__wait_ms
 * tells how long. Returns 0 or a negative errno.
 */
int session__follow_moved(struct session *session);

/* Returns after how many milliseconds there is something to do without an event, -1 = never. */
int session__wait_ms(const struct session *session);

/* Looks for wanted containers, and for processes that moved into the wanted cgroups. */
int session__poll_cgroups(struct session *session);

/*
 * Whether the tool has taken half of what it may, so that it has to end: the rest is for events
 * that wait and for the report, Pythons included. Looks now and then only.
 */
bool session__is_full(struct session *session);

/* Whether all named targets have ended. */
bool session__is_over(const struct session *session);

/*
 * Looks into processes for the final report; reports at intervals do it themselves. It has to be
 * before recording is frozen: what is made after that would seem to have been missed.
 */
int session__look(struct session *session);

/*
 * Returns the CPU time of this process and of the children it has waited for, which compile and
 * parse for it. The command's is its own.
 */
uint64_t session__cpu_ns(const struct session *session);

/* Takes a snapshot and publishes it. *ret_live_bytes may be NULL. */
int session__report(struct session *session, bool is_final, int64_t *ret_live_bytes);

/* Returns an owned sentence for an error of the functions above. */
char *session__explain(const struct session *session, int err);

#endif
