/* SPDX-License-Identifier: GPL-2.0-or-later */
/* placement__choose() for the code of arm64. */
#ifndef LEAKSWEEP_DISCOVER_PLACEMENT_ARM64_H
#define LEAKSWEEP_DISCOVER_PLACEMENT_ARM64_H

#include "discover/placement.h"

/* As placement__choose(), whatever machine the tool itself is built for. */
int placement_arm64__choose(const uint8_t *code, size_t len, unsigned int arg_cnt,
			    struct placement *ret);

#endif
