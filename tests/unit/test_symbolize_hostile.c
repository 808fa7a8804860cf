// SPDX-License-Identifier: GPL-2.0-or-later
/* Damaged and absurd ELF files: any answer will do, but an answer, and soon. Meant for SAN=1. */
#include "unit/symbolize_fixture.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "symbolize/elf_symbols.h"

static uint64_t seed;

static uint64_t next_random(void)
{
	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return seed >> 33;
}

struct victim {
	uint8_t *data;
	size_t size;
	int fd; /* memfd with the same contents */
};

static void open_victim(struct victim *ret, const char *name)
{
	int fd = open_in_dir(name);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	ret->size = (size_t)st.st_size;
	ret->data = malloc(ret->size);
	assert_non_null(ret->data);
	assert_int_equal(pread(fd, ret->data, ret->size, 0), ret->size);
	close(fd);
	ret->fd = memfd_create("victim", MFD_CLOEXEC);
	assert_true(ret->fd >= 0);
	assert_int_equal(pwrite(ret->fd, ret->data, ret->size, 0), ret->size);
}

static void close_victim(struct victim *victim)
{
	free(victim->data);
	close(victim->fd);
}

/* Loads, and asks around. Returns whether the file was readable. */
static bool probe(const struct victim *victim)
{
	struct elf_function function;
	struct elf_symbols *symbols;
	uint64_t addr;
	char *root = in_dir("root"), *path = in_dir("victim");
	int err;

	err = elf_symbols__load(victim->fd, path, root, &symbols);
	free(root);
	free(path);
	assert_true(err <= 0);
	if (err)
		return false;
	for (uint64_t offset = 0; offset < victim->size; offset += 97)
		if (elf_symbols__address(symbols, offset, &addr) &&
		    elf_symbols__find(symbols, addr, &function)) {
			assert_true(function.start <= addr);
			assert_true(strlen(function.name) > 0);
		}
	elf_symbols__find(symbols, UINT64_MAX, &function);
	elf_symbols__find(symbols, 0, &function);
	elf_symbols__free(symbols);
	return true;
}

static void build_victim(const char *flags, const char *then)
{
	write_sample();
	assert_int_equal(shell("gcc -O2 %s -o victim sample.c && %s", flags, then), 0);
}

/* Damages `len` bytes at `off`, looks, repairs. */
static bool probe_damaged(struct victim *victim, size_t off, size_t len)
{
	uint8_t bytes[8];
	bool readable;

	assert_true(len <= sizeof(bytes));
	if (off + len > victim->size)
		return false;
	memcpy(bytes, victim->data + off, len);
	for (size_t i = 0; i < len; i++)
		bytes[i] = next_random() % 4   ? (uint8_t)next_random()
			   : next_random() % 2 ? 0xff
					       : 0;
	if (next_random() % 2) {
		memcpy(bytes, victim->data + off, len);
		bytes[next_random() % len] ^= (uint8_t)(1U << next_random() % 8);
	}
	assert_int_equal(pwrite(victim->fd, bytes, len, (off_t)off), len);
	readable = probe(victim);
	assert_int_equal(pwrite(victim->fd, victim->data + off, len, (off_t)off), len);
	return readable;
}

/* A place in the headers or in what the reader interprets; else anywhere. */
static size_t interesting_offset(const struct victim *victim)
{
	const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)victim->data;
	const Elf64_Shdr *shdrs = (const Elf64_Shdr *)(victim->data + ehdr->e_shoff), *shdr;

	switch (next_random() % 8) {
	case 0:
		return next_random() % sizeof(*ehdr);
	case 1:
		return ehdr->e_phoff + next_random() % (ehdr->e_phnum * sizeof(Elf64_Phdr));
	case 2:
	case 3:
		return ehdr->e_shoff + next_random() % (ehdr->e_shnum * sizeof(*shdrs));
	case 4:
		return next_random() % victim->size;
	default:
		for (;;) {
			shdr = &shdrs[next_random() % ehdr->e_shnum];
			if (shdr->sh_size &&
			    (shdr->sh_type == SHT_SYMTAB || shdr->sh_type == SHT_DYNSYM ||
			     shdr->sh_type == SHT_STRTAB || shdr->sh_type == SHT_NOTE))
				return shdr->sh_offset + next_random() % shdr->sh_size;
		}
	}
}

static void damage(const char *flags, const char *then, unsigned int times)
{
	static const size_t lens[] = {1, 1, 2, 4, 8};
	unsigned int readable = 0;
	struct victim victim;

	build_victim(flags, then);
	open_victim(&victim, "victim");
	assert_true(probe(&victim));
	for (unsigned int i = 0; i < times; i++)
		readable += probe_damaged(&victim, interesting_offset(&victim),
					  lens[next_random() % 5]);
	print_message("%u damaged files, %u still readable\n", times, readable);
	assert_true(readable && readable < times);
	close_victim(&victim);
}

static void damaged_bytes(void **state)
{
	(void)state;
	seed = 1;
	damage("-shared -fPIC", "true", 6000);
	seed = 2;
	damage("-pie -fPIE", "true", 3000);
}

