/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unwind rows for code that has no call frame information, from its instructions: where functions
 * begin is gathered (code_seeds.h), each is followed from its entry along every path, with what is
 * known of the stack pointer and the frame pointer before each instruction (code_flow.h). What
 * cannot be decided gets no row: a missing row is better than a wrong one.
 */
#ifndef LEAKSWEEP_UNWIND_CODE_SCAN_H
#define LEAKSWEEP_UNWIND_CODE_SCAN_H

#include <stdint.h>

#include "unwind/table_builder.h"
#include "util/elf_image.h"

#define MAX_SCANNED_CODE (16U << 20) /* bytes */

/*
 * Scans the x86-64 code of a file that is not in `covered` (normalized) and adds rows for it. If
 * there is more of it than `max_bytes` (at most MAX_SCANNED_CODE), no rows are added, and none for
 * other machines. Returns 0, -EFBIG as table_builder__add, -ENOMEM, or as elf_image__read.
 */
int code_scan__run(const struct elf_image *image, const struct code_ranges *covered,
		   uint64_t max_bytes, struct table_builder *builder);

#endif
