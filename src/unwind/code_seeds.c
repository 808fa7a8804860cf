/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/code_seeds.h"

#include <string.h>

#define MAX_TABLE_BYTES (128U << 20) /* of symbols, names, relocations and data, in all */

void code_seeds__free(struct code_seeds *seeds)
{
	array_free(&seeds->list);
	array_free(&seeds->slots);
}

size_t code_seeds__lower(const struct code_seeds *seeds, uint32_t at)
{
	size_t low = 0, high = seeds->list.cnt;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (seeds->list.items[mid].at < at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int compare_seeds(const void *a, const void *b)
{
	const struct code_seed *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return (int)y->trust - x->trust;
}

static void sort(struct code_seeds *seeds)
{
	struct code_seed *items = seeds->list.items;
	size_t kept = 0;

	if (seeds->list.cnt)
		qsort(items, seeds->list.cnt, sizeof(*items), compare_seeds);
	for (size_t i = 0; i < seeds->list.cnt; i++) {
		if (kept && items[kept - 1].at == items[i].at)
			items[kept - 1].is_entry |= items[i].is_entry;
		else
			items[kept++] = items[i];
	}
	seeds->list.cnt = kept;
}

static int add(struct code_seeds *seeds, const struct code_text *text, uint64_t vaddr,
	       enum seed_trust trust)
{
	struct code_seed seed = {.trust = (uint8_t)trust};

	if (!code_text__offset(text, vaddr, &seed.at))
		return 0;
	return array_push(&seeds->list, seed);
}

/* ---- tables of the file ---------------------------------------------------------------------- */

struct table_reader {
	struct code_seeds *seeds;
	const struct elf_image *image;
	const struct code_text *text;
	size_t bytes_left;
};

/*
 * Loads `cnt` items of `size` bytes. What the file is to blame for, or is too much, is a table
 * without items. The caller frees *ret_table.
 */
static int load_table(struct table_reader *reader, uint64_t off, uint64_t cnt, size_t size,
		      char **ret_table, size_t *ret_cnt)
{
	int err = elf_image__load(reader->image, off, cnt * size, reader->bytes_left, ret_table);

	*ret_cnt = err ? 0 : cnt;
	if (err == -EBADMSG || err == -EFBIG) {
		*ret_table = NULL;
		return 0;
	}
	if (!err)
		reader->bytes_left -= cnt * size;
	return err;
}

static int load_section(struct table_reader *reader, const Elf64_Shdr *shdr, size_t item_size,
			char **ret_table, size_t *ret_cnt)
{
	return load_table(reader, shdr->sh_offset, shdr->sh_size / item_size, item_size, ret_table,
			  ret_cnt);
}

static int add_address(struct table_reader *reader, uint64_t vaddr, enum seed_trust trust)
{
	return add(reader->seeds, reader->text, vaddr, trust);
}

/* ---- symbols --------------------------------------------------------------------------------- */

struct symbols {
	char *table, *names; /* owned; zero bytes follow the last name */
	size_t cnt, names_size;
};

static void free_symbols(struct symbols *symbols)
{
	free(symbols->table);
	free(symbols->names);
}

static int load_symbols(struct table_reader *reader, const Elf64_Shdr *shdr, struct symbols *ret)
{
	const struct elf_image *image = reader->image;
	int err;

	*ret = (struct symbols){0};
	err = load_section(reader, shdr, sizeof(Elf64_Sym), &ret->table, &ret->cnt);
	if (!err && shdr->sh_link < image->shdr_cnt)
		err = load_section(reader, &image->shdrs[shdr->sh_link], 1, &ret->names,
				   &ret->names_size);
	return err;
}

static Elf64_Sym symbol_at(const struct symbols *symbols, size_t i)
{
	Elf64_Sym symbol;

	memcpy(&symbol, symbols->table + i * sizeof(symbol), sizeof(symbol));
	return symbol;
}

static const char *symbol_name(const struct symbols *symbols, const Elf64_Sym *symbol)
{
	return symbol->st_name < symbols->names_size ? symbols->names + symbol->st_name : "";
}

static int add_symbols(struct table_reader *reader, const Elf64_Shdr *shdr)
{
	enum seed_trust trust;
	struct symbols symbols;
	Elf64_Sym symbol;
	int err;

	err = load_symbols(reader, shdr, &symbols);
	for (size_t i = 0; i < symbols.cnt && !err; i++) {
		symbol = symbol_at(&symbols, i);
		trust = SEED_NAMED;
		if (ELF64_ST_TYPE(symbol.st_info) == STT_NOTYPE &&
		    ELF64_ST_BIND(symbol.st_info) != STB_LOCAL)
			trust = SEED_TAKEN; /* assembly, perhaps */
		else if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC &&
			 ELF64_ST_TYPE(symbol.st_info) != STT_GNU_IFUNC)
			continue;
		/* gcc's name for the parts that it moves away: they are jumped to, not called. */
		if (symbol.st_shndx != SHN_UNDEF &&
		    !strstr(symbol_name(&symbols, &symbol), ".cold"))
			err = add_address(reader, symbol.st_value, trust);
	}
	free_symbols(&symbols);
	return err;
}

/* ---- relocations ----------------------------------------------------------------------------- */

static bool is_no_return(const char *name)
{
	/* C, POSIX, glibc, musl, the C++ ABI */
	static const char *const names[] = {
		"abort",
		"exit",
		"_exit",
		"_Exit",
		"quick_exit",
		"longjmp",
		"_longjmp",
		"siglongjmp",
		"__longjmp_chk",
		"pthread_exit",
		"thrd_exit",
		"err",
		"errx",
		"verr",
		"verrx",
		"__assert",
		"__assert_fail",
		"__assert_perror_fail",
		"__chk_fail",
		"__fortify_fail",
		"__stack_chk_fail",
		"__libc_start_main",
		"__cxa_throw",
		"__cxa_rethrow",
		"__cxa_bad_cast",
		"__cxa_bad_typeid",
		"__cxa_call_unexpected",
		"__cxa_pure_virtual",
		"__cxa_throw_bad_array_new_length",
		"_Unwind_Resume",
		"_ZSt9terminatev",
		"_ZSt10unexpectedv",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name))
			return true;
	/* std::__throw_length_error() and its sisters */
	return !strncmp(name, "_ZSt", 4) && strstr(name, "__throw_");
}

