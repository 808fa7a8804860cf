/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes of objects that tell one layout from another in a living process: tp_basicsize of their
 * types. Versions that keep everything at the same place but one field differ in them.
 */
#ifndef LEAKSWEEP_PYTHON_LAYOUT_MARKS_H
#define LEAKSWEEP_PYTHON_LAYOUT_MARKS_H

#include <stdint.h>

#include "python/layout.h"

struct layout_marks {
	uint16_t code_size;  /* of a code object without its instructions */
	uint16_t frame_size; /* of a frame object without its variables; 0 = frames are none */
};

struct layout_marks layout_marks__of(const struct python_layout *layout);

#endif
