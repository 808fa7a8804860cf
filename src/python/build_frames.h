/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where functions begin and end, by .eh_frame_hdr and .eh_frame (LSB Core, "Exception Frames";
 * DWARF 5, 6.4): known of stripped files, too. The table has to be in the form that GNU ld, gold
 * and lld write; of a file with another one nothing is known.
 */
#ifndef LEAKSWEEP_PYTHON_BUILD_FRAMES_H
#define LEAKSWEEP_PYTHON_BUILD_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/elf_image.h"

struct frame_entry;

struct frame_index {
	const struct elf_image *image; /* borrowed */
	uint64_t base;		       /* address that the table counts from */
	struct frame_entry *entries;   /* by address */
	size_t cnt;
};

struct frame_range {
	uint64_t start, end; /* addresses */
	bool has_frame; /* its first instruction already has a frame: the code goes on another's */
};

/* Returns 0 (also when there is no table: it is empty then) or -ENOMEM. */
int frame_index__open(const struct elf_image *image, struct frame_index *ret);
void frame_index__close(struct frame_index *index);

/* Finds the range that holds address `vaddr`. */
bool frame_index__find(const struct frame_index *index, uint64_t vaddr, struct frame_range *ret);

#endif
