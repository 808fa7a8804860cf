/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts that a compiler split off a function (GCC's .cold, those of BOLT): what direct jumps
 * lead to from the parts that are known, without being a function of its own. A part is believed if
 * a jump leads into its middle, if its first instruction already has a frame, or if it jumps back
 * into the middle of a known part; and if no other function's symbol lies in it.
 */
#ifndef LEAKSWEEP_PYTHON_BUILD_EVAL_H
#define LEAKSWEEP_PYTHON_BUILD_EVAL_H

#include <stdint.h>

#include "util/array.h"
#include "util/elf_image.h"

struct code_part {
	uint64_t start, end; /* addresses */
};

struct code_parts {
	ARRAY(struct code_part) list; /* the function itself first */
};

/*
 * Adds the parts of the function whose first part is in `parts`; `name` is its symbol's. Nothing is
 * added for machines other than x86-64 and for files without .eh_frame_hdr. Returns 0 or a negative
 * errno.
 */
int code_parts__complete(struct code_parts *parts, const struct elf_image *image, const char *name);

#endif
