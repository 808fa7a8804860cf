/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starts a command so that no allocation of it is missed: it is held before exec, and again each
 * time its dynamic loader has mapped a library, until the loader is done. From then on it runs
 * free; nothing in it is changed.
 */
#ifndef LEAKSWEEP_ENGINE_LAUNCH_H
#define LEAKSWEEP_ENGINE_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct launch {
	pid_t pid;
	int error_fd;	/* tells why exec failed */
	bool in_loader; /* it is still being held and let go by turns */
	bool exited;
	int wait_status;     /* as wait(2) gives it, when exited */
	uint64_t cpu_ns;     /* what it used, when exited; part of children_cpu_ns */
	unsigned long entry; /* address where the loader hands over */
	unsigned long interp_start, interp_end;
};

/*
 * Forks and stops just before exec; PATH is searched. Returns 0 or a negative errno; the child
 * exists then and waits.
 */
int launch__start(char *const *argv, struct launch *ret);

/*
 * Lets it exec. Returns 0 (held again, new program in place, its mappings readable) or the negative
 * errno of exec: there is no child any more then.
 */
int launch__exec(struct launch *launch);

/*
 * Lets it run on until its loader has mapped something executable (returns 1, held), or the loader
 * has handed over or the command has ended (returns 0, `in_loader` is false: it runs free).
 * Negative errno: it runs free as well.
 */
int launch__next_library(struct launch *launch);

/* Collects the exit status if it has ended. Returns whether it has. */
bool launch__reap(struct launch *launch);

/* Waits for the command, which is known to be ending. */
void launch__wait(struct launch *launch);

/* Gives up before exec: the child is killed. */
void launch__abort(struct launch *launch);

#endif
