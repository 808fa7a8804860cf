/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bytes of the code to scan, and their instructions. */
#ifndef LEAKSWEEP_UNWIND_CODE_TEXT_H
#define LEAKSWEEP_UNWIND_CODE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "unwind/code_insn.h"
#include "unwind/table_builder.h"
#include "util/array.h"
#include "util/elf_image.h"
#include "util/hashmap.h"

#define CODE_NO_INSN UINT32_MAX

struct code_region {
	uint32_t start, end; /* offsets from the base */
	uint8_t *bytes;	     /* owned */
};

struct code_text {
	uint64_t base;			   /* address that offsets count from */
	struct code_ranges executable;	   /* addresses, also of code that is not scanned */
	ARRAY(struct code_region) regions; /* sorted */
	ARRAY(struct code_insn) insns;	   /* the first sweep_cnt are sorted by `at` */
	uint32_t sweep_cnt;
	struct insn_decoder *decoder;
	struct hashmap strays; /* at -> insn, of those that the sweep did not meet */
};

/*
 * Reads the executable parts of the file that are not in `covered`. Returns 0 (*ret without
 * regions: there is nothing, or more than max_bytes), -ENOMEM, or as elf_image__read. Free with
 * code_text__free in any case.
 */
int code_text__load(const struct elf_image *image, const struct code_ranges *covered,
		    uint64_t max_bytes, struct code_text *ret);
void code_text__free(struct code_text *text);

/*
 * Decodes all regions from their beginnings on, once. It begins anew at each of `starts`, sorted
 * offsets. Returns 0 or -ENOMEM.
 */
int code_text__sweep(struct code_text *text, const uint32_t *starts, size_t cnt);

/* Returns the offset of an address in a region; false if it is in none. */
bool code_text__offset(const struct code_text *text, uint64_t vaddr, uint32_t *ret_at);

/* Whether the offset is one of code that somebody else describes, or that was not read. */
bool code_text__is_foreign(const struct code_text *text, int64_t at);

/*
 * Whether the code at an offset begins as a program's first does: by clearing the frame pointer
 * (xor %ebp, %ebp), or as glibc's loader by handing on the bare stack pointer.
 */
bool code_text__is_first_code(const struct code_text *text, uint32_t at);

/*
 * Finds the instruction at an offset, of those decoded so far. Returns its index or CODE_NO_INSN.
 */
uint32_t code_text__find(const struct code_text *text, int64_t at);

/* The same, and decodes it when needed; that may move text->insns. */
uint32_t code_text__decode(struct code_text *text, int64_t at);

/* Returns the index of the first instruction of the sweep at an offset of at least `at`. */
uint32_t code_text__lower(const struct code_text *text, uint32_t at);

#endif
