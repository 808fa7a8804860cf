/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/elf_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/regular_file.h"

#define MAX_PHDRS 1170	    /* the kernel executes no file with more (64 KiB of them) */
#define MAX_SEGMENTS 128    /* linkers make four to ten */
#define MAX_NOTE_TABLES 128 /* linkers make one to four */
#define MAX_NOTE_BYTES (64U << 10)
#define MAX_SECTION_NAMES (16U << 20)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NATIVE_DATA ELFDATA2LSB
#else
#define NATIVE_DATA ELFDATA2MSB
#endif

int elf_image__read(const struct elf_image *image, uint64_t off, void *buf, size_t len)
{
	uint8_t *to = buf;
	ssize_t got;

	if (off > image->size || len > image->size - off)
		return -EBADMSG;
	if (image->fd < 0) {
		if (len)
			memcpy(to, image->memory + off, len);
		return 0;
	}
	while (len) {
		got = pread(image->fd, to, len, (off_t)off);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return -EBADMSG; /* it has shrunk */
		to += got;
		off += (uint64_t)got;
		len -= (size_t)got;
	}
	return 0;
}

int elf_image__load(const struct elf_image *image, uint64_t off, uint64_t len, size_t max,
		    char **ret_data)
{
	char *data;
	int err;

	if (off > image->size || len > image->size - off)
		return -EBADMSG;
	if (len > max)
		return -EFBIG;
	data = malloc(len + 1);
	if (!data)
		return -ENOMEM;
	err = elf_image__read(image, off, data, len);
	if (err) {
		free(data);
		return err;
	}
	data[len] = '\0';
	*ret_data = data;
	return 0;
}

/* ---- headers -------------------------------------------------------------------------------- */

