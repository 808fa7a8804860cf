/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Symbols overlap in practice: aliases, entry points inside a function, labels of assembler code.
 * They are cut once into disjoint ranges, each with the innermost function that covers it, so that
 * a lookup is one binary search whatever the file contains. The steps:
 *
 *   collect  functions of each symbol table that lie in an executable section, clipped to its end
 *   unify    sort by address, keep the best name of each address
 *   cut      sweep over the addresses with a stack of functions that are still open
 *
 * Each step is at worst n log n in the number of symbols, with bounded work per name.
 */
#include "symbolize/elf_symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "symbolize/debug_file.h"
#include "symbolize/find_start.h"
#include "util/array.h"
#include "util/elf_image.h"

#define MAX_SYMBOLS (16U << 20)
#define MAX_STRINGS (512U << 20)
#define READ_CHUNK 4096	 /* symbols */
#define NAME_COMPARED 32 /* bytes: a hostile table may point every symbol at one huge name */

/* Lower ranks win among symbols of one address. */
enum symbol_rank {
	RANK_WEAK = 1,
	RANK_UNDERSCORE = 2,
	RANK_LOCAL = 4,
	RANK_UNSIZED = 8, /* `size` reaches to the end of the section */
	RANK_UNTYPED = 16,
};

struct raw_symbol {
	uint64_t addr;
	uint32_t size;
	uint32_t name; /* offset in `names` */
	uint32_t rank; /* enum symbol_rank */
};

/* [start, start + len) belongs to the function that begins `lead` bytes before `start`. */
struct range {
	uint64_t start;
	uint32_t len;
	uint32_t lead;
	uint32_t name;
};

struct section {
	uint64_t start, end;
};

struct elf_symbols {
	struct elf_segments segments;
	ARRAY(struct range) ranges; /* disjoint, by address */
	char *names;		    /* the string tables, one after the other */
	size_t names_size;
};

struct collector {
	struct elf_symbols *symbols;
	ARRAY(struct section) sections; /* executable ones of the file being read, by address */
	ARRAY(struct raw_symbol) raws;
};

