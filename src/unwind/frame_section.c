/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/frame_section.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MAX_FRAME_BYTES (256U << 20) /* Chromium's .eh_frame has some 15 MB */
#define MAX_SECTION_NAMES (16U << 20)

#define NAME_EH 1 /* in `names` */
#define NAME_DEBUG 11
static const char names[] = "\0.eh_frame\0.debug_frame";

/* What stands before the section in our file. */
struct head {
	Elf64_Ehdr ehdr;
	Elf64_Shdr shdrs[3]; /* none, the section, names */
	char names[sizeof(names)];
} __attribute__((aligned(16)));

void frame_section__free(struct frame_section *section)
{
	free(section->file);
	*section = (struct frame_section){0};
}

/* Makes the file around a section of `size` bytes, which are not filled in. */
static int make_file(struct frame_section *ret, size_t size, uint64_t vaddr, bool eh)
{
	struct head head = {
		.ehdr = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				     EV_CURRENT},
			 .e_type = ET_DYN,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_shoff = offsetof(struct head, shdrs),
			 .e_ehsize = sizeof(Elf64_Ehdr),
			 .e_shentsize = sizeof(Elf64_Shdr),
			 .e_shnum = 3,
			 .e_shstrndx = 2},
		.shdrs = {{0},
			  {.sh_name = eh ? NAME_EH : NAME_DEBUG,
			   .sh_type = SHT_PROGBITS,
			   .sh_flags = eh ? SHF_ALLOC : 0,
			   .sh_addr = vaddr,
			   .sh_offset = sizeof(struct head),
			   .sh_size = size,
			   .sh_addralign = 1},
			  {.sh_type = SHT_STRTAB,
			   .sh_offset = offsetof(struct head, names),
			   .sh_size = sizeof(names),
			   .sh_addralign = 1}},
	};
	uint8_t *file;

	if (size > MAX_FRAME_BYTES)
		return -EFBIG;
	file = malloc(sizeof(head) + size);
	if (!file)
		return -ENOMEM;
	memcpy(head.names, names, sizeof(names));
	memcpy(file, &head, sizeof(head));
	*ret = (struct frame_section){
		.file = file,
		.file_size = sizeof(head) + size,
		.data = file + sizeof(head),
		.size = size,
		.vaddr = vaddr,
		.eh = eh,
		.bounded = true,
	};
	return 0;
}

void frame_section__cut(struct frame_section *section, size_t from, size_t to)
{
	struct head *head = (struct head *)(void *)section->file;

	section->data += from;
	section->size = to - from;
	section->vaddr += from;
	head->shdrs[1].sh_offset += from;
	head->shdrs[1].sh_addr = section->vaddr;
	head->shdrs[1].sh_size = section->size;
}

static int load(const struct elf_image *image, uint64_t off, uint64_t size, uint64_t vaddr, bool eh,
		struct frame_section *ret)
{
	struct frame_section section;
	int err;

	if (off > image->size || size > image->size - off)
		return -ENOENT;
	err = make_file(&section, size, vaddr, eh);
	if (err)
		return err;
	err = elf_image__read(image, off, section.data, size);
	if (err)
		frame_section__free(&section);
	else
		*ret = section;
	return err;
}

/* ---- .eh_frame without a section header ------------------------------------------------------ */

struct eh_frame_hdr {
	uint8_t version; /* 1 */
	uint8_t pointer_encoding, count_encoding, table_encoding;
	uint8_t pointer[8];
};

/* Finds the address of .eh_frame from the encodings that linkers use (DW_EH_PE_*, LSB 5, 10.5.1).
 */
static bool decode_eh_pointer(const struct eh_frame_hdr *hdr, uint64_t hdr_vaddr,
			      uint64_t *ret_vaddr)
{
	uint64_t value, base = 0;
	int32_t narrow;

	memcpy(&narrow, hdr->pointer, sizeof(narrow));
	memcpy(&value, hdr->pointer, sizeof(value));
	switch (hdr->pointer_encoding & 0x0f) {
	case 0x03: /* udata4 */
		value = (uint32_t)narrow;
		break;
	case 0x0b: /* sdata4 */
		value = (uint64_t)(int64_t)narrow;
		break;
	case 0x00: /* absptr */
	case 0x04: /* udata8 */
	case 0x0c: /* sdata8 */
		break;
	default:
		return false;
	}
	switch (hdr->pointer_encoding & 0xf0) {
	case 0x00: /* absolute */
		break;
	case 0x10: /* pcrel */
		base = hdr_vaddr + offsetof(struct eh_frame_hdr, pointer);
		break;
	case 0x30: /* datarel: from the header */
		base = hdr_vaddr;
		break;
	default:
		return false;
	}
	*ret_vaddr = value + base;
	return hdr->version == 1;
}

