/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which probes one file needs, in the order in which they are made. Pure: nothing is attached here.
 *
 * Frees come first: a block that is recorded while its free cannot be seen yet would be reported as
 * a leak. Returns come before entries, so that no entry waits for a return that is never seen.
 */
#ifndef LEAKSWEEP_ATTACH_PLAN_H
#define LEAKSWEEP_ATTACH_PLAN_H

#include "attach/features.h"
#include "attach/probe_link.h"
#include "discover/elf_allocs.h"

enum probe_role {
	ROLE_FREE = 1,
	ROLE_RETURN = 2,
	ROLE_ENTER = 3,
	ROLE_SESSION = 4,
	ROLE_OBJECT = 5,    /* a place of Python's object allocator */
	ROLE_NO_MEMORY = 6, /* PyErr_NoMemory */
	ROLE_FINALIZE = 7,  /* Py_FinalizeEx */
	ROLE_MAX
};

struct plan_step {
	enum probe_role role;
	enum link_mode mode;
	ARRAY(uint64_t) offsets; /* one per site ... */
	ARRAY(uint64_t) cookies; /* ... and beside it */
};

struct attach_plan {
	enum link_mode mode;
	const char *why; /* static sentence */
	struct plan_step steps[3];
	size_t step_cnt;
	size_t emulated_cnt, stepped_cnt; /* sites by what a hit costs */
};

/*
 * Chooses the best mode the kernel has, or `forced` unless LINK_AUTO. *ret_why is a static
 * sentence. Returns the mode, or a negative errno when the forced one (or any) does not work here.
 */
int link_mode__choose(const struct features *features, enum link_mode forced, const char **ret_why);

/* Plans all sites of a file. Returns 0 or -ENOMEM; free with attach_plan__free. */
int attach_plan__make(const struct elf_allocs *allocs, enum link_mode mode,
		      struct attach_plan *ret);
void attach_plan__free(struct attach_plan *plan);

#endif