static int read_ehdr(const struct elf_image *image, uint16_t machine, Elf64_Ehdr *ret)
{
	int err;

	if (image->size < SELFMAG)
		return -ENOEXEC;
	err = elf_image__read(image, 0, ret->e_ident, SELFMAG);
	if (err)
		return err;
	if (memcmp(ret->e_ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	if (image->size < sizeof(Elf32_Ehdr))
		return -EBADMSG;
	/* Up to e_machine both classes have the same layout. */
	err = elf_image__read(image, 0, ret, offsetof(Elf64_Ehdr, e_version));
	if (err)
		return err;
	if (ret->e_ident[EI_CLASS] != ELFCLASS64 || ret->e_ident[EI_DATA] != NATIVE_DATA ||
	    (machine != EM_NONE && ret->e_machine != machine))
		return -ENOTSUP;
	if (ret->e_type != ET_EXEC && ret->e_type != ET_DYN)
		return -ENOEXEC;
	return elf_image__read(image, 0, ret, sizeof(*ret));
}

static int add_segment(struct elf_image *image, const Elf64_Phdr *phdr)
{
	struct elf_segment segment = {
		.vaddr = phdr->p_vaddr,
		.off = phdr->p_offset,
		.size = phdr->p_filesz,
		.executable = phdr->p_flags & PF_X,
	};

	if (segment.off >= image->size || !segment.size)
		return 0;
	if (segment.size > image->size - segment.off)
		segment.size = image->size - segment.off;
	if (segment.vaddr > UINT64_MAX - segment.size)
		return 0;
	if (image->segments.list.cnt >= MAX_SEGMENTS)
		return -EBADMSG;
	return array_push(&image->segments.list, segment);
}

static int read_phdrs(struct elf_image *image, const Elf64_Ehdr *ehdr)
{
	size_t cnt = ehdr->e_phnum;
	int err;

	if (!cnt)
		return 0; /* a debug file may have no program headers */
	if (cnt > MAX_PHDRS || ehdr->e_phentsize != sizeof(Elf64_Phdr))
		return -EBADMSG;
	err = elf_image__load(image, ehdr->e_phoff, cnt * sizeof(Elf64_Phdr), SIZE_MAX - 1,
			      (char **)&image->phdrs);
	if (err)
		return err;
	image->phdr_cnt = cnt;
	for (size_t i = 0; i < cnt && !err; i++)
		if (image->phdrs[i].p_type == PT_LOAD)
			err = add_segment(image, &image->phdrs[i]);
	return err;
}

/*
 * Section headers are optional for running a program, so a file whose section headers are damaged
 * is read as one without. So is one that needs the extended numbering (SHN_LORESERVE sections or
 * more), which no linker writes into a program.
 */
static int read_shdrs(struct elf_image *image, const Elf64_Ehdr *ehdr)
{
	int err;

	if (!ehdr->e_shoff || !ehdr->e_shnum || ehdr->e_shnum >= SHN_LORESERVE ||
	    ehdr->e_shentsize != sizeof(Elf64_Shdr))
		return 0;
	err = elf_image__load(image, ehdr->e_shoff, ehdr->e_shnum * sizeof(Elf64_Shdr),
			      SIZE_MAX - 1, (char **)&image->shdrs);
	if (err)
		return err == -ENOMEM ? err : 0;
	image->shdr_cnt = ehdr->e_shnum;
	image->section_names = ehdr->e_shstrndx;
	return 0;
}

static int open_any(struct elf_image *ret_image, struct elf_image image, uint16_t machine)
{
	Elf64_Ehdr ehdr;
	int err;

	err = read_ehdr(&image, machine, &ehdr);
	if (err)
		return err;
	image.machine = ehdr.e_machine;
	err = read_phdrs(&image, &ehdr);
	if (!err)
		err = read_shdrs(&image, &ehdr);
	if (err)
		elf_image__close(&image);
	else
		*ret_image = image;
	return err;
}

int elf_image__open(struct elf_image *ret_image, int fd, uint16_t machine)
{
	struct stat st;
	int err = regular_file__stat(fd, &st);

	if (err)
		return err == -ENXIO ? -ENOEXEC : err;
	return open_any(ret_image, (struct elf_image){.fd = fd, .size = (uint64_t)st.st_size},
			machine);
}

int elf_image__open_memory(struct elf_image *ret_image, const void *memory, size_t size)
{
	return open_any(ret_image, (struct elf_image){.fd = -1, .memory = memory, .size = size},
			EM_NONE);
}

void elf_image__close(struct elf_image *image)
{
	free(image->phdrs);
	free(image->shdrs);
	array_free(&image->segments.list);
	*image = (struct elf_image){.fd = -1};
}

/* ---- sections ------------------------------------------------------------------------------- */

static bool has_contents(const Elf64_Shdr *shdr)
{
	return shdr->sh_type != SHT_NULL && shdr->sh_type != SHT_NOBITS && shdr->sh_size &&
	       !(shdr->sh_flags & SHF_COMPRESSED);
}

const Elf64_Shdr *elf_image__section_of_type(const struct elf_image *image, uint32_t type)
{
	for (size_t i = 0; i < image->shdr_cnt; i++)
		if (image->shdrs[i].sh_type == type && has_contents(&image->shdrs[i]))
			return &image->shdrs[i];
	return NULL;
}

int elf_image__section_named(const struct elf_image *image, const char *name,
			     const Elf64_Shdr **ret_section)
{
	size_t len = strlen(name) + 1, names_size;
	const Elf64_Shdr *shdr;
	int err = -ENOENT;
	char *names;

	if (image->section_names >= image->shdr_cnt)
		return -ENOENT;
	shdr = &image->shdrs[image->section_names];
	if (!has_contents(shdr))
		return -ENOENT;
	err = elf_image__load(image, shdr->sh_offset, shdr->sh_size, MAX_SECTION_NAMES, &names);
	if (err)
		return err == -ENOMEM ? err : -ENOENT;
	names_size = shdr->sh_size + 1;
	err = -ENOENT;
	for (size_t i = 0; i < image->shdr_cnt && err; i++) {
		shdr = &image->shdrs[i];
		if (!has_contents(shdr) || shdr->sh_name >= names_size ||
		    names_size - shdr->sh_name < len || memcmp(names + shdr->sh_name, name, len))
			continue;
		*ret_section = shdr;
		err = 0;
	}
	free(names);
	return err;
}

/* ---- build-id ------------------------------------------------------------------------------- */

static size_t align_up(size_t value, size_t align)
{
	return (value + align - 1) & ~(align - 1);
}

/*
 * Notes are {name size, description size, type, name, description}; the description and the next
 * note begin at multiples of `align`.
 */
static size_t find_build_id(const char *notes, size_t size, size_t align, uint8_t *ret_id)
{
	size_t pos = 0, name, desc;
	Elf64_Nhdr note;

	while (size - pos >= sizeof(note)) {
		memcpy(&note, notes + pos, sizeof(note));
		name = pos + sizeof(note);
		desc = align_up(name + note.n_namesz, align);
		if (desc > size || note.n_descsz > size - desc)
			return 0;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof(ELF_NOTE_GNU) &&
		    !memcmp(notes + name, ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)) &&
		    note.n_descsz >= 2 && note.n_descsz <= MAX_ELF_BUILD_ID) {
			memcpy(ret_id, notes + desc, note.n_descsz);
			return note.n_descsz;
		}
		pos = align_up(desc + note.n_descsz, align);
		if (pos > size)
			return 0;
	}
	return 0;
}

