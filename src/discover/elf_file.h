/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What finding a function takes beside an ELF file's headers (util/elf_image.h): symbol tables and
 * relocations, also of a file without sections (layouts: elf(5), the System V gABI, DT_GNU_HASH as
 * GNU ld and lld write it). Every table has a fixed limit; memory stays below about 24 MiB.
 */
#ifndef LEAKSWEEP_DISCOVER_ELF_FILE_H
#define LEAKSWEEP_DISCOVER_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/elf_image.h"

struct elf_symtab {
	uint64_t off, cnt; /* of Elf64_Sym */
	uint64_t str_off, str_size;
	bool is_dynamic;
};

struct elf_relocs {
	uint64_t off, cnt; /* of Elf64_Rela */
};

struct elf_file {
	struct elf_image image;
	bool is_dynamic;	      /* has a PT_INTERP or a PT_DYNAMIC */
	struct elf_symtab symtabs[2]; /* the dynamic one first, if there is any */
	size_t symtab_cnt;
	struct elf_relocs relocs[2]; /* those of the PLT first */
	size_t reloc_cnt;
};

struct elf_symbol {
	const char *name; /* valid during the call */
	uint64_t value, size;
	uint8_t type; /* STT_... */
	bool is_defined;
	bool is_dynamic; /* from .dynsym */
};

/* Called for each symbol; anything but 0 ends the walk and is its result. */
typedef int (*elf_symbol_fn)(void *arg, const struct elf_symbol *symbol);

/* Called for each relocation against a symbol: `slot` is the address that receives the symbol's. */
typedef int (*elf_reloc_fn)(void *arg, uint64_t slot, uint32_t symbol_idx);

/*
 * Reads a program or library of this machine that has segments. `fd` stays the caller's. Returns 0,
 * -ENOEXEC, -ENOTSUP, -EBADMSG (see elf_allocs__read) or a negative errno. Release with
 * elf_file__close.
 */
int elf_file__open(int fd, struct elf_file *ret);
void elf_file__close(struct elf_file *file);

/* Walks all symbol tables. Symbols with names longer than `name_max` are left out. */
int elf_file__each_symbol(const struct elf_file *file, size_t name_max, elf_symbol_fn fn,
			  void *arg);

/* Walks the relocations of the PLT and of the other tables. */
int elf_file__each_reloc(const struct elf_file *file, elf_reloc_fn fn, void *arg);

/* Copies the name of symbol `idx` of the dynamic table. Returns false when there is none that fits.
 */
bool elf_file__dynamic_name(const struct elf_file *file, uint32_t idx, char *buf, size_t buf_size);

#endif
