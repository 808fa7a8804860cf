/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "symbolize/elf_image.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_SECTIONS (1U << 18)
#define MAX_SEGMENTS 4096
#define MAX_SECTION_NAMES (16U << 20)
#define MAX_NOTES (64U << 10)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NATIVE_DATA ELFDATA2LSB
#else
#define NATIVE_DATA ELFDATA2MSB
#endif

int elf_image__read(const struct elf_image *file, uint64_t off, void *buf, size_t len)
{
	uint8_t *to = buf;
	ssize_t got;

	if (off > file->size || len > file->size - off)
		return -ENOEXEC;
	if (file->fd < 0) {
		if (len)
			memcpy(to, file->image + off, len);
		return 0;
	}
	while (len) {
		got = pread(file->fd, to, len, (off_t)off);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return -ENOEXEC; /* it has shrunk */
		to += got;
		off += (uint64_t)got;
		len -= (size_t)got;
	}
	return 0;
}

int elf_image__load(const struct elf_image *file, uint64_t off, uint64_t len, size_t max,
		   char **ret_data)
{
	char *data;
	int err;

	if (off > file->size || len > file->size - off)
		return -ENOEXEC;
	if (len > max)
		return -EFBIG;
	data = malloc(len + 1);
	if (!data)
		return -ENOMEM;
	err = elf_image__read(file, off, data, len);
	if (err) {
		free(data);
		return err;
	}
	data[len] = '\0';
	*ret_data = data;
	return 0;
}

static bool has_contents(const Elf64_Shdr *shdr)
{
	return shdr->sh_type != SHT_NULL && shdr->sh_type != SHT_NOBITS && shdr->sh_size &&
	       !(shdr->sh_flags & SHF_COMPRESSED);
}

const Elf64_Shdr *elf_image__section_of_type(const struct elf_image *file, uint32_t type)
{
	for (size_t i = 0; i < file->shdr_cnt; i++)
		if (file->shdrs[i].sh_type == type && has_contents(&file->shdrs[i]))
			return &file->shdrs[i];
	return NULL;
}

const Elf64_Shdr *elf_image__section_named(const struct elf_image *file, const char *name)
{
	size_t len = strlen(name) + 1;
	const Elf64_Shdr *shdr;

	for (size_t i = 0; i < file->shdr_cnt; i++) {
		shdr = &file->shdrs[i];
		if (!has_contents(shdr) || shdr->sh_name >= file->names_size ||
		    file->names_size - shdr->sh_name < len)
			continue;
		if (!memcmp(file->names + shdr->sh_name, name, len))
			return shdr;
	}
	return NULL;
}

/*
 * Section headers are optional for running a program, so a file whose section headers are damaged
 * is read as one without. gABI: counts that do not fit in the ELF header stand in section header 0.
 */
static int read_sections(struct elf_image *file, const Elf64_Ehdr *ehdr)
{
	uint64_t cnt = ehdr->e_shnum;
	const Elf64_Shdr *strtab;
	Elf64_Shdr first;
	uint32_t names;
	int err;

	if (!ehdr->e_shoff || ehdr->e_shentsize != sizeof(Elf64_Shdr))
		return 0;
	if (elf_image__read(file, ehdr->e_shoff, &first, sizeof(first)))
		return 0;
	if (!cnt)
		cnt = first.sh_size;
	if (!cnt || cnt > MAX_SECTIONS)
		return 0;
	err = elf_image__load(file, ehdr->e_shoff, cnt * sizeof(Elf64_Shdr), SIZE_MAX - 1,
			     (char **)&file->shdrs);
	if (err)
		return err == -ENOMEM ? err : 0;
	file->shdr_cnt = cnt;
	names = ehdr->e_shstrndx == SHN_XINDEX ? first.sh_link : ehdr->e_shstrndx;
	if (names >= cnt || !has_contents(&file->shdrs[names]))
		return 0;
	strtab = &file->shdrs[names];
	err = elf_image__load(file, strtab->sh_offset, strtab->sh_size, MAX_SECTION_NAMES,
			     &file->names);
	if (!err)
		file->names_size = strtab->sh_size + 1;
	return err == -ENOMEM ? err : 0;
}

static int read_segments(struct elf_image *file, const Elf64_Ehdr *ehdr)
{
	size_t cnt = ehdr->e_phnum;
	int err;

	if (!cnt)
		return 0; /* a debug file may have no program headers */
	if (cnt > MAX_SEGMENTS || ehdr->e_phentsize != sizeof(Elf64_Phdr))
		return -ENOEXEC;
	err = elf_image__load(file, ehdr->e_phoff, cnt * sizeof(Elf64_Phdr), SIZE_MAX - 1,
			     (char **)&file->phdrs);
	if (!err)
		file->phdr_cnt = cnt;
	return err;
}