static int compare_sections(const void *a, const void *b)
{
	const struct section *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int find_code(struct collector *collector, const struct elf_image *file)
{
	const Elf64_Shdr *shdr;
	struct section section;

	collector->sections.cnt = 0;
	for (size_t i = 0; i < file->shdr_cnt; i++) {
		shdr = &file->shdrs[i];
		if (!(shdr->sh_flags & SHF_ALLOC) || !(shdr->sh_flags & SHF_EXECINSTR) ||
		    shdr->sh_size > UINT64_MAX - shdr->sh_addr)
			continue;
		section = (struct section){shdr->sh_addr, shdr->sh_addr + shdr->sh_size};
		if (array_push(&collector->sections, section))
			return -ENOMEM;
	}
	if (collector->sections.cnt)
		qsort(collector->sections.items, collector->sections.cnt, sizeof(section),
		      compare_sections);
	return 0;
}

/* Returns the section that holds the address, or NULL. */
static const struct section *section_of(const struct collector *collector, uint64_t addr)
{
	const struct section *section = array_find_start(&collector->sections, addr);

	return section && addr < section->end ? section : NULL;
}

/*
 * AArch64 and RISC-V mark code and data with "$x", "$d", "$x.12": ELF for the Arm 64-bit
 * Architecture, 5.5.5.
 */
static bool is_mapping_symbol(const char *name)
{
	return name[0] == '$' && (name[1] == 'x' || name[1] == 'd') && (!name[2] || name[2] == '.');
}

/* "_Z", "_R" and "_D" begin mangled names. */
static bool is_underscored(const char *name)
{
	return name[0] == '_' && name[1] != 'Z' && name[1] != 'R' && name[1] != 'D';
}

static int add_symbol(struct collector *collector, const Elf64_Sym *sym, size_t names_off,
		      size_t names_size)
{
	unsigned int type = ELF64_ST_TYPE(sym->st_info), bind = ELF64_ST_BIND(sym->st_info);
	const struct section *section;
	struct raw_symbol raw = {0};
	const char *name;
	uint64_t room;

	if ((type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE) ||
	    sym->st_shndx == SHN_UNDEF || sym->st_shndx == SHN_ABS || sym->st_name >= names_size)
		return 0;
	name = collector->symbols->names + names_off + sym->st_name;
	section = section_of(collector, sym->st_value);
	if (!*name || !section || is_mapping_symbol(name))
		return 0;
	room = section->end - sym->st_value;
	if (sym->st_size && sym->st_size < room)
		room = sym->st_size;
	raw.addr = sym->st_value;
	raw.size = room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
	raw.name = (uint32_t)(names_off + sym->st_name);
	raw.rank = (type == STT_NOTYPE ? RANK_UNTYPED : 0) | (sym->st_size ? 0 : RANK_UNSIZED) |
		   (bind == STB_LOCAL ? RANK_LOCAL : 0) | (bind == STB_WEAK ? RANK_WEAK : 0) |
		   (is_underscored(name) ? RANK_UNDERSCORE : 0);
	return array_push(&collector->raws, raw);
}

/* Appends a string table to `names`. */
static int add_strings(struct elf_symbols *symbols, const struct elf_image *file,
		       const Elf64_Shdr *strtab)
{
	char *grown;
	int err;

	if (strtab->sh_type != SHT_STRTAB || (strtab->sh_flags & SHF_COMPRESSED) ||
	    strtab->sh_offset > file->size || strtab->sh_size > file->size - strtab->sh_offset)
		return -ENOEXEC;
	if (symbols->names_size >= MAX_STRINGS ||
	    strtab->sh_size >= MAX_STRINGS - symbols->names_size)
		return -EFBIG;
	grown = realloc(symbols->names, symbols->names_size + strtab->sh_size + 1);
	if (!grown)
		return -ENOMEM;
	symbols->names = grown;
	err = elf_image__read(file, strtab->sh_offset, grown + symbols->names_size,
			      strtab->sh_size);
	if (err)
		return err;
	grown[symbols->names_size + strtab->sh_size] = '\0';
	symbols->names_size += strtab->sh_size + 1;
	return 0;
}

/* Adds the functions of the file's first table of the type, if it has one. */
static int collect_table(struct collector *collector, const struct elf_image *file, uint32_t type)
{
	const Elf64_Shdr *table = elf_image__section_of_type(file, type);
	size_t names_off = collector->symbols->names_size, cnt, chunk;
	Elf64_Sym *syms;
	int err;

	if (!table)
		return 0;
	cnt = table->sh_size / sizeof(*syms);
	if (table->sh_entsize != sizeof(*syms) || table->sh_link >= file->shdr_cnt ||
	    table->sh_offset > file->size || table->sh_size > file->size - table->sh_offset)
		return -ENOEXEC;
	if (cnt > MAX_SYMBOLS)
		return -EFBIG;
	err = add_strings(collector->symbols, file, &file->shdrs[table->sh_link]);
	if (err)
		return err;
	syms = malloc(READ_CHUNK * sizeof(*syms));
	if (!syms)
		return -ENOMEM;
	for (size_t done = 0; done < cnt && !err; done += chunk) {
		chunk = cnt - done < READ_CHUNK ? cnt - done : READ_CHUNK;
		err = elf_image__read(file, table->sh_offset + done * sizeof(*syms), syms,
				      chunk * sizeof(*syms));
		for (size_t i = 0; i < chunk && !err; i++)
			err = add_symbol(collector, &syms[i], names_off,
					 collector->symbols->names_size - names_off);
	}
	free(syms);
	return err;
}

/* Where else symbols may be: in the file behind `fd`, or where that has to be looked for. */
struct place {
	int fd;			       /* -1 = none is known */
	const char *path, *debug_root; /* NULL = do not look */
};

/* Adds the symbols of a debug file. Closes the image. */
static int collect_debug_image(struct collector *collector, struct elf_image *debug)
{
	int err = find_code(collector, debug);

	if (!err)
		err = collect_table(collector, debug, SHT_SYMTAB);
	elf_image__close(debug);
	return err;
}

/* Returns 0 or -ENOMEM: a damaged debug file is as good as none. */
static int collect_debug_file(struct collector *collector, const struct elf_image *file,
			      const struct place *place)
{
	struct elf_image debug;
	int err = 0, fd = place->fd;

	if (fd < 0 && place->path)
		err = debug_file__open(file, place->path, place->debug_root, &fd);
	if (err || fd < 0)
		return err == -ENOMEM ? err : 0;
	err = elf_image__open(&debug, fd, EM_NONE);
	if (!err)
		err = collect_debug_image(collector, &debug);
	if (fd != place->fd)
		close(fd);
	return err == -ENOMEM ? err : 0;
}

/* The same for .gnu_debugdata, which holds what .dynsym does not. */
static int collect_mini(struct collector *collector, const struct elf_image *file)
{
	struct elf_image mini;
	size_t size;
	void *image;
	int err;

	err = debug_file__unpack_mini(file, &image, &size);
	if (err)
		return err == -ENOMEM ? err : 0;
	err = elf_image__open_memory(&mini, image, size);
	if (!err)
		err = collect_debug_image(collector, &mini);
	free(image);
	return err == -ENOMEM ? err : 0;
}

/* A damaged table does not hide what the others say: an error counts when there is nothing else. */
static int collect(struct collector *collector, const struct elf_image *file,
		   const struct place *place)
{
	size_t dynamic_cnt;
	int err, table_err;

	err = find_code(collector, file);
	if (err)
		return err;
	err = collect_table(collector, file, SHT_DYNSYM);
	if (err == -ENOMEM)
		return err;
	dynamic_cnt = collector->raws.cnt;
	table_err = collect_table(collector, file, SHT_SYMTAB);
	if (!table_err && !elf_image__section_of_type(file, SHT_SYMTAB)) {
		table_err = collect_debug_file(collector, file, place);
		if (!table_err && collector->raws.cnt == dynamic_cnt)
			table_err = collect_mini(collector, file);
	}
	if (table_err == -ENOMEM)
		return table_err;
	return collector->raws.cnt ? 0 : err ? err : table_err;
}

/*
 * By address, then best first. Among equals the shorter name, so that the choice does not depend on
 * the order in the file. qsort_r gives the comparison the names.
 */
static int compare_raws(const void *a, const void *b, void *names)
{
	const struct raw_symbol *x = a, *y = b;
	const char *x_name, *y_name;
	size_t x_len, y_len;
	int diff;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (x->name == y->name)
		return 0;
	x_name = (const char *)names + x->name;
	y_name = (const char *)names + y->name;
	x_len = strnlen(x_name, NAME_COMPARED);
	y_len = strnlen(y_name, NAME_COMPARED);
	if (x_len != y_len)
		return x_len < y_len ? -1 : 1;
	diff = strncmp(x_name, y_name, x_len);
	return diff ? diff : x->name < y->name ? -1 : 1;
}

/* Keeps one symbol per address: the best name, the largest stated size. */
static void unify(struct collector *collector)
{
	struct raw_symbol *raws = collector->raws.items, *kept, *raw;
	size_t cnt = 0;

	if (!collector->raws.cnt)
		return;
	qsort_r(raws, collector->raws.cnt, sizeof(*raws), compare_raws, collector->symbols->names);
	for (size_t i = 0; i < collector->raws.cnt; i++) {
		raw = &raws[i];
		kept = cnt ? &raws[cnt - 1] : NULL;
		if (!kept || kept->addr != raw->addr) {
			raws[cnt++] = *raw;
		} else if (!(raw->rank & RANK_UNSIZED)) {
			if ((kept->rank & RANK_UNSIZED) || kept->size < raw->size)
				kept->size = raw->size;
			kept->rank &= ~(uint32_t)RANK_UNSIZED;
		}
	}
	collector->raws.cnt = cnt;
}

struct cutter {
	struct elf_symbols *symbols;
	ARRAY(const struct raw_symbol *)
	open;	      /* innermost last; one without a size can only be the first */
	uint64_t pos; /* everything before it is cut */
};

/* Cuts [pos, limit) among the open functions and closes those that end there. */
static int cut_until(struct cutter *cutter, uint64_t limit)
{
	const struct raw_symbol *top;
	uint64_t end, stop;
	struct range range;

	while (cutter->open.cnt) {
		top = cutter->open.items[cutter->open.cnt - 1];
		end = top->addr + top->size;
		stop = end < limit ? end : limit;
		if (stop > cutter->pos) {
			range = (struct range){.start = cutter->pos,
					       .len = (uint32_t)(stop - cutter->pos),
					       .lead = (uint32_t)(cutter->pos - top->addr),
					       .name = top->name};
			if (array_push(&cutter->symbols->ranges, range))
				return -ENOMEM;
			cutter->pos = stop;
		}
		if (end > limit)
			break;
		cutter->open.cnt--;
	}
	return 0;
}

/*
 * A symbol without a size ends at the next symbol, and says nothing inside a function that states
 * its size. A bare label does not end a function without a size either.
 */
static bool is_redundant(const struct cutter *cutter, const struct raw_symbol *raw)
{
	const struct raw_symbol *outer;

	if (!cutter->open.cnt || !(raw->rank & RANK_UNSIZED))
		return false;
	outer = cutter->open.items[0];
	return !(outer->rank & RANK_UNSIZED) ||
	       ((raw->rank & RANK_UNTYPED) && !(outer->rank & RANK_UNTYPED));
}

static int cut(struct collector *collector)
{
	struct cutter cutter = {.symbols = collector->symbols};
	const struct raw_symbol *raw;
	int err = 0;

	for (size_t i = 0; i < collector->raws.cnt; i++) {
		raw = &collector->raws.items[i];
		err = cut_until(&cutter, raw->addr);
		if (err)
			goto cleanup;
		cutter.pos = raw->addr;
		if (is_redundant(&cutter, raw))
			continue;
		if (cutter.open.cnt && (cutter.open.items[0]->rank & RANK_UNSIZED))
			cutter.open.cnt = 0;
		err = array_push(&cutter.open, raw);
		if (err)
			goto cleanup;
	}
	err = cut_until(&cutter, UINT64_MAX);
cleanup:
	array_free(&cutter.open);
	return err;
}

/* What is wrong with a file that is no proper one makes no difference here. */
static int unify_error(int err)
{
	return err == -ENOTSUP || err == -EBADMSG ? -ENOEXEC : err;
}

/* Closes the file, whatever it returns. */
static int load(struct elf_image *file, const struct place *place, struct elf_symbols **ret_symbols)
{
	struct collector collector = {0};
	int err = -ENOMEM;

	collector.symbols = calloc(1, sizeof(*collector.symbols));
	if (!collector.symbols)
		goto cleanup;
	collector.symbols->segments = file->segments; /* taken over */
	file->segments = (struct elf_segments){0};
	err = collect(&collector, file, place);
	if (err)
		goto cleanup;
	unify(&collector);
	err = cut(&collector);
	if (err)
		goto cleanup;
	*ret_symbols = collector.symbols;
	collector.symbols = NULL;
cleanup:
	elf_symbols__free(collector.symbols);
	array_free(&collector.sections);
	array_free(&collector.raws);
	elf_image__close(file);
	return unify_error(err);
}

static int load_file(int fd, const struct place *place, struct elf_symbols **ret_symbols)
{
	struct elf_image file;
	int err;

	err = elf_image__open(&file, fd, EM_NONE);
	return err ? unify_error(err) : load(&file, place, ret_symbols);
}

int elf_symbols__load(int fd, const char *path, const char *debug_root,
		      struct elf_symbols **ret_symbols)
{
	const struct place place = {.fd = -1, .path = path, .debug_root = debug_root};

	return load_file(fd, &place, ret_symbols);
}

int elf_symbols__load_pair(int fd, int debug_fd, struct elf_symbols **ret_symbols)
{
	const struct place place = {.fd = debug_fd};

	return load_file(fd, &place, ret_symbols);
}

int elf_symbols__load_image(const void *image, size_t size, struct elf_symbols **ret_symbols)
{
	const struct place nowhere = {.fd = -1};
	struct elf_image file;
	int err;

	err = elf_image__open_memory(&file, image, size);
	return err ? unify_error(err) : load(&file, &nowhere, ret_symbols);
}

void elf_symbols__free(struct elf_symbols *symbols)
{
	if (!symbols)
		return;
	array_free(&symbols->segments.list);
	array_free(&symbols->ranges);
	free(symbols->names);
	free(symbols);
}

bool elf_symbols__empty(const struct elf_symbols *symbols)
{
	return !symbols->ranges.cnt;
}

bool elf_symbols__address(const struct elf_symbols *symbols, uint64_t offset, uint64_t *ret_address)
{
	return elf_segments__vaddr(&symbols->segments, offset, ret_address);
}

bool elf_symbols__find(const struct elf_symbols *symbols, uint64_t address,
		       struct elf_function *ret_function)
{
	const struct range *range = array_find_start(&symbols->ranges, address);

	if (!range || address - range->start >= range->len)
		return false;
	*ret_function = (struct elf_function){.name = symbols->names + range->name,
					      .name_id = range->name,
					      .start = range->start - range->lead};
	return true;
}