static void damaged_links(void **state)
{
	(void)state;
	seed = 3;
	damage("-Wl,--build-id=0x0123456789",
	       "objcopy --only-keep-debug victim victim.debug && strip victim &&"
	       "objcopy --add-gnu-debuglink=victim.debug victim && mkdir -p root/.build-id/01 &&"
	       "cp victim.debug root/.build-id/01/23456789.debug",
	       3000);
}

static void damaged_debug_files(void **state)
{
	struct victim program, debug;
	char *path = in_dir("root/.build-id/ab/cdef.debug");
	size_t off;

	(void)state;
	seed = 4;
	build_victim("-Wl,--build-id=0xabcdef",
		     "mkdir -p root/.build-id/ab && objcopy --only-keep-debug victim"
		     " root/.build-id/ab/cdef.debug && strip victim");
	open_victim(&program, "victim");
	open_victim(&debug, "root/.build-id/ab/cdef.debug");
	close(debug.fd);
	debug.fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(debug.fd >= 0);
	for (int i = 0; i < 2000; i++) {
		off = interesting_offset(&debug);
		if (off + 2 > debug.size)
			continue;
		assert_int_equal(
			pwrite(debug.fd, (uint16_t[]){(uint16_t)next_random()}, 2, (off_t)off), 2);
		assert_true(probe(&program));
		assert_int_equal(pwrite(debug.fd, debug.data + off, 2, (off_t)off), 2);
	}
	close_victim(&program);
	close_victim(&debug);
	free(path);
}

static void truncated(void **state)
{
	struct victim victim;

	(void)state;
	build_victim("-shared -fPIC", "true");
	open_victim(&victim, "victim");
	for (size_t size = victim.size; size > 0; size -= size > 4096 ? 1 + size % 13 : 1) {
		assert_int_equal(ftruncate(victim.fd, (off_t)size - 1), 0);
		probe(&victim);
	}
	close_victim(&victim);
}

static void not_elf_at_all(void **state)
{
	struct elf_symbols *symbols;
	int fds[2], fd;

	(void)state;
	write_file("text", "#!/bin/sh\n");
	write_file("empty", "");
	fd = open_in_dir("text");
	assert_int_equal(elf_symbols__load(fd, "/text", "/", &symbols), -ENOEXEC);
	close(fd);
	fd = open_in_dir("empty");
	assert_int_equal(elf_symbols__load(fd, "/empty", "/", &symbols), -ENOEXEC);
	close(fd);
	fd = open_file("/dev/zero");
	assert_int_equal(elf_symbols__load(fd, "/dev/zero", "/", &symbols), -ENOEXEC);
	close(fd);
	fd = open_file(fixture_dir);
	assert_int_equal(elf_symbols__load(fd, fixture_dir, "/", &symbols), -ENOEXEC);
	close(fd);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(elf_symbols__load(fds[0], "/pipe", "/", &symbols), -ENOEXEC);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(elf_symbols__load(-1, "/none", "/", &symbols), -EBADF);
}

/*
 * One executable section, `cnt` symbols made by `make`, names in one string table of `names_size`
 * times 'a'.
 */
static int make_table(size_t cnt, size_t names_size,
		      void (*make)(Elf64_Sym *sym, size_t i, size_t cnt))
{
	Elf64_Shdr shdrs[4] = {
		{0},
		{.sh_type = SHT_PROGBITS,
		 .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
		 .sh_addr = 0x1000,
		 .sh_size = 1U << 30},
		{.sh_type = SHT_SYMTAB,
		 .sh_link = 3,
		 .sh_entsize = sizeof(Elf64_Sym),
		 .sh_offset = 4096,
		 .sh_size = cnt * sizeof(Elf64_Sym)},
		{.sh_type = SHT_STRTAB,
		 .sh_offset = 4096 + cnt * sizeof(Elf64_Sym),
		 .sh_size = names_size},
	};
	Elf64_Ehdr ehdr = {.e_type = ET_DYN,
			   .e_shoff = sizeof(ehdr),
			   .e_shnum = 4,
			   .e_shentsize = sizeof(Elf64_Shdr)};
	Elf64_Sym *syms = calloc(cnt, sizeof(*syms));
	char *names = malloc(names_size);
	int fd = memfd_create("table", MFD_CLOEXEC);

	assert_true(fd >= 0 && syms && names);
	memcpy(ehdr.e_ident, ELFMAG, SELFMAG);
	ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	memset(names, 'a', names_size);
	for (size_t i = 0; i < cnt; i++) {
		syms[i].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
		syms[i].st_shndx = 1;
		make(&syms[i], i, cnt);
	}
	assert_int_equal(pwrite(fd, &ehdr, sizeof(ehdr), 0), sizeof(ehdr));
	assert_int_equal(pwrite(fd, shdrs, sizeof(shdrs), sizeof(ehdr)), sizeof(shdrs));
	assert_int_equal(pwrite(fd, syms, cnt * sizeof(*syms), 4096), cnt * sizeof(*syms));
	assert_int_equal(pwrite(fd, names, names_size, (off_t)shdrs[3].sh_offset), names_size);
	free(syms);
	free(names);
	return fd;
}

