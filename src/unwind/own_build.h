/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the builds of this program apart. */
#ifndef LEAKSWEEP_UNWIND_OWN_BUILD_H
#define LEAKSWEEP_UNWIND_OWN_BUILD_H

#include "util/siphash.h"

/*
 * Adds the build-id of the running program, or, when it has none, its size and time. Returns 0 or a
 * negative errno.
 */
int own_build__hash(struct siphash *hash);

#endif
