/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/source.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/arch.h"
#include "util/elf_image.h"

#define MAX_EXTRA (16U << 20) /* bytes of one symbol table or the like */
#define MAX_NAMES (16U << 20)
#define MAX_SIDE_CODE (1U << 20) /* bytes of a section beside a large .text */
#define BLOCK_SIZE (256U << 10)	 /* stays in the CPU's cache between reading and hashing */

/* What is being looked at. */
struct survey {
	struct elf_image image;
	Elf64_Ehdr ehdr;
	char *names; /* of sections; owned */
	size_t names_size;
	bool has_code;	   /* little enough of it */
	bool has_eh_frame; /* a section of that name */
};

/* ---- which parts ---------------------------------------------------------------------------- */

static int add_part(struct table_source *source, uint64_t off, uint64_t len)
{
	struct source_part part = {off, len};

	if (off >= source->file_size || !len)
		return 0;
	if (part.len > source->file_size - off)
		part.len = source->file_size - off;
	return array_push(&source->parts, part);
}

static int compare_parts(const void *a, const void *b)
{
	const struct source_part *x = a, *y = b;

	if (x->off != y->off)
		return x->off < y->off ? -1 : 1;
	return (x->len > y->len) - (x->len < y->len);
}

static int join_parts(struct table_source *source)
{
	struct source_part *parts = source->parts.items, *last = parts;
	size_t cnt = source->parts.cnt;

	qsort(parts, cnt, sizeof(*parts), compare_parts);
	for (size_t i = 1; i < cnt; i++) {
		uint64_t end = parts[i].off + parts[i].len;

		if (parts[i].off > last->off + last->len)
			*++last = parts[i];
		else if (end > last->off + last->len)
			last->len = end - last->off;
	}
	source->parts.cnt = (size_t)(last - parts) + 1;
	for (size_t i = 0; i < source->parts.cnt; i++)
		source->bytes += parts[i].len;
	return source->bytes > MAX_SOURCE_BYTES ? -EFBIG : 0;
}

static const char *section_name(const struct survey *survey, const Elf64_Shdr *shdr)
{
	/* A zero byte follows the last name. */
	return shdr->sh_name < survey->names_size ? survey->names + shdr->sh_name : "";
}

static bool has_contents(const Elf64_Shdr *shdr)
{
	return shdr->sh_type != SHT_NULL && shdr->sh_type != SHT_NOBITS;
}

