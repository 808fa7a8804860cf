/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The code of a file, swept once in a line: where instructions begin, where branches land, and
 * which instructions look as if they belonged to the object allocator.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_CODE_H
#define LEAKSWEEP_PYTHON_SITE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/site_insn.h"
#include "util/array.h"
#include "util/elf_image.h"

#define MAX_SITE_CODE                                                                              \
	(256U << 20) /* bytes of one file; large programs that embed Python have 150 */

/* What is known of a byte. */
enum {
	CODE_INSN = 0x01,     /* an instruction begins */
	CODE_LANDING = 0x02,  /* branches land here */
	CODE_ENTRY = 0x04,    /* calls do */
	CODE_LEAVES = 0x08,   /* jmp, call, ret, trap: what follows is another stretch */
	CODE_STORE_8 = 0x10,  /* mov r64, 8(r64): struct pool_header's freeblock */
	CODE_LOAD_8 = 0x20,   /* mov 8(r64), r64 */
	CODE_WRITE_0 = 0x40,  /* 32 bits to (r64): ref.count */
	CODE_TOUCH_28 = 0x80, /* 32 bits at 0x28(r64) or 0x2c(r64): nextoffset, maxnextoffset */
};

/* One executable segment. */
struct code_area {
	uint64_t vaddr; /* of the first byte */
	uint64_t off;	/* in the file */
	size_t len;
	uint8_t *bytes, *marks; /* owned; marks: bits of the enum above, one entry a byte */
};

struct site_code {
	ARRAY(struct code_area) areas;
};

/*
 * Reads the executable segments and sweeps them. Returns 0, -EFBIG (more than MAX_SITE_CODE), or
 * as elf_image__read. Free with site_code__free.
 */
int site_code__read(const struct elf_image *image, struct site_code *ret);
void site_code__free(struct site_code *code);

/* Finds the area that holds an address, and the place in it. */
const struct code_area *site_code__find(const struct site_code *code, uint64_t vaddr,
					size_t *ret_at);

/* Decodes the instruction that begins at `at`. */
bool code_area__decode(const struct code_area *area, size_t at, struct site_insn *ret);

/*
 * How the instruction at `at` passes control on; *ret_target is a place in the area for
 * SITE_BRANCH, SITE_JUMP and SITE_CALL, SIZE_MAX when it goes to another one.
 */
enum site_control code_area__control(const struct code_area *area, size_t at,
				     const struct site_insn *insn, size_t *ret_target);

/* The instruction that ends where `at` begins; SIZE_MAX = none is known. */
size_t code_area__previous(const struct code_area *area, size_t at);

/* The last place at or before `at` where calls land; SIZE_MAX = none. */
size_t code_area__entry(const struct code_area *area, size_t at);

/* Counts the direct calls, jumps and branches to an address, out of all areas. */
uint32_t site_code__count_refs(const struct site_code *code, uint64_t vaddr);

#endif
