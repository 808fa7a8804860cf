/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads all of a section's call frame information, through libdw. */
#ifndef LEAKSWEEP_UNWIND_CFI_READER_H
#define LEAKSWEEP_UNWIND_CFI_READER_H

#include "unwind/frame_section.h"
#include "unwind/table_builder.h"

/*
 * Adds the rows of every function (FDE) that the section describes to `builder`, their ranges to
 * `covered` and their numbers to `counts`. `image` is the file whose code the section is about.
 * What is wrong with the section is repaired in the section, or left out and counted; overlaps: a
 * function ends where the next begins, and of several that begin at one address the first in the
 * section holds. So unwinders that search .eh_frame_hdr see it, too. Returns 0, -EFBIG or -ENOMEM.
 */
int cfi_reader__read(struct frame_section *section, const struct elf_image *image,
		     struct table_builder *builder, struct code_ranges *covered,
		     struct unwind_counts *counts);

#endif
