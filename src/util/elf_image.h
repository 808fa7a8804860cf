/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The base of whatever reads a 64-bit ELF file of this machine's byte order (System V ABI, gABI
 * chapters 4 and 5): headers, segments, sections, build-id. By pread only: a file that shrinks
 * under a mapping would raise SIGBUS, and libelf sizes its tables by what the file claims. Nothing
 * in the file is trusted: every table has a fixed limit, what is kept stays below 5 MiB.
 */
#ifndef LEAKSWEEP_UTIL_ELF_IMAGE_H
#define LEAKSWEEP_UTIL_ELF_IMAGE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/array.h"

#define MAX_ELF_BUILD_ID 32 /* bytes, as MAX_BUILD_ID of the model; longer ones are ignored */

struct elf_segment {
	uint64_t vaddr, off, size; /* what of a PT_LOAD lies in the file; size > 0 */
	bool executable;
};

struct elf_segments {
	ARRAY(struct elf_segment) list; /* as in the file */
};

struct elf_image {
	int fd;		       /* borrowed; -1 = read from `memory` */
	const uint8_t *memory; /* borrowed */
	uint64_t size;	       /* bytes */
	uint16_t machine;      /* EM_... */
	Elf64_Phdr *phdrs;
	size_t phdr_cnt; /* 0 = none, as in some debug files */
	struct elf_segments segments;
	Elf64_Shdr *shdrs;
	size_t shdr_cnt;      /* 0 = no section headers, or damaged ones */
	size_t section_names; /* index of the section that holds them; shdr_cnt or more = none */
};

/*
 * Reads the headers of a regular file; `fd` must stay open until elf_image__close, its position is
 * not used. `machine` is the only one wanted, EM_NONE = any. Returns 0, -ENOEXEC (not a regular
 * file, no ELF file, neither program nor library), -ENOTSUP (32-bit, or of another byte order or
 * machine), -EBADMSG (broken), -ENOMEM or another negative errno.
 */
int elf_image__open(struct elf_image *ret_image, int fd, uint16_t machine);

/* The same for an image of any machine in memory that stays until elf_image__close. */
int elf_image__open_memory(struct elf_image *ret_image, const void *memory, size_t size);

/* Frees what the open functions made; the descriptor or the memory stays the caller's. */
void elf_image__close(struct elf_image *image);

/*
 * Reads exactly `len` bytes at file offset `off`. Returns 0, -EBADMSG (not there) or a negative
 * errno.
 */
int elf_image__read(const struct elf_image *image, uint64_t off, void *buf, size_t len);

/*
 * Reads `len` bytes at `off` into new memory with a zero byte after them. Returns 0, -EFBIG (more
 * than `max` bytes) or as elf_image__read. The caller frees *ret_data.
 */
int elf_image__load(const struct elf_image *image, uint64_t off, uint64_t len, size_t max,
		    char **ret_data);

/* Returns the first section of the type that has contents, or NULL. */
const Elf64_Shdr *elf_image__section_of_type(const struct elf_image *image, uint32_t type);

/* Finds the first section of the name that has contents. Returns 0, -ENOENT or -ENOMEM. */
int elf_image__section_named(const struct elf_image *image, const char *name,
			     const Elf64_Shdr **ret_section);

/* Finds the GNU build-id note. Returns its length in bytes, 0 = none. */
size_t elf_image__build_id(const struct elf_image *image, uint8_t ret_id[static MAX_ELF_BUILD_ID]);

/*
 * Finds the file offset of address `vaddr` and how many bytes of its segment follow from there (at
 * least 1).
 */
bool elf_segments__offset(const struct elf_segments *segments, uint64_t vaddr, bool executable,
			  uint64_t *ret_off, uint64_t *ret_avail);

/* Finds the address of file offset `off`, that in a code segment before any other. */
bool elf_segments__vaddr(const struct elf_segments *segments, uint64_t off, uint64_t *ret_vaddr);

#endif