static int add_slot(struct table_reader *reader, uint64_t vaddr, const Elf64_Sym *symbol,
		    const char *name)
{
	struct code_slot slot = {.vaddr = vaddr};

	if (symbol->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC)
		slot.function = symbol->st_value;
	else if (!is_no_return(name))
		return 0;
	return array_push(&reader->seeds->slots, slot);
}

static int add_relocations(struct table_reader *reader, const Elf64_Shdr *shdr)
{
	const struct elf_image *image = reader->image;
	struct symbols symbols = {0};
	char *table = NULL;
	size_t cnt;
	int err;

	err = load_section(reader, shdr, sizeof(Elf64_Rela), &table, &cnt);
	if (!err && shdr->sh_link < image->shdr_cnt &&
	    image->shdrs[shdr->sh_link].sh_type == SHT_DYNSYM)
		err = load_symbols(reader, &image->shdrs[shdr->sh_link], &symbols);
	for (size_t i = 0; i < cnt && !err; i++) {
		Elf64_Rela rela;
		Elf64_Sym symbol;
		uint32_t type;

		memcpy(&rela, table + i * sizeof(rela), sizeof(rela));
		type = (uint32_t)ELF64_R_TYPE(rela.r_info);
		if (type == R_X86_64_RELATIVE || type == R_X86_64_IRELATIVE)
			err = add_address(reader, (uint64_t)rela.r_addend, SEED_TAKEN);
		if ((type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) ||
		    ELF64_R_SYM(rela.r_info) >= symbols.cnt)
			continue;
		symbol = symbol_at(&symbols, ELF64_R_SYM(rela.r_info));
		err = add_slot(reader, rela.r_offset, &symbol, symbol_name(&symbols, &symbol));
	}
	free_symbols(&symbols);
	free(table);
	return err;
}

