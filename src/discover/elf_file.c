/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discover/elf_file.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/arch.h"

#define MAX_SYMBOLS (16U << 20)
#define MAX_RELOCS (16U << 20)
#define WINDOW_BYTES (64U << 10)
#define SMALL_STRTAB                                                                               \
	(16U << 20) /* kept whole: dynamic symbols are sorted by hash, names by nothing */

/* ---- a window that slides over a range of the file ------------------------------------------ */

struct window {
	const struct elf_image *image;
	uint64_t start, end; /* the range */
	uint8_t *buf;
	size_t cap, len;
	uint64_t off; /* of buf[0] */
};

static int window__open(struct window *window, const struct elf_image *image, uint64_t start,
			uint64_t size, size_t cap)
{
	if (start > image->size || size > image->size - start)
		return -EBADMSG;
	*window = (struct window){.image = image, .start = start, .end = start + size};
	window->cap = size < cap ? (size_t)size : cap;
	window->buf = malloc(window->cap ? window->cap : 1);
	return window->buf ? 0 : -ENOMEM;
}

/*
 * Returns min(want, what is left of the range, capacity) bytes at `at` bytes into the range; NULL
 * when there are none.
 */
static const uint8_t *window__at(struct window *window, uint64_t at, size_t want, size_t *ret_got)
{
	uint64_t off = window->start + at, left;
	size_t len;

	if (at >= window->end - window->start)
		return NULL;
	left = window->end - off;
	if (want > left)
		want = (size_t)left;
	if (want > window->cap)
		want = window->cap;
	if (off < window->off || off - window->off > window->len ||
	    window->len - (off - window->off) < want) {
		window->len = 0;
		if (window->end - window->start <= window->cap)
			off = window->start; /* all of it, once */
		left = window->end - off;
		len = left < window->cap ? (size_t)left : window->cap;
		if (elf_image__read(window->image, off, window->buf, len))
			return NULL;
		window->off = off;
		window->len = len;
	}
	*ret_got = want;
	return window->buf + (window->start + at - window->off);
}

/* ---- symbol tables -------------------------------------------------------------------------- */

/* Adds a table if it lies in the file; what is past the file's end is cut off. */
static void add_symtab(struct elf_file *file, struct elf_symtab table)
{
	uint64_t size = file->image.size;

	if (file->symtab_cnt == 2 || table.off > size || table.str_off > size)
		return;
	if (table.cnt > (size - table.off) / sizeof(Elf64_Sym))
		table.cnt = (size - table.off) / sizeof(Elf64_Sym);
	if (table.cnt > MAX_SYMBOLS)
		table.cnt = MAX_SYMBOLS;
	if (table.str_size > size - table.str_off)
		table.str_size = size - table.str_off;
	if (table.cnt && table.str_size)
		file->symtabs[file->symtab_cnt++] = table;
}

/* Adds the first section of `type` (SHT_DYNSYM or SHT_SYMTAB) as a symbol table. */
static void add_section_symtab(struct elf_file *file, uint32_t type)
{
	const struct elf_image *image = &file->image;

	for (size_t i = 0; i < image->shdr_cnt; i++) {
		const Elf64_Shdr *shdr = &image->shdrs[i], *strings;

		if (shdr->sh_type != type || shdr->sh_link >= image->shdr_cnt)
			continue;
		strings = &image->shdrs[shdr->sh_link];
		if (strings->sh_type != SHT_STRTAB)
			continue;
		add_symtab(file, (struct elf_symtab){
					 .off = shdr->sh_offset,
					 .cnt = shdr->sh_size / sizeof(Elf64_Sym),
					 .str_off = strings->sh_offset,
					 .str_size = strings->sh_size,
					 .is_dynamic = type == SHT_DYNSYM,
				 });
		return;
	}
}

/* ---- the dynamic segment -------------------------------------------------------------------- */

struct dynamic {
	uint64_t symtab, strtab, strsz, hash, gnu_hash; /* addresses and a size; 0 = absent */
	uint64_t jmprel, pltrelsz, rela, relasz;
};

static void take_tag(struct dynamic *dynamic, const Elf64_Dyn *entry)
{
	const struct {
		Elf64_Sxword tag;
		uint64_t *value;
	} tags[] = {
		{DT_SYMTAB, &dynamic->symtab},	   {DT_STRTAB, &dynamic->strtab},
		{DT_STRSZ, &dynamic->strsz},	   {DT_HASH, &dynamic->hash},
		{DT_GNU_HASH, &dynamic->gnu_hash}, {DT_JMPREL, &dynamic->jmprel},
		{DT_PLTRELSZ, &dynamic->pltrelsz}, {DT_RELA, &dynamic->rela},
		{DT_RELASZ, &dynamic->relasz},
	};

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		if (tags[i].tag == entry->d_tag)
			*tags[i].value = entry->d_un.d_val;
}

