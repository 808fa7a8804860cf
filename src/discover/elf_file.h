/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of an ELF file that finding a function takes: segments, symbol tables, relocations,
 * build-id (layouts: elf(5), the System V gABI, DT_GNU_HASH as GNU ld and lld write it).
 *
 * Read with pread and nothing else. A mapped file that its owner truncates is a SIGBUS, and libelf
 * sizes its tables by what the file claims; here every table has a fixed limit and memory stays
 * below about 20 MiB.
 */
#ifndef LEAKSWEEP_DISCOVER_ELF_FILE_H
#define LEAKSWEEP_DISCOVER_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/array.h"

struct elf_segment {
	uint64_t vaddr, off, size; /* what of a PT_LOAD lies in the file */
	bool executable;
};

struct elf_symtab {
	uint64_t off, cnt; /* of Elf64_Sym */
	uint64_t str_off, str_size;
	bool is_dynamic;
};

struct elf_relocs {
	uint64_t off, cnt; /* of Elf64_Rela */
};

struct elf_file {
	int fd; /* borrowed */
	uint64_t size;
	uint16_t machine;
	bool is_dynamic; /* has a PT_INTERP or a PT_DYNAMIC */
	ARRAY(struct elf_segment) segments;
	struct elf_symtab symtabs[2]; /* the dynamic one first, if there is any */
	size_t symtab_cnt;
	struct elf_relocs relocs[2]; /* those of the PLT first */
	size_t reloc_cnt;
	uint8_t build_id[32];
	uint8_t build_id_len;
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
 * Returns 0, -ENOEXEC, -ENOTSUP, -EBADMSG (see elf_allocs__read) or a negative errno. Release with
 * elf_file__close.
 */
int elf_file__open(int fd, struct elf_file *ret);
void elf_file__close(struct elf_file *file);

/*
 * Reads exactly `len` bytes at file offset `off`. Returns 0, -EBADMSG (not there) or a negative
 * errno.
 */
int elf_file__read(const struct elf_file *file, uint64_t off, void *buf, size_t len);

/*
 * Finds the file offset of address `vaddr` and how many bytes of its segment follow from there (at
 * least 1).
 */
bool elf_file__find(const struct elf_file *file, uint64_t vaddr, bool executable, uint64_t *ret_off,
		    uint64_t *ret_avail);

/* Walks all symbol tables. Symbols with names longer than `name_max` are left out. */
int elf_file__each_symbol(const struct elf_file *file, size_t name_max, elf_symbol_fn fn,
			  void *arg);

/* Walks the relocations of the PLT and of the other tables. */
int elf_file__each_reloc(const struct elf_file *file, elf_reloc_fn fn, void *arg);

/* Copies the name of symbol `idx` of the dynamic table. Returns false when there is none that fits.
 */
bool elf_file__dynamic_name(const struct elf_file *file, uint32_t idx, char *buf, size_t buf_size);

#endif
