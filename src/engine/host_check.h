/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this host allows, found out by trying wherever it can be tried: privileges, kernel, limits,
 * the cost of a probe, and a trial run of the real programs. Nothing is left behind.
 */
#ifndef LEAKSWEEP_ENGINE_HOST_CHECK_H
#define LEAKSWEEP_ENGINE_HOST_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "attach/calibrate.h"
#include "attach/features.h"
#include "attach/plan.h"
#include "engine/host_trial.h"
#include "util/array.h"

#define MIN_KERNEL_MAJOR 6
#define MIN_KERNEL_MINOR 1

enum fact_state {
	FACT_OK,
	FACT_LIMITED, /* something is given up, see `effect` */
	FACT_MISSING, /* tracing needs it */
	FACT_UNKNOWN, /* cannot be told without more rights */
};

struct host_fact {
	const char *group; /* static: "privileges", "kernel", "limits", "cgroups", "trial" */
	const char *name;  /* static */
	enum fact_state state;
	char *found; /* owned: what is so here */
	const char
		*effect; /* static: what the tool does without it; NULL when nothing is missing */
};

struct host_check {
	ARRAY(struct host_fact) facts; /* in the order in which people want them, grouped */
	struct features features;
	int mode;	      /* enum link_mode that would be used, or a negative errno */
	const char *mode_why; /* static; NULL when there is none */
	int cost_err;	      /* why `costs` is not filled in, negative errno */
	struct trap_costs costs;
	struct host_trial trial;
	bool can_trace;
	size_t limit_cnt; /* facts that are FACT_LIMITED */
};

/*
 * Takes about 2 s, nearly all of it waiting for the kernel to remove what was tried. Returns 0 or
 * -ENOMEM; free with host_check__free.
 */
int host_check__run(struct host_check *ret);
void host_check__free(struct host_check *check);

/* Returns the fact that is the reason why nothing can be traced here; NULL when that is not so. */
const struct host_fact *host_check__blocker(const struct host_check *check);

/* Returns "ok", "limited", "missing", "unknown". */
const char *fact_state__name(enum fact_state state);

/*
 * Adds a fact with a printf-style sentence of what was found. Returns 0 or -ENOMEM. Used by the
 * parts of the check.
 */
int host_check__add(struct host_check *check, struct host_fact fact, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds what is known of control groups (host_cgroups.c). Returns 0 or -ENOMEM. */
int host_check__add_cgroups(struct host_check *check);

/*
 * Adds user and capabilities (host_rights.c). Returns 0 or -ENOMEM; *ret_may_bpf: whether they
 * should do for tracing.
 */
int host_check__add_rights(struct host_check *check, bool *ret_may_bpf);

#endif
