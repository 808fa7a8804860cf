/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_slots.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "python/elf_dynamic.h"

#define MAX_RELOCATIONS (2U << 20)
#define MAX_NAME 64 /* bytes, of those that are asked for */
#define BATCH 1024  /* relocations read at once */

/* Whether `len` bytes at an address of the file are there; *ret_off is where. */
static bool find_bytes(const struct elf_image *image, uint64_t vaddr, uint64_t len,
		       uint64_t *ret_off)
{
	uint64_t avail;

	return elf_segments__offset(&image->segments, vaddr, false, ret_off, &avail) &&
	       avail >= len;
}

static bool is_named(const struct elf_image *image, const struct elf_dynamic *dynamic,
		     uint32_t index, const char *name)
{
	size_t size = strlen(name) + 1;
	char text[MAX_NAME];
	Elf64_Sym sym;
	uint64_t off;

	if (size > sizeof(text))
		return false;
	if (!find_bytes(image, dynamic->symtab + (uint64_t)index * sizeof(sym), sizeof(sym),
			&off) ||
	    elf_image__read(image, off, &sym, sizeof(sym)))
		return false;
	if (sym.st_name >= dynamic->strsz || dynamic->strsz - sym.st_name < size ||
	    !find_bytes(image, dynamic->strtab + sym.st_name, size, &off) ||
	    elf_image__read(image, off, text, size))
		return false;
	return !memcmp(text, name, size);
}

static int add_batch(const struct elf_image *image, const struct elf_dynamic *dynamic,
		     const Elf64_Rela *relas, size_t cnt, const char *name,
		     struct site_slots *slots)
{
	int err = 0;

	for (size_t i = 0; i < cnt && !err; i++) {
		uint32_t type = ELF64_R_TYPE(relas[i].r_info);

		if ((type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT) &&
		    is_named(image, dynamic, ELF64_R_SYM(relas[i].r_info), name))
			err = array_push(&slots->vaddrs, relas[i].r_offset);
	}
	return err;
}

static int add_table(const struct elf_image *image, const struct elf_dynamic *dynamic,
		     uint64_t vaddr, uint64_t size, const char *name, struct site_slots *slots)
{
	uint64_t off, total = size / sizeof(Elf64_Rela);
	Elf64_Rela *relas;
	size_t cnt;
	int err = 0;

	if (!vaddr || total > MAX_RELOCATIONS || !find_bytes(image, vaddr, size, &off))
		return 0;
	relas = malloc(BATCH * sizeof(*relas));
	if (!relas)
		return -ENOMEM;
	for (uint64_t i = 0; i < total && !err; i += cnt) {
		cnt = total - i < BATCH ? (size_t)(total - i) : BATCH;
		if (elf_image__read(image, off + i * sizeof(*relas), relas, cnt * sizeof(*relas)))
			break;
		err = add_batch(image, dynamic, relas, cnt, name, slots);
	}
	free(relas);
	return err;
}

int site_slots__add(const struct elf_image *image, const char *name, struct site_slots *slots)
{
	struct elf_dynamic dynamic;
	int err;

	if (!elf_dynamic__read(image, &dynamic))
		return 0;
	err = add_table(image, &dynamic, dynamic.plt, dynamic.plt_size, name, slots);
	return err ? err : add_table(image, &dynamic, dynamic.rela, dynamic.rela_size, name, slots);
}

void site_slots__free(struct site_slots *slots)
{
	array_free(&slots->vaddrs);
}