static bool is_frame_section(const struct survey *survey, const Elf64_Shdr *shdr)
{
	static const char *const names[] = {
		".eh_frame", ".eh_frame_hdr", ".debug_frame", ".zdebug_frame", ".gnu_debugdata",
	};
	const char *name = section_name(survey, shdr);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static bool is_wanted(const struct survey *survey, size_t i)
{
	const Elf64_Shdr *shdr = &survey->image.shdrs[i];

	if (i == survey->image.section_names)
		return shdr->sh_size <= MAX_NAMES;
	if (is_frame_section(survey, shdr))
		return true;
	/* .init, .plt and the like: code that is often without frame data. */
	if (shdr->sh_flags & SHF_EXECINSTR && shdr->sh_size <= MAX_SIDE_CODE)
		return true;
	if (!survey->has_code || shdr->sh_size > MAX_EXTRA)
		return false;
	switch (shdr->sh_type) {
	case SHT_SYMTAB:
	case SHT_DYNSYM:
	case SHT_STRTAB:
	case SHT_RELA:
	case SHT_REL:
	case SHT_DYNAMIC:
	case SHT_INIT_ARRAY:
	case SHT_FINI_ARRAY:
	case SHT_PREINIT_ARRAY:
		return true;
	default:
		return shdr->sh_flags & SHF_EXECINSTR;
	}
}

static int add_sections(struct table_source *source, const struct survey *survey)
{
	const Elf64_Shdr *shdr;
	int err = 0;

	for (size_t i = 0; i < survey->image.shdr_cnt && !err; i++) {
		shdr = &survey->image.shdrs[i];
		if (has_contents(shdr) && is_wanted(survey, i))
			err = add_part(source, shdr->sh_offset, shdr->sh_size);
	}
	return err;
}

static int add_segments(struct table_source *source, const struct survey *survey)
{
	const Elf64_Phdr *phdr;
	bool wanted;
	int err = 0;

	for (size_t i = 0; i < survey->image.phdr_cnt && !err; i++) {
		phdr = &survey->image.phdrs[i];
		wanted = phdr->p_type == PT_GNU_EH_FRAME || phdr->p_type == PT_DYNAMIC;
		/* Without its section, .eh_frame is where PT_GNU_EH_FRAME says: anywhere. */
		if (phdr->p_type == PT_LOAD)
			wanted =
				!survey->has_eh_frame || (survey->has_code && phdr->p_flags & PF_X);
		if (wanted)
			err = add_part(source, phdr->p_offset, phdr->p_filesz);
	}
	return err;
}

static bool has_little_code(const struct elf_segments *segments)
{
	const struct elf_segment *segment;
	uint64_t left = MAX_SOURCE_CODE;

	for (size_t i = 0; i < segments->list.cnt; i++) {
		segment = &segments->list.items[i];
		if (!segment->executable)
			continue;
		if (segment->size > left)
			return false;
		left -= segment->size;
	}
	return true;
}

static int load_names(struct survey *survey)
{
	const Elf64_Shdr *shdr;
	int err;

	if (survey->image.section_names >= survey->image.shdr_cnt)
		return 0;
	shdr = &survey->image.shdrs[survey->image.section_names];
	if (!has_contents(shdr))
		return 0;
	err = elf_image__load(&survey->image, shdr->sh_offset, shdr->sh_size, MAX_NAMES,
			      &survey->names);
	if (!err)
		survey->names_size = shdr->sh_size;
	return err == -ENOMEM ? err : 0; /* names that are not there name nothing */
}

static int survey_open(struct survey *survey, int fd)
{
	const Elf64_Shdr *shdr;
	int err;

	memset(survey, 0, sizeof(*survey));
	err = elf_image__open(&survey->image, fd, ARCH_MACHINE);
	if (err)
		return err;
	err = elf_image__read(&survey->image, 0, &survey->ehdr, sizeof(survey->ehdr));
	if (!err)
		err = load_names(survey);
	if (err) {
		elf_image__close(&survey->image);
		return err;
	}
	survey->has_code = has_little_code(&survey->image.segments);
	for (size_t i = 0; i < survey->image.shdr_cnt; i++) {
		shdr = &survey->image.shdrs[i];
		if (has_contents(shdr) && shdr->sh_size && !(shdr->sh_flags & SHF_COMPRESSED) &&
		    !strcmp(section_name(survey, shdr), ".eh_frame"))
			survey->has_eh_frame = true;
	}
	return 0;
}

static void survey_close(struct survey *survey)
{
	free(survey->names);
	elf_image__close(&survey->image);
}

static int choose_parts(struct table_source *source, const struct survey *survey)
{
	const Elf64_Ehdr *ehdr = &survey->ehdr;
	int err;

	err = add_part(source, 0, sizeof(*ehdr));
	if (!err)
		err = add_part(source, ehdr->e_phoff, survey->image.phdr_cnt * sizeof(Elf64_Phdr));
	if (!err)
		err = add_part(source, ehdr->e_shoff, survey->image.shdr_cnt * sizeof(Elf64_Shdr));
	if (!err)
		err = add_sections(source, survey);
	if (!err)
		err = add_segments(source, survey);
	return err ? err : join_parts(source);
}

int table_source__open(struct table_source *ret, int fd)
{
	struct table_source source = {.fd = fd};
	struct survey survey;
	int err;

	err = survey_open(&survey, fd);
	if (err)
		return err;
	source.file_size = survey.image.size;
	err = choose_parts(&source, &survey);
	survey_close(&survey);
	if (err)
		table_source__close(&source);
	else
		*ret = source;
	return err;
}

void table_source__close(struct table_source *source)
{
	array_free(&source->parts);
}

/* ---- their contents ------------------------------------------------------------------------- */

static int read_block(int fd, uint8_t *to, size_t len, uint64_t off)
{
	ssize_t got;

	while (len) {
		got = pread(fd, to, len, (off_t)off);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -ESTALE;
		to += got;
		off += (uint64_t)got;
		len -= (size_t)got;
	}
	return 0;
}

static int write_block(int fd, const uint8_t *from, size_t len, uint64_t off)
{
	ssize_t put;

	while (len) {
		put = pwrite(fd, from, len, (off_t)off);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put ? -errno : -EIO;
		from += put;
		off += (uint64_t)put;
		len -= (size_t)put;
	}
	return 0;
}

/* Hashes the parts and, unless `copy_fd` is -1, copies them. */
static int process(const struct table_source *source, const uint8_t *key, int copy_fd,
		   uint8_t *ret_fingerprint)
{
	uint8_t *block = malloc(BLOCK_SIZE);
	struct siphash hash;
	int err = 0;

	if (!block)
		return -ENOMEM;
	siphash__init(&hash, key);
	siphash__update(&hash, &source->file_size, sizeof(source->file_size));
	for (size_t i = 0; i < source->parts.cnt && !err; i++) {
		struct source_part part = source->parts.items[i];

		siphash__update(&hash, &part, sizeof(part));
		while (part.len && !err) {
			size_t len = part.len < BLOCK_SIZE ? part.len : BLOCK_SIZE;

			err = read_block(source->fd, block, len, part.off);
			if (!err)
				siphash__update(&hash, block, len);
			if (!err && copy_fd >= 0)
				err = write_block(copy_fd, block, len, part.off);
			part.off += len;
			part.len -= len;
		}
	}
	free(block);
	if (!err)
		siphash__final(&hash, ret_fingerprint);
	return err;
}

int table_source__hash(const struct table_source *source, const uint8_t key[static SIPHASH_BYTES],
		       uint8_t ret_fingerprint[static SIPHASH_BYTES])
{
	return process(source, key, -1, ret_fingerprint);
}

static bool is_same(const struct table_source *a, const struct table_source *b)
{
	return a->file_size == b->file_size && a->parts.cnt == b->parts.cnt &&
	       !memcmp(a->parts.items, b->parts.items, a->parts.cnt * sizeof(*a->parts.items));
}

/* Declares what was not copied empty: else it would seem to be full of zeros. */
static int empty_the_rest(const struct survey *survey, int fd)
{
	Elf64_Shdr *shdr;

	for (size_t i = 0; i < survey->image.shdr_cnt; i++) {
		shdr = &survey->image.shdrs[i];
		if (shdr->sh_type == SHT_NULL || is_wanted(survey, i))
			continue;
		shdr->sh_type = SHT_NOBITS;
		shdr->sh_flags &= ~(uint64_t)SHF_COMPRESSED;
	}
	return write_block(fd, (const uint8_t *)survey->image.shdrs,
			   survey->image.shdr_cnt * sizeof(*shdr), survey->ehdr.e_shoff);
}

/* The parts were chosen by headers that were read before: the copy must lead to the same choice. */
static int check_copy(const struct table_source *source, int fd)
{
	struct table_source copied = {.fd = fd};
	struct survey survey;
	int err;

	err = survey_open(&survey, fd);
	if (err)
		return err == -ENOMEM ? err : -ESTALE;
	copied.file_size = survey.image.size;
	err = choose_parts(&copied, &survey);
	if (!err && !is_same(source, &copied))
		err = -ESTALE;
	if (!err)
		err = empty_the_rest(&survey, fd);
	table_source__close(&copied);
	survey_close(&survey);
	return err;
}

int table_source__copy(const struct table_source *source, const uint8_t key[static SIPHASH_BYTES],
		       const uint8_t fingerprint[static SIPHASH_BYTES])
{
	uint8_t hash[SIPHASH_BYTES];
	int fd, err = 0;

	fd = memfd_create("leaksweep-elf", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)source->file_size))
		err = -errno;
	if (!err)
		err = process(source, key, fd, hash);
	if (!err && memcmp(hash, fingerprint, sizeof(hash)))
		err = -ESTALE;
	if (!err)
		err = check_copy(source, fd);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}