static int compare_slots(const void *a, const void *b)
{
	const struct code_slot *x = a, *y = b;

	return (x->vaddr > y->vaddr) - (x->vaddr < y->vaddr);
}

const struct code_slot *code_seeds__slot(const struct code_seeds *seeds, uint64_t vaddr)
{
	const struct code_slot key = {.vaddr = vaddr};

	if (!seeds->slots.cnt)
		return NULL;
	return bsearch(&key, seeds->slots.items, seeds->slots.cnt, sizeof(key), compare_slots);
}

/* ---- other addresses ------------------------------------------------------------------------- */

/* In data of a program that runs where it was linked. */
static int add_words(struct table_reader *reader, const Elf64_Shdr *shdr)
{
	uint64_t word;
	char *table;
	size_t cnt;
	int err;

	err = load_section(reader, shdr, sizeof(word), &table, &cnt);
	for (size_t i = 0; i < cnt && !err; i++) {
		memcpy(&word, table + i * sizeof(word), sizeof(word));
		err = add_address(reader, word, SEED_TAKEN);
	}
	free(table);
	return err;
}

static int add_section(struct table_reader *reader, const Elf64_Shdr *shdr)
{
	const uint64_t writable = SHF_ALLOC | SHF_WRITE;

	switch (shdr->sh_type) {
	case SHT_SYMTAB:
	case SHT_DYNSYM:
		return add_symbols(reader, shdr);
	case SHT_RELA:
		return add_relocations(reader, shdr);
	case SHT_PREINIT_ARRAY:
	case SHT_INIT_ARRAY:
	case SHT_FINI_ARRAY:
		return add_words(reader, shdr);
	case SHT_PROGBITS:
		return (shdr->sh_flags & writable) == writable ? add_words(reader, shdr) : 0;
	default:
		return 0;
	}
}

/* DT_INIT and DT_FINI. */
static int add_dynamic(struct table_reader *reader, const Elf64_Phdr *phdr)
{
	Elf64_Dyn dyn;
	char *table;
	size_t cnt;
	int err;

	err = load_table(reader, phdr->p_offset, phdr->p_filesz / sizeof(dyn), sizeof(dyn), &table,
			 &cnt);
	for (size_t i = 0; i < cnt && !err; i++) {
		memcpy(&dyn, table + i * sizeof(dyn), sizeof(dyn));
		if (dyn.d_tag == DT_INIT || dyn.d_tag == DT_FINI)
			err = add_address(reader, dyn.d_un.d_ptr, SEED_NAMED);
	}
	free(table);
	return err;
}

/*
 * Nothing has called where the kernel or the loader begins, and code there says so by clearing the
 * frame pointer (psABI 3.4.1) or by what it does with the stack pointer. Libraries may have
 * anything there: old linkers put the beginning of their code.
 */
static int add_entry(struct table_reader *reader)
{
	struct code_seed seed = {.trust = SEED_NAMED};
	Elf64_Ehdr ehdr;
	int err;

	err = elf_image__read(reader->image, 0, &ehdr, sizeof(ehdr));
	if (err || !code_text__offset(reader->text, ehdr.e_entry, &seed.at))
		return err;
	seed.is_entry = ehdr.e_type == ET_EXEC || code_text__is_first_code(reader->text, seed.at);
	return seed.is_entry ? array_push(&reader->seeds->list, seed) : 0;
}

