/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dynamic section of an ELF file (gABI chapter 5), as its program headers name it. */
#ifndef LEAKSWEEP_PYTHON_ELF_DYNAMIC_H
#define LEAKSWEEP_PYTHON_ELF_DYNAMIC_H

#include <stdbool.h>
#include <stdint.h>

#include "util/elf_image.h"

/* As the file says, unchecked: addresses, and sizes in bytes; 0 = absent. */
struct elf_dynamic {
	uint64_t symtab, strtab, strsz; /* DT_SYMTAB, DT_STRTAB, DT_STRSZ */
	uint64_t hash, gnu_hash;	/* DT_HASH, DT_GNU_HASH */
	uint64_t rela, rela_size;	/* DT_RELA, DT_RELASZ */
	uint64_t plt, plt_size;		/* DT_JMPREL, DT_PLTRELSZ */
};

/*
 * Reads the first PT_DYNAMIC up to DT_NULL or its end, at most 4096 entries; of repeated ones the
 * last counts. Returns whether it could be read and names a symbol and a string table.
 */
bool elf_dynamic__read(const struct elf_image *image, struct elf_dynamic *ret);

#endif