static size_t read_build_id(const struct elf_image *image, uint64_t off, uint64_t size,
			    uint64_t align, uint8_t *ret_id)
{
	char *notes;
	size_t len;

	if (off > image->size || size > MAX_NOTE_BYTES)
		return 0;
	/* Of a file that was cut off, what is there is good. */
	if (size > image->size - off)
		size = image->size - off;
	if (elf_image__load(image, off, size, MAX_NOTE_BYTES, &notes))
		return 0;
	len = find_build_id(notes, size, align == 8 ? 8 : 4, ret_id);
	free(notes);
	return len;
}

size_t elf_image__build_id(const struct elf_image *image, uint8_t ret_id[static MAX_ELF_BUILD_ID])
{
	size_t len = 0, table_cnt = 0;
	const Elf64_Phdr *phdr;
	const Elf64_Shdr *shdr;

	/*
	 * Sections first: the segments of a debug file keep offsets of contents that were taken
	 * out.
	 */
	for (size_t i = 0; i < image->shdr_cnt && !len && table_cnt < MAX_NOTE_TABLES; i++) {
		shdr = &image->shdrs[i];
		if (shdr->sh_type != SHT_NOTE || !has_contents(shdr))
			continue;
		len = read_build_id(image, shdr->sh_offset, shdr->sh_size, shdr->sh_addralign,
				    ret_id);
		table_cnt++;
	}
	for (size_t i = 0; i < image->phdr_cnt && !len && table_cnt < MAX_NOTE_TABLES; i++) {
		phdr = &image->phdrs[i];
		if (phdr->p_type != PT_NOTE)
			continue;
		len = read_build_id(image, phdr->p_offset, phdr->p_filesz, phdr->p_align, ret_id);
		table_cnt++;
	}
	return len;
}

/* ---- addresses and offsets ------------------------------------------------------------------ */

bool elf_segments__offset(const struct elf_segments *segments, uint64_t vaddr, bool executable,
			  uint64_t *ret_off, uint64_t *ret_avail)
{
	for (size_t i = 0; i < segments->list.cnt; i++) {
		const struct elf_segment *segment = &segments->list.items[i];

		if (vaddr < segment->vaddr || vaddr - segment->vaddr >= segment->size ||
		    (executable && !segment->executable))
			continue;
		*ret_off = segment->off + (vaddr - segment->vaddr);
		*ret_avail = segment->size - (vaddr - segment->vaddr);
		return true;
	}
	return false;
}

bool elf_segments__vaddr(const struct elf_segments *segments, uint64_t off, uint64_t *ret_vaddr)
{
	const struct elf_segment *segment, *found = NULL;

	/* Segments may share a page of the file. */
	for (size_t i = 0; i < segments->list.cnt; i++) {
		segment = &segments->list.items[i];
		if (off >= segment->off && off - segment->off < segment->size &&
		    (!found || (segment->executable && !found->executable)))
			found = segment;
	}
	if (!found)
		return false;
	*ret_vaddr = found->vaddr + (off - found->off);
	return true;
}
