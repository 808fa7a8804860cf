/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The functions of one ELF file, sorted: .dynsym and .symtab of the file, or, when it has no
 * .symtab itself, of its separate debug file or its .gnu_debugdata. Read once, then the file is not
 * needed any more.
 */
#ifndef LEAKSWEEP_SYMBOLIZE_ELF_SYMBOLS_H
#define LEAKSWEEP_SYMBOLIZE_ELF_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elf_symbols;

struct elf_function {
	const char *name; /* as in the file, version included; lives as long as the table */
	uint32_t name_id; /* equal for equal functions of one table */
	uint64_t start;	  /* virtual address in the file */
};

/*
 * Reads the functions of the ELF file behind `fd`. `path` and `debug_root` as for debug_file__open.
 * Returns 0 (also for a file without any symbols), -ENOEXEC (no proper ELF file), -EFBIG (absurd
 * tables), -ENOMEM or another negative errno. Free with elf_symbols__free.
 */
int elf_symbols__load(int fd, const char *path, const char *debug_root,
		      struct elf_symbols **ret_symbols);

/* The same when the separate debug file is open already, or there is none (-1). */
int elf_symbols__load_pair(int fd, int debug_fd, struct elf_symbols **ret_symbols);

/* The same for an image in memory, such as the vdso; it is not needed afterwards. */
int elf_symbols__load_image(const void *image, size_t size, struct elf_symbols **ret_symbols);

void elf_symbols__free(struct elf_symbols *symbols);

/* Returns whether there is no function at all. */
bool elf_symbols__empty(const struct elf_symbols *symbols);

/*
 * Translates a file offset to the virtual address that a segment gives it. Returns whether one
 * does.
 */
bool elf_symbols__address(const struct elf_symbols *symbols, uint64_t offset,
			  uint64_t *ret_address);

/* Finds the innermost function that covers the virtual address. Returns whether there is one. */
bool elf_symbols__find(const struct elf_symbols *symbols, uint64_t address,
		       struct elf_function *ret_function);

#endif
