/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Puts an unwind table together from ranges of code that come in any order, may overlap, and may
 * lie where the file has no code: the same ranges always make the same table.
 */
#ifndef LEAKSWEEP_UNWIND_TABLE_BUILDER_H
#define LEAKSWEEP_UNWIND_TABLE_BUILDER_H

#include <stddef.h>
#include <stdint.h>

#include "unwind/table.h"
#include "util/array.h"
#include "util/elf_image.h"

/* Code by its address in the ELF file's own terms (vaddr); `end` is the byte after the last. */
struct code_range {
	uint64_t start, end;
};

struct code_ranges {
	ARRAY(struct code_range) list;
};

/* Sorts the list and joins ranges that touch or overlap; empty ones go. */
void code_ranges__normalize(struct code_ranges *ranges);

struct table_builder;

/* `segments` is borrowed until table_builder__free. Returns NULL when out of memory. */
struct table_builder *table_builder__new(const struct elf_segments *segments);
void table_builder__free(struct table_builder *builder);

/*
 * Says that `row` holds from vaddr `start` up to, not including, `end`; row.pc is not looked at.
 * Where ranges overlap, the one that was added first holds. What lies outside of the executable
 * PT_LOADs' file contents is dropped. Returns 0, -EFBIG (more than MAX_UNWIND_ROWS ranges) or
 * -ENOMEM.
 */
int table_builder__add(struct table_builder *builder, uint64_t start, uint64_t end,
		       struct unwind_row row);

/* From here on ranges come from instructions: their rows are counted as scanned_rows. */
void table_builder__begin_scanned(struct table_builder *builder);

/*
 * Makes the table: gaps say UNWIND_RULE_NONE, rows equal to the one before are left out, each page
 * with code has a row at its first byte. Fills in rows, pages and the counts of rows; the other
 * counts of *ret are 0. Returns 0, -EFBIG or -ENOMEM.
 */
int table_builder__finish(struct table_builder *builder, struct unwind_table *ret);

#endif