static int read_dynamic(const struct elf_image *image, const Elf64_Phdr *phdr, struct dynamic *ret)
{
	uint64_t cnt = phdr->p_filesz / sizeof(Elf64_Dyn);
	struct dynamic dynamic = {0};
	Elf64_Dyn entry;
	int err;

	if (phdr->p_offset > image->size)
		return -EBADMSG;
	for (uint64_t i = 0; i < cnt && i < 4096; i++) {
		err = elf_image__read(image, phdr->p_offset + i * sizeof(entry), &entry,
				      sizeof(entry));
		if (err)
			return err;
		if (entry.d_tag == DT_NULL)
			break;
		take_tag(&dynamic, &entry);
	}
	*ret = dynamic;
	return 0;
}

/* The index after the last symbol of a DT_GNU_HASH table: its chains end with an odd hash. */
static int count_by_gnu_hash(const struct elf_image *image, uint64_t vaddr, uint64_t *ret)
{
	uint32_t header[4], value, last = 0; /* bucket count, first symbol, bloom words, shift */
	uint64_t off, avail, at;
	struct window window;
	const uint8_t *pos;
	size_t got;
	int err;

	if (!elf_segments__offset(&image->segments, vaddr, false, &off, &avail) ||
	    elf_image__read(image, off, header, sizeof(header)))
		return -EBADMSG;
	err = window__open(&window, image, off, avail, WINDOW_BYTES);
	if (err)
		return err;
	at = sizeof(header) + (uint64_t)header[2] * 8;
	err = -EBADMSG;
	for (uint32_t i = 0; i < header[0] && i < MAX_SYMBOLS; i++, at += 4) {
		pos = window__at(&window, at, 4, &got);
		if (!pos || got < 4)
			goto cleanup;
		memcpy(&value, pos, 4);
		last = value > last ? value : last;
	}
	if (last < header[1]) {
		*ret = header[1];
		err = 0;
		goto cleanup;
	}
	at += (uint64_t)(last - header[1]) * 4;
	for (; last < MAX_SYMBOLS; last++, at += 4) {
		pos = window__at(&window, at, 4, &got);
		if (!pos || got < 4)
			goto cleanup;
		if (!(pos[0] & 1))
			continue;
		*ret = (uint64_t)last + 1;
		err = 0;
		break;
	}
cleanup:
	free(window.buf);
	return err;
}

static int count_dynamic_symbols(const struct elf_image *image, const struct dynamic *dynamic,
				 uint64_t *ret)
{
	uint64_t off, avail;
	uint32_t header[2]; /* bucket count, chain count = symbols */

	if (dynamic->hash &&
	    elf_segments__offset(&image->segments, dynamic->hash, false, &off, &avail) &&
	    !elf_image__read(image, off, header, sizeof(header))) {
		*ret = header[1];
		return 0;
	}
	if (dynamic->gnu_hash)
		return count_by_gnu_hash(image, dynamic->gnu_hash, ret);
	return -EBADMSG;
}

static int add_dynamic_symtab(struct elf_file *file, const struct dynamic *dynamic)
{
	struct elf_symtab table = {.is_dynamic = true, .str_size = dynamic->strsz};
	const struct elf_segments *segments = &file->image.segments;
	uint64_t avail, str_avail;
	int err;

	if (!elf_segments__offset(segments, dynamic->symtab, false, &table.off, &avail) ||
	    !elf_segments__offset(segments, dynamic->strtab, false, &table.str_off, &str_avail))
		return 0;
	err = count_dynamic_symbols(&file->image, dynamic, &table.cnt);
	if (err)
		return err == -EBADMSG ? 0 : err;
	if (table.cnt > avail / sizeof(Elf64_Sym))
		table.cnt = avail / sizeof(Elf64_Sym);
	if (table.str_size > str_avail)
		table.str_size = str_avail;
	add_symtab(file, table);
	return 0;
}

static void add_relocs(struct elf_file *file, uint64_t vaddr, uint64_t size)
{
	struct elf_relocs relocs;
	uint64_t avail;

	if (!size ||
	    !elf_segments__offset(&file->image.segments, vaddr, false, &relocs.off, &avail))
		return;
	relocs.cnt = (size < avail ? size : avail) / sizeof(Elf64_Rela);
	if (relocs.cnt > MAX_RELOCS)
		relocs.cnt = MAX_RELOCS;
	if (relocs.cnt)
		file->relocs[file->reloc_cnt++] = relocs;
}

static int read_tables(struct elf_file *file)
{
	const struct elf_image *image = &file->image;
	const Elf64_Phdr *dynamic_phdr = NULL;
	struct dynamic dynamic = {0};
	int err = 0;

	for (size_t i = 0; i < image->phdr_cnt; i++) {
		if (image->phdrs[i].p_type == PT_DYNAMIC)
			dynamic_phdr = &image->phdrs[i];
		file->is_dynamic |= image->phdrs[i].p_type == PT_INTERP;
	}
	if (dynamic_phdr) {
		file->is_dynamic = true;
		err = read_dynamic(image, dynamic_phdr, &dynamic);
		if (err && err != -EBADMSG)
			return err;
		add_relocs(file, dynamic.jmprel, dynamic.pltrelsz);
		add_relocs(file, dynamic.rela, dynamic.relasz);
		err = 0;
	}
	add_section_symtab(file, SHT_DYNSYM);
	if (!file->symtab_cnt && dynamic.symtab && dynamic.strtab)
		err = add_dynamic_symtab(file, &dynamic);
	if (!err)
		add_section_symtab(file, SHT_SYMTAB);
	return err;
}

