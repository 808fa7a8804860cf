/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is traced: by PID, by name, by cgroup, or everybody. */
#ifndef LEAKSWEEP_ENGINE_TARGETS_H
#define LEAKSWEEP_ENGINE_TARGETS_H

#include "engine/session.h"

/* Whether there are such cgroups. Returns 0 or a negative errno with an owned sentence. */
int targets__check_cgroups(const char *const *paths, size_t path_cnt, char **ret_message);

/* Whether what was asked for exists, before anything is loaded. 0 or a negative errno and a
 * sentence. */
int targets__check(const struct capture_opts *opts, char **ret_message);

/* Begins to trace the processes that are wanted and run now. Same contract. */
int targets__add(struct session *session, char **ret_message);

/* Adds those that are wanted by name, or as everybody, and came unheard. Returns 0 or a negative
 * errno. */
int targets__add_missed(struct session *session);

/* Notes a process as one whose end ends the capture. Returns 0 or -ENOMEM. */
int targets__add_root(struct session *session, pid_t pid, uint32_t space);

/* Fails with a sentence when a process named by PID cannot be traced at all. */
int targets__check_coverage(struct session *session, char **ret_message);

/* A process that is not traced has exec'ed or was moved: it may be wanted now. */
int targets__consider(struct session *session, const struct event *event);

/*
 * Finds the control groups of the wanted containers. Returns 0 or a negative errno; those that were
 * found before stay then. *ret_missing, which may be NULL, is the first name that none has, or that
 * the error is about; NULL = there is none. It is the user's text.
 */
int targets__find_containers(struct session *session, const char **ret_missing);
void targets__forget_containers(struct session *session);

/* Adds processes that have come into a wanted cgroup; their events are to be followed. */
int targets__poll_cgroups(struct session *session);

#endif