/* All at one address, each with another suffix of one huge name. */
static void make_same_address(Elf64_Sym *sym, size_t i, size_t cnt)
{
	(void)cnt;
	sym->st_value = 0x2000;
	sym->st_size = i;
	sym->st_name = (Elf64_Word)i;
}

/* Every function lies in all earlier ones. */
static void make_nested(Elf64_Sym *sym, size_t i, size_t cnt)
{
	sym->st_value = 0x1000 + i;
	sym->st_size = 2 * cnt - 2 * i;
	sym->st_name = 1;
}

static void make_without_size(Elf64_Sym *sym, size_t i, size_t cnt)
{
	sym->st_value = 0x1000 + (cnt - i) * 4;
	sym->st_name = (Elf64_Word)(i % 100);
}

static void make_wild(Elf64_Sym *sym, size_t i, size_t cnt)
{
	(void)cnt;
	sym->st_value = next_random() % 3 ? next_random() << next_random() % 33 : UINT64_MAX - i;
	sym->st_size = next_random() % 3 ? next_random() : UINT64_MAX - next_random();
	sym->st_name = (Elf64_Word)next_random() % (1U << 21);
	sym->st_info = (unsigned char)next_random();
	sym->st_shndx = (Elf64_Half)next_random();
}

static void absurd_tables_cost_bounded_time(void **state)
{
	static void (*const makers[])(Elf64_Sym *, size_t, size_t) = {
		make_same_address, make_nested, make_without_size, make_wild};
	struct elf_function function;
	struct elf_symbols *symbols;
	double began;
	int fd;

	(void)state;
	seed = 5;
	for (size_t i = 0; i < 4; i++) {
		fd = make_table(500000, 1U << 20, makers[i]);
		began = now_seconds();
		assert_int_equal(elf_symbols__load(fd, "/table", "/nonexistent", &symbols), 0);
		print_message("table %zu: 500000 symbols in %.3f s\n", i, now_seconds() - began);
		assert_true(now_seconds() - began < 20);
		assert_int_equal(elf_symbols__find(symbols, 0x2001, &function), i < 3);
		elf_symbols__free(symbols);
		close(fd);
	}
}

static void nested_functions_end_where_they_should(void **state)
{
	struct elf_function function;
	struct elf_symbols *symbols;
	int fd = make_table(1000, 16, make_nested);

	(void)state;
	assert_int_equal(elf_symbols__load(fd, "/table", "/nonexistent", &symbols), 0);
	for (uint64_t i = 0; i < 2000; i++) {
		assert_true(elf_symbols__find(symbols, 0x1000 + i, &function));
		/* Function k covers [k, 2000 - k): the innermost is the last that still covers i.
		 */
		assert_true(function.start - 0x1000 == (i < 1000 ? i : 1999 - i));
	}
	assert_false(elf_symbols__find(symbols, 0x1000 + 2000, &function));
	elf_symbols__free(symbols);
	close(fd);
}

/* Sizes that no file of this world needs are refused before memory is asked for. */
static void giant_sparse_tables_are_refused(void **state)
{
	Elf64_Shdr shdr = {.sh_type = SHT_SYMTAB,
			   .sh_link = 3,
			   .sh_entsize = sizeof(Elf64_Sym),
			   .sh_offset = 4096,
			   .sh_size = 1ULL << 36};
	struct elf_symbols *symbols;
	int fd = make_table(10, 16, make_nested);

	(void)state;
	assert_int_equal(ftruncate(fd, 1LL << 40), 0);
	assert_int_equal(pwrite(fd, &shdr, sizeof(shdr), sizeof(Elf64_Ehdr) + 2 * sizeof(shdr)),
			 sizeof(shdr));
	assert_int_equal(elf_symbols__load(fd, "/table", "/nonexistent", &symbols), -EFBIG);
	shdr.sh_size = 240;
	assert_int_equal(pwrite(fd, &shdr, sizeof(shdr), sizeof(Elf64_Ehdr) + 2 * sizeof(shdr)),
			 sizeof(shdr));
	shdr = (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_size = 1ULL << 36};
	assert_int_equal(pwrite(fd, &shdr, sizeof(shdr), sizeof(Elf64_Ehdr) + 3 * sizeof(shdr)),
			 sizeof(shdr));
	assert_int_equal(elf_symbols__load(fd, "/table", "/nonexistent", &symbols), -EFBIG);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_bytes),
		cmocka_unit_test(damaged_links),
		cmocka_unit_test(damaged_debug_files),
		cmocka_unit_test(truncated),
		cmocka_unit_test(not_elf_at_all),
		cmocka_unit_test(absurd_tables_cost_bounded_time),
		cmocka_unit_test(nested_functions_end_where_they_should),
		cmocka_unit_test(giant_sparse_tables_are_refused),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
