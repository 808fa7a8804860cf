/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The unwind table of one file, compiled from what its compiler wrote for exceptions and debuggers
 * (.eh_frame, .debug_frame; DWARF 5 section 6.4, LSB 5 chapter 10.6) and, where that says nothing,
 * from its instructions. Format: include/unwind.h.
 */
#ifndef LEAKSWEEP_UNWIND_TABLE_H
#define LEAKSWEEP_UNWIND_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/unwind.h"

#define MAX_UNWIND_ROWS (32U << 20)  /* of one table: 256 MiB */
#define MAX_UNWIND_PAGES (1U << 16) /* of one table: 4 GiB of file */

struct unwind_counts {
	uint32_t fdes;	       /* functions described in the file */
	uint32_t broken_fdes;  /* left out: they contradict themselves */
	uint32_t odd_rows;     /* UNWIND_RULE_ODD */
	uint32_t scanned_rows; /* from instructions */
};

struct unwind_table {
	struct unwind_row *rows;   /* owned; sorted by page, then by pc */
	struct unwind_page *pages; /* owned; one for each 64 KiB of the file from its beginning on */
	uint32_t row_cnt, page_cnt;
	struct unwind_counts counts;
};

/*
 * Compiles the table of the ELF file behind `fd`, which is hostile: call it in a child
 * (unwind/loader.h). Returns 0 (also for a file that says nothing: no rows), -ENOEXEC (no ELF
 * program or library), -ENOTSUP (32-bit or another machine's), -EBADMSG (broken), -EFBIG (more than
 * MAX_*), -ENOMEM or another negative errno. Free with unwind_table__free.
 */
int unwind_table__compile(int fd, struct unwind_table *ret);

/* The same for an image in memory whose file offsets are its addresses: the vdso. */
int unwind_table__compile_image(const void *image, size_t size, struct unwind_table *ret);

void unwind_table__free(struct unwind_table *table);

/* Finds the row in force at a file offset; UNWIND_RULE_NONE where there is none. */
struct unwind_row unwind_table__find(const struct unwind_table *table, uint64_t offset);

/*
 * Whether pages and rows are in order and within bounds: a table that came from outside must pass
 * before it is used.
 */
bool unwind_table__is_valid(const struct unwind_table *table);

#endif
