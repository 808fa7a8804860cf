/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reader of one 64-bit ELF file of this machine's byte order (System V ABI, gABI chapters 4 and 5),
 * by pread only: a file that shrinks under a mapping would raise SIGBUS. Nothing in the file is
 * trusted.
 */
#ifndef LEAKSWEEP_SYMBOLIZE_ELF_IMAGE_H
#define LEAKSWEEP_SYMBOLIZE_ELF_IMAGE_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_ELF_BUILD_ID 32 /* bytes, as MAX_BUILD_ID of the model; longer ones are ignored */

/* Tells whether two descriptors lead to the same file with the same contents. */
struct file_identity {
	uint64_t dev, ino;
	uint64_t size;	   /* bytes */
	uint64_t mtime_ns; /* CLOCK_REALTIME */
};

struct elf_image {
	int fd;		      /* borrowed; -1 = read from `image` */
	const uint8_t *image; /* borrowed */
	uint64_t size;	      /* bytes */
	Elf64_Phdr *phdrs;
	size_t phdr_cnt;
	Elf64_Shdr *shdrs;
	size_t shdr_cnt; /* 0 = no section headers */
	char *names;	 /* section names, or NULL */
	size_t names_size;
};

/*
 * Reads the headers of a regular file; `fd` must stay open until elf_image__close. Returns 0,
 * -ENOEXEC (not a regular file, or no proper ELF file of this machine), -ENOMEM or another negative
 * errno.
 */
int elf_image__open(struct elf_image *ret_file, int fd);

/* The same for an ELF image in memory that stays until elf_image__close. */
int elf_image__open_image(struct elf_image *ret_file, const void *image, size_t size);

/* Frees what the open functions made; the descriptor or the image stays the caller's. */
void elf_image__close(struct elf_image *file);

/*
 * Reads exactly `len` bytes at file offset `off`. Returns 0, -ENOEXEC (outside the file) or a
 * negative errno.
 */
int elf_image__read(const struct elf_image *file, uint64_t off, void *buf, size_t len);

/*
 * Reads `len` bytes at `off` into new memory with a zero byte after them. Returns 0, -EFBIG (more
 * than `max` bytes) or as elf_image__read. The caller frees *ret_data.
 */
int elf_image__load(const struct elf_image *file, uint64_t off, uint64_t len, size_t max,
		   char **ret_data);

/* Returns the first section of the type that has contents, or NULL. */
const Elf64_Shdr *elf_image__section_of_type(const struct elf_image *file, uint32_t type);

/* Returns the first section of the name that has contents, or NULL. */
const Elf64_Shdr *elf_image__section_named(const struct elf_image *file, const char *name);

/*
 * Identifies the regular file behind a descriptor. Returns 0, -ENOEXEC (not a regular file) or a
 * negative errno.
 */
int file_identity__read(int fd, struct file_identity *ret_identity);

/*
 * Finds the GNU build-id note. ret_id has room for MAX_ELF_BUILD_ID bytes.
 * Returns its length, or 0 = none.
 */
size_t elf_image__build_id(const struct elf_image *file, uint8_t *ret_id);

#endif
