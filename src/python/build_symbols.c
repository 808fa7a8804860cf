/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/build_symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/elf_dynamic.h"

#define MAX_SYMBOLS (2U << 20)
#define MAX_STRINGS (64U << 20)
#define MAX_HASH_WORDS (4U << 20)
#define BATCH 1024 /* symbols read at once */

struct symbol_table {
	uint64_t off, cnt;
	uint64_t str_off, str_size;
};

/* ---- one table ------------------------------------------------------------------------------ */

static int each_of_batch(const Elf64_Sym *syms, size_t cnt, const char *strings, size_t str_size,
			 build_symbol_fn fn, void *arg)
{
	struct build_symbol symbol;
	int err = 0;

	for (size_t i = 0; i < cnt && !err; i++) {
		if (syms[i].st_shndx == SHN_UNDEF || !syms[i].st_value || !syms[i].st_name ||
		    syms[i].st_name >= str_size)
			continue;
		symbol = (struct build_symbol){
			.name = strings + syms[i].st_name, /* a zero byte follows the strings */
			.vaddr = syms[i].st_value,
			.size = syms[i].st_size,
			.type = ELF64_ST_TYPE(syms[i].st_info),
		};
		err = fn(arg, &symbol);
	}
	return err;
}

static int each_of_table(const struct elf_image *image, struct symbol_table table,
			 build_symbol_fn fn, void *arg)
{
	char *strings = NULL;
	Elf64_Sym *syms;
	size_t cnt;
	int err;

	if (table.cnt > MAX_SYMBOLS)
		table.cnt = MAX_SYMBOLS;
	err = elf_image__load(image, table.str_off, table.str_size, MAX_STRINGS, &strings);
	if (err)
		return err == -EFBIG || err == -EBADMSG ? 0 : err;
	syms = malloc(BATCH * sizeof(*syms));
	err = syms ? 0 : -ENOMEM;
	for (uint64_t i = 0; i < table.cnt && !err; i += cnt) {
		cnt = table.cnt - i < BATCH ? (size_t)(table.cnt - i) : BATCH;
		err = elf_image__read(image, table.off + i * sizeof(*syms), syms,
				      cnt * sizeof(*syms));
		if (err == -EBADMSG) { /* it ends early */
			err = 0;
			break;
		}
		if (!err)
			err = each_of_batch(syms, cnt, strings, table.str_size, fn, arg);
	}
	free(syms);
	free(strings);
	return err;
}

static bool find_section_table(const struct elf_image *image, uint32_t type,
			       struct symbol_table *ret)
{
	const Elf64_Shdr *shdr = elf_image__section_of_type(image, type), *strings;

	if (!shdr || shdr->sh_link >= image->shdr_cnt)
		return false;
	strings = &image->shdrs[shdr->sh_link];
	if (strings->sh_type != SHT_STRTAB)
		return false;
	*ret = (struct symbol_table){
		.off = shdr->sh_offset,
		.cnt = shdr->sh_size / sizeof(Elf64_Sym),
		.str_off = strings->sh_offset,
		.str_size = strings->sh_size,
	};
	return true;
}

/* ---- the dynamic table of a file without section headers ------------------------------------- */

/* The index after the last symbol: buckets hold the first of a chain, an odd hash ends one. */
static uint64_t count_by_gnu_hash(const struct elf_image *image, uint64_t vaddr)
{
	uint32_t header[4], value, last = 0; /* bucket count, first symbol, bloom words, shift */
	uint64_t off, avail, chains;
	uint32_t *buckets;

	if (!elf_segments__offset(&image->segments, vaddr, false, &off, &avail) ||
	    elf_image__read(image, off, header, sizeof(header)) || header[0] > MAX_HASH_WORDS)
		return 0;
	off += sizeof(header) + (uint64_t)header[2] * 8;
	if (elf_image__load(image, off, (uint64_t)header[0] * 4, SIZE_MAX - 1, (char **)&buckets))
		return 0;
	for (uint32_t i = 0; i < header[0]; i++)
		last = buckets[i] > last ? buckets[i] : last;
	free(buckets);
	if (last < header[1])
		return header[1];
	chains = off + (uint64_t)header[0] * 4;
	for (; last < MAX_SYMBOLS; last++) {
		if (elf_image__read(image, chains + (uint64_t)(last - header[1]) * 4, &value,
				    sizeof(value)))
			return 0;
		if (value & 1)
			return (uint64_t)last + 1;
	}
	return 0;
}

static uint64_t count_by_hash(const struct elf_image *image, uint64_t vaddr)
{
	uint32_t header[2]; /* bucket count, chain count = symbols */
	uint64_t off, avail;

	if (!vaddr || !elf_segments__offset(&image->segments, vaddr, false, &off, &avail) ||
	    elf_image__read(image, off, header, sizeof(header)))
		return 0;
	return header[1];
}

static bool find_dynamic_table(const struct elf_image *image, struct symbol_table *ret)
{
	struct symbol_table table = {0};
	struct elf_dynamic dynamic;
	uint64_t avail;

	if (!elf_dynamic__read(image, &dynamic))
		return false;
	table.cnt = count_by_hash(image, dynamic.hash);
	if (!table.cnt && dynamic.gnu_hash)
		table.cnt = count_by_gnu_hash(image, dynamic.gnu_hash);
	table.str_size = dynamic.strsz;
	if (!table.cnt ||
	    !elf_segments__offset(&image->segments, dynamic.symtab, false, &table.off, &avail) ||
	    !elf_segments__offset(&image->segments, dynamic.strtab, false, &table.str_off, &avail))
		return false;
	if (table.str_size > avail)
		table.str_size = avail;
	*ret = table;
	return true;
}

/* ---- all ------------------------------------------------------------------------------------ */

int build_symbols__each_dynamic(const struct elf_image *image, build_symbol_fn fn, void *arg)
{
	struct symbol_table table;

	if (!find_section_table(image, SHT_DYNSYM, &table) && !find_dynamic_table(image, &table))
		return 0;
	return each_of_table(image, table, fn, arg);
}

int build_symbols__each_static(const struct elf_image *image, build_symbol_fn fn, void *arg)
{
	struct symbol_table table;

	if (!find_section_table(image, SHT_SYMTAB, &table))
		return 0;
	return each_of_table(image, table, fn, arg);
}

struct wanted {
	struct build_place *places;
	size_t cnt;
};

static int take_place(void *arg, const struct build_symbol *symbol)
{
	const struct wanted *wanted = arg;

	if (symbol->type != STT_FUNC && symbol->type != STT_OBJECT && symbol->type != STT_NOTYPE)
		return 0;
	for (size_t i = 0; i < wanted->cnt; i++) {
		struct build_place *place = &wanted->places[i];

		if (place->vaddr || strcmp(place->name, symbol->name) != 0)
			continue;
		place->vaddr = symbol->vaddr;
		place->size = symbol->size;
	}
	return 0;
}

int build_symbols__find(const struct elf_image *image, bool only_dynamic,
			struct build_place *places, size_t place_cnt)
{
	struct wanted wanted = {.places = places, .cnt = place_cnt};
	int err;

	for (size_t i = 0; i < place_cnt; i++)
		places[i].vaddr = places[i].size = 0;
	err = build_symbols__each_dynamic(image, take_place, &wanted);
	if (!err && !only_dynamic)
		err = build_symbols__each_static(image, take_place, &wanted);
	return err;
}
