/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What some blocks of suspects contain, read from outside: whether they still are what they were.
 */
#ifndef LEAKSWEEP_ENGINE_SUSPECT_CONTENTS_H
#define LEAKSWEEP_ENGINE_SUSPECT_CONTENTS_H

#include "engine/suspects_state.h"

/* Reads the blocks that are due. Returns 0 or a negative errno. */
int suspect_contents__read(struct suspects *suspects, uint64_t now_ns);

#endif
