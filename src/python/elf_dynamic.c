/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/elf_dynamic.h"

#include <stddef.h>

#define MAX_DYNAMIC 4096 /* entries; linkers make some thirty */

static uint64_t *field_of(struct elf_dynamic *dynamic, Elf64_Sxword tag)
{
	switch (tag) {
	case DT_SYMTAB:
		return &dynamic->symtab;
	case DT_STRTAB:
		return &dynamic->strtab;
	case DT_STRSZ:
		return &dynamic->strsz;
	case DT_HASH:
		return &dynamic->hash;
	case DT_GNU_HASH:
		return &dynamic->gnu_hash;
	case DT_RELA:
		return &dynamic->rela;
	case DT_RELASZ:
		return &dynamic->rela_size;
	case DT_JMPREL:
		return &dynamic->plt;
	case DT_PLTRELSZ:
		return &dynamic->plt_size;
	default:
		return NULL;
	}
}

bool elf_dynamic__read(const struct elf_image *image, struct elf_dynamic *ret)
{
	const Elf64_Phdr *phdr = image->phdrs, *end = phdr + image->phdr_cnt;
	struct elf_dynamic dynamic = {0};
	Elf64_Dyn entry;
	uint64_t *field;

	while (phdr < end && phdr->p_type != PT_DYNAMIC)
		phdr++;
	if (phdr == end || phdr->p_offset > image->size)
		return false;
	for (uint64_t i = 0; i < phdr->p_filesz / sizeof(entry) && i < MAX_DYNAMIC; i++) {
		if (elf_image__read(image, phdr->p_offset + i * sizeof(entry), &entry,
				    sizeof(entry)))
			return false;
		if (entry.d_tag == DT_NULL)
			break;
		field = field_of(&dynamic, entry.d_tag);
		if (field)
			*field = entry.d_un.d_val;
	}
	if (!dynamic.symtab || !dynamic.strtab)
		return false;
	*ret = dynamic;
	return true;
}