static int load_eh_by_segment(const struct elf_image *image, struct frame_section *ret)
{
	const Elf64_Phdr *phdr = NULL;
	uint64_t vaddr, off, avail;
	struct eh_frame_hdr hdr;
	int err;

	for (size_t i = 0; i < image->phdr_cnt && !phdr; i++)
		if (image->phdrs[i].p_type == PT_GNU_EH_FRAME)
			phdr = &image->phdrs[i];
	if (!phdr || elf_image__read(image, phdr->p_offset, &hdr, sizeof(hdr)) ||
	    !decode_eh_pointer(&hdr, phdr->p_vaddr, &vaddr) ||
	    !elf_segments__offset(&image->segments, vaddr, false, &off, &avail))
		return -ENOENT;
	err = load(image, off, avail, vaddr, true, ret);
	if (!err)
		ret->bounded = false;
	return err;
}

int frame_section__load_eh(const struct elf_image *image, struct frame_section *ret)
{
	const Elf64_Shdr *shdr;
	int err;

	err = elf_image__section_named(image, ".eh_frame", &shdr);
	if (!err)
		err = load(image, shdr->sh_offset, shdr->sh_size, shdr->sh_addr, true, ret);
	if (err == -ENOENT)
		err = load_eh_by_segment(image, ret);
	return err;
}

/* ---- compressed .debug_frame ----------------------------------------------------------------- */

/* Finds a section that elf_image__section_named does not see because it is compressed. */
static int find_compressed(const struct elf_image *image, const char *name, Elf64_Shdr *ret)
{
	size_t len = strlen(name) + 1;
	const Elf64_Shdr *shdr;
	int err = -ENOENT;
	char *text;

	if (image->section_names >= image->shdr_cnt)
		return -ENOENT;
	shdr = &image->shdrs[image->section_names];
	if (shdr->sh_type != SHT_STRTAB ||
	    elf_image__load(image, shdr->sh_offset, shdr->sh_size, MAX_SECTION_NAMES, &text))
		return -ENOENT;
	for (size_t i = 0; i < image->shdr_cnt && err; i++) {
		const Elf64_Shdr *candidate = &image->shdrs[i];

		if (candidate->sh_type != SHT_PROGBITS || !(candidate->sh_flags & SHF_COMPRESSED) ||
		    candidate->sh_name >= shdr->sh_size ||
		    shdr->sh_size - candidate->sh_name < len ||
		    memcmp(text + candidate->sh_name, name, len))
			continue;
		*ret = *candidate;
		err = 0;
	}
	free(text);
	return err;
}

/* `size` is what the file claims: zlib packs to a 1032th at best, so more is a lie. */
static int inflate_section(const char *packed, size_t packed_size, uint64_t size,
			   struct frame_section *ret)
{
	struct frame_section section;
	uLongf got;
	int err;

	if (!size || size / 1032 > packed_size)
		return -ENOENT;
	err = make_file(&section, size, 0, false);
	if (err)
		return err;
	got = size;
	if (uncompress(section.data, &got, (const Bytef *)packed, packed_size) != Z_OK ||
	    got != size) {
		frame_section__free(&section);
		return -ENOENT;
	}
	*ret = section;
	return 0;
}

/* Elf64_Chdr and a zlib stream (gABI, "Section Compression"). */
static int unpack_gabi(const char *data, size_t size, struct frame_section *ret)
{
	Elf64_Chdr chdr;

	if (size < sizeof(chdr))
		return -ENOENT;
	memcpy(&chdr, data, sizeof(chdr));
	if (chdr.ch_type != ELFCOMPRESS_ZLIB)
		return -ENOENT;
	return inflate_section(data + sizeof(chdr), size - sizeof(chdr), chdr.ch_size, ret);
}

/* "ZLIB", the size in big endian, a zlib stream: binutils' older way. */
static int unpack_gnu(const char *data, size_t size, struct frame_section *ret)
{
	uint64_t claimed;

	if (size < 12 || memcmp(data, "ZLIB", 4) != 0)
		return -ENOENT;
	memcpy(&claimed, data + 4, sizeof(claimed));
	return inflate_section(data + 12, size - 12, be64toh(claimed), ret);
}

static int load_packed(const struct elf_image *image, const Elf64_Shdr *shdr,
		       int (*unpack)(const char *, size_t, struct frame_section *),
		       struct frame_section *ret)
{
	char *data;
	int err;

	err = elf_image__load(image, shdr->sh_offset, shdr->sh_size, MAX_FRAME_BYTES, &data);
	if (err)
		return err == -EBADMSG ? -ENOENT : err;
	err = unpack(data, shdr->sh_size, ret);
	free(data);
	return err;
}

int frame_section__load_debug(const struct elf_image *image, struct frame_section *ret)
{
	const Elf64_Shdr *shdr;
	Elf64_Shdr packed;
	int err;

	err = elf_image__section_named(image, ".debug_frame", &shdr);
	if (!err)
		return load(image, shdr->sh_offset, shdr->sh_size, 0, false, ret);
	if (err != -ENOENT)
		return err;
	if (!find_compressed(image, ".debug_frame", &packed))
		return load_packed(image, &packed, unpack_gabi, ret);
	err = elf_image__section_named(image, ".zdebug_frame", &shdr);
	return err ? err : load_packed(image, shdr, unpack_gnu, ret);
}