int code_seeds__from_file(struct code_seeds *seeds, const struct elf_image *image,
			  const struct code_text *text)
{
	struct table_reader reader = {seeds, image, text, MAX_TABLE_BYTES};
	int err;

	err = add_entry(&reader);
	for (size_t i = 0; i < image->shdr_cnt && !err; i++)
		err = add_section(&reader, &image->shdrs[i]);
	for (size_t i = 0; i < image->phdr_cnt && !err; i++)
		if (image->phdrs[i].p_type == PT_DYNAMIC)
			err = add_dynamic(&reader, &image->phdrs[i]);
	if (err)
		return err;
	sort(seeds);
	if (seeds->slots.cnt)
		qsort(seeds->slots.items, seeds->slots.cnt, sizeof(*seeds->slots.items),
		      compare_slots);
	return 0;
}

/* ---- instructions ---------------------------------------------------------------------------- */

static int add_target(struct code_seeds *seeds, const struct code_text *text,
		      const struct code_insn *insn, enum seed_trust trust)
{
	int64_t target = code_insn__target(insn);

	return target < 0 ? 0 : add(seeds, text, text->base + (uint64_t)target, trust);
}

/* Whether what comes before does not lead here: a label in the middle of code is no function. */
static bool begins_anew(const struct code_text *text, uint32_t idx)
{
	const struct code_insn *before;

	if (!idx)
		return true;
	before = &text->insns.items[idx - 1];
	if (before->at + before->len != text->insns.items[idx].at)
		return true;
	return !code_insn__goes_on(before) || before->op == CODE_NOP || before->op == CODE_CALL;
}

/* call +0; pop: a way to learn the program counter. */
static bool asks_for_pc(const struct code_text *text, uint32_t idx)
{
	return !text->insns.items[idx].imm && idx + 1 < text->sweep_cnt &&
	       text->insns.items[idx + 1].op == CODE_POP;
}

static void mark_target(struct code_text *text, const struct code_insn *insn)
{
	uint32_t idx = code_text__find(text, code_insn__target(insn));

	if (idx != CODE_NO_INSN)
		text->insns.items[idx].flags |= CODE_TARGET;
}

int code_seeds__from_text(struct code_seeds *seeds, struct code_text *text)
{
	size_t kept = 0;
	int err = 0;

	for (uint32_t i = 0; i < text->sweep_cnt && !err; i++) {
		const struct code_insn *insn = &text->insns.items[i];

		if (insn->op == CODE_CALL && !asks_for_pc(text, i))
			err = add_target(seeds, text, insn, SEED_CALLED);
		else if (insn->op == CODE_ADDRESS)
			err = add_target(seeds, text, insn, SEED_TAKEN);
		else if (insn->op == CODE_JUMP || insn->op == CODE_BRANCH)
			mark_target(text, insn);
	}
	if (err)
		return err;
	sort(seeds);
	for (size_t i = 0; i < seeds->list.cnt; i++) {
		struct code_seed *seed = &seeds->list.items[i];
		uint32_t idx = code_text__find(text, seed->at);

		if (idx == CODE_NO_INSN || (seed->trust == SEED_TAKEN && !begins_anew(text, idx)))
			continue;
		text->insns.items[idx].flags |= CODE_START;
		seeds->list.items[kept++] = *seed;
	}
	seeds->list.cnt = kept;
	return 0;
}

int code_seeds__add(struct code_seeds *seeds, struct code_text *text, const uint32_t *offsets,
		    size_t cnt, bool *ret_added)
{
	size_t sorted_cnt = seeds->list.cnt;
	int err = 0;

	for (size_t i = 0; i < cnt && !err; i++) {
		struct code_seed seed = {.at = offsets[i], .trust = SEED_TAKEN};
		uint32_t idx = code_text__find(text, seed.at);

		if (idx == CODE_NO_INSN || text->insns.items[idx].flags & CODE_START)
			continue;
		err = array_push(&seeds->list, seed);
		if (!err)
			text->insns.items[idx].flags |= CODE_START;
	}
	*ret_added = seeds->list.cnt > sorted_cnt;
	sort(seeds);
	return err;
}