int elf_file__open(int fd, struct elf_file *ret)
{
	struct elf_file file = {0};
	int err;

	err = elf_image__open(&file.image, fd, ARCH_MACHINE);
	if (err)
		return err;
	err = file.image.segments.list.cnt ? read_tables(&file) : -EBADMSG;
	if (err)
		elf_file__close(&file);
	else
		*ret = file;
	return err;
}

void elf_file__close(struct elf_file *file)
{
	elf_image__close(&file->image);
}

/* ---- walks ---------------------------------------------------------------------------------- */

/*
 * Returns the name, valid until the next call, or NULL when there is none of at most `name_max`
 * characters.
 */
static const char *name_at(struct window *strings, uint64_t at, size_t name_max)
{
	size_t got;
	const uint8_t *name = at ? window__at(strings, at, name_max + 1, &got) : NULL;

	return name && *name && memchr(name, '\0', got) ? (const char *)name : NULL;
}

static int walk_symtab(const struct elf_symtab *table, struct window *symbols,
		       struct window *strings, size_t name_max, elf_symbol_fn fn, void *arg)
{
	struct elf_symbol symbol = {.is_dynamic = table->is_dynamic};
	const uint8_t *at;
	Elf64_Sym sym;
	size_t got;
	int err = 0;

	for (uint64_t i = 0; i < table->cnt && !err; i++) {
		at = window__at(symbols, i * sizeof(sym), sizeof(sym), &got);
		if (!at || got < sizeof(sym))
			return -EBADMSG;
		memcpy(&sym, at, sizeof(sym));
		symbol.type = ELF64_ST_TYPE(sym.st_info);
		if (symbol.type != STT_FUNC && symbol.type != STT_GNU_IFUNC &&
		    symbol.type != STT_NOTYPE)
			continue;
		symbol.name = name_at(strings, sym.st_name, name_max);
		if (!symbol.name)
			continue;
		symbol.value = sym.st_value;
		symbol.size = sym.st_size;
		symbol.is_defined = sym.st_shndx != SHN_UNDEF;
		err = fn(arg, &symbol);
	}
	return err;
}

int elf_file__each_symbol(const struct elf_file *file, size_t name_max, elf_symbol_fn fn, void *arg)
{
	int err = 0;

	for (size_t i = 0; i < file->symtab_cnt && !err; i++) {
		const struct elf_symtab *table = &file->symtabs[i];
		/*
		 * Names of a big table come in the order of its symbols, more or less: a small
		 * window will do.
		 */
		size_t cap = table->str_size <= SMALL_STRTAB ? SMALL_STRTAB : 4096 + name_max;
		struct window symbols = {0}, strings = {0};

		err = window__open(&symbols, &file->image, table->off,
				   table->cnt * sizeof(Elf64_Sym), WINDOW_BYTES);
		if (!err)
			err = window__open(&strings, &file->image, table->str_off, table->str_size,
					   cap);
		if (!err)
			err = walk_symtab(table, &symbols, &strings, name_max, fn, arg);
		free(symbols.buf);
		free(strings.buf);
	}
	return err;
}

int elf_file__each_reloc(const struct elf_file *file, elf_reloc_fn fn, void *arg)
{
	struct window window;
	const uint8_t *at;
	Elf64_Rela rela;
	size_t got;
	int err = 0;

	for (size_t i = 0; i < file->reloc_cnt && !err; i++) {
		const struct elf_relocs *relocs = &file->relocs[i];

		err = window__open(&window, &file->image, relocs->off, relocs->cnt * sizeof(rela),
				   WINDOW_BYTES);
		if (err)
			return err;
		for (uint64_t k = 0; k < relocs->cnt && !err; k++) {
			at = window__at(&window, k * sizeof(rela), sizeof(rela), &got);
			if (!at || got < sizeof(rela)) {
				err = -EBADMSG;
				break;
			}
			memcpy(&rela, at, sizeof(rela));
			if (ELF64_R_SYM(rela.r_info))
				err = fn(arg, rela.r_offset, ELF64_R_SYM(rela.r_info));
		}
		free(window.buf);
	}
	return err;
}

bool elf_file__dynamic_name(const struct elf_file *file, uint32_t idx, char *buf, size_t buf_size)
{
	const struct elf_symtab *table = &file->symtabs[0];
	uint64_t left;
	Elf64_Sym sym;

	if (!file->symtab_cnt || !table->is_dynamic || idx >= table->cnt || !buf_size ||
	    elf_image__read(&file->image, table->off + idx * sizeof(sym), &sym, sizeof(sym)) ||
	    sym.st_name >= table->str_size)
		return false;
	left = table->str_size - sym.st_name;
	if (elf_image__read(&file->image, table->str_off + sym.st_name, buf,
			    left < buf_size ? (size_t)left : buf_size))
		return false;
	return memchr(buf, '\0', left < buf_size ? (size_t)left : buf_size) != NULL;
}