static int read_headers(struct elf_image *file)
{
	Elf64_Ehdr ehdr;
	int err;

	err = elf_image__read(file, 0, &ehdr, sizeof(ehdr));
	if (err)
		return err;
	if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG) || ehdr.e_ident[EI_CLASS] != ELFCLASS64 ||
	    ehdr.e_ident[EI_DATA] != NATIVE_DATA ||
	    (ehdr.e_type != ET_EXEC && ehdr.e_type != ET_DYN))
		return -ENOEXEC;
	err = read_segments(file, &ehdr);
	return err ? err : read_sections(file, &ehdr);
}

static int open_any(struct elf_image *ret_file, struct elf_image file)
{
	int err = read_headers(&file);

	if (err) {
		elf_image__close(&file);
		return err;
	}
	*ret_file = file;
	return 0;
}

int file_identity__read(int fd, struct file_identity *ret_identity)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;
	*ret_identity = (struct file_identity){
		.dev = st.st_dev,
		.ino = st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime_ns =
			(uint64_t)st.st_mtim.tv_sec * 1000000000U + (uint64_t)st.st_mtim.tv_nsec,
	};
	return 0;
}

int elf_image__open(struct elf_image *ret_file, int fd)
{
	struct file_identity identity;
	int err = file_identity__read(fd, &identity);

	if (err)
		return err;
	return open_any(ret_file, (struct elf_image){.fd = fd, .size = identity.size});
}

int elf_image__open_image(struct elf_image *ret_file, const void *image, size_t size)
{
	return open_any(ret_file, (struct elf_image){.fd = -1, .image = image, .size = size});
}

void elf_image__close(struct elf_image *file)
{
	free(file->phdrs);
	free(file->shdrs);
	free(file->names);
	*file = (struct elf_image){.fd = -1};
}

/* Notes are {name size, description size, type, name, description}, both padded to `align`. */
static size_t find_build_id(const char *notes, size_t size, size_t align, uint8_t *ret_id)
{
	size_t pos = 0, name_size, desc_off;
	Elf64_Nhdr note;

	while (size - pos >= sizeof(note)) {
		memcpy(&note, notes + pos, sizeof(note));
		pos += sizeof(note);
		name_size = ((size_t)note.n_namesz + align - 1) & ~(align - 1);
		if (name_size > size - pos || note.n_descsz > size - pos - name_size)
			return 0;
		desc_off = pos + name_size;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
		    !memcmp(notes + pos, "GNU", 4) && note.n_descsz >= 2 &&
		    note.n_descsz <= MAX_ELF_BUILD_ID) {
			memcpy(ret_id, notes + desc_off, note.n_descsz);
			return note.n_descsz;
		}
		pos = desc_off + (((size_t)note.n_descsz + align - 1) & ~(align - 1));
		if (pos > size)
			return 0;
	}
	return 0;
}

static size_t read_build_id(const struct elf_image *file, uint64_t off, uint64_t size,
			    uint64_t align, uint8_t *ret_id)
{
	char *notes;
	size_t len;

	if (elf_image__load(file, off, size, MAX_NOTES, &notes))
		return 0;
	len = find_build_id(notes, size, align == 8 ? 8 : 4, ret_id);
	free(notes);
	return len;
}

size_t elf_image__build_id(const struct elf_image *file, uint8_t *ret_id)
{
	const Elf64_Phdr *phdr;
	const Elf64_Shdr *shdr;
	size_t len = 0;

	/*
	 * Sections first: the segments of a debug file keep offsets of contents that were taken
	 * out.
	 */
	for (size_t i = 0; i < file->shdr_cnt && !len; i++) {
		shdr = &file->shdrs[i];
		if (shdr->sh_type == SHT_NOTE && has_contents(shdr))
			len = read_build_id(file, shdr->sh_offset, shdr->sh_size,
					    shdr->sh_addralign, ret_id);
	}
	for (size_t i = 0; i < file->phdr_cnt && !len; i++) {
		phdr = &file->phdrs[i];
		if (phdr->p_type == PT_NOTE)
			len = read_build_id(file, phdr->p_offset, phdr->p_filesz, phdr->p_align,
					    ret_id);
	}
	return len;
}
