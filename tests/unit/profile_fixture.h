/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of profiles share. */
#ifndef LEAKSWEEP_TESTS_PROFILE_FIXTURE_H
#define LEAKSWEEP_TESTS_PROFILE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "model/profile.h"
#include "model/symbol.h"

/* Makes the whole profile, sorted by bytes; the caller owns it. */
static inline struct profile *profile_of(const struct snapshot *snap, const struct symbol *symbols,
					 enum profile_group group, const struct profile *previous)
{
	const struct profile_opts opts = {.group = group};
	struct profile *profile = profile__new(snap, symbols, &opts, previous);

	assert_non_null(profile);
	return profile;
}

/* Ends a test of two profiles, of which `after` may be NULL, and their snapshots. */
static inline void free_both(struct profile *before, struct profile *after, struct snapshot *old,
			     struct snapshot *new)
{
	profile__free(after);
	profile__free(before);
	snapshot__free(new);
	snapshot__free(old);
}

#endif
