/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a file's fingerprint covers, and what of the file its compiler sees. */
#include "program_fixture.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "unwind/source.h"

static void fingerprint_of(int fd, uint8_t ret[static SIPHASH_BYTES])
{
	static const uint8_t key[SIPHASH_BYTES] = {1};
	struct table_source source;

	assert_int_equal(table_source__open(&source, fd), 0);
	assert_int_equal(table_source__hash(&source, key, ret), 0);
	table_source__close(&source);
}

enum { NONE, TEXT, EH_FRAME, DATA, DEBUG_INFO, SYMTAB, NAMES, SECTIONS };

/* Each section has 64 bytes, of code there are `code_size`. */
static int make_sections(uint64_t code_size, uint64_t at[static SECTIONS])
{
	static const char names[64] = "\0.text\0.eh_frame\0.data\0.debug_info\0.symtab\0.shstrtab";
	static const Elf64_Word name_at[] = {0, 1, 7, 17, 23, 35, 43};
	static const Elf64_Word types[] = {SHT_NULL,	 SHT_PROGBITS, SHT_PROGBITS, SHT_PROGBITS,
					   SHT_PROGBITS, SHT_SYMTAB,   SHT_STRTAB};
	Elf64_Shdr shdrs[SECTIONS] = {0};
	uint64_t end = CODE_AT + code_size;
	Elf64_Ehdr ehdr;
	int fd = make_program("xA", code_size);

	assert_int_equal(pread(fd, &ehdr, sizeof(ehdr), 0), sizeof(ehdr));
	for (size_t i = TEXT; i < SECTIONS; i++) {
		at[i] = i == TEXT ? CODE_AT : end + 64 * i;
		shdrs[i] = (Elf64_Shdr){.sh_name = name_at[i],
					.sh_type = types[i],
					.sh_offset = at[i],
					.sh_size = i == TEXT ? code_size : 64};
	}
	shdrs[TEXT].sh_flags = SHF_EXECINSTR;
	shdrs[DEBUG_INFO].sh_flags = SHF_COMPRESSED;
	ehdr.e_shoff = end + 64 * SECTIONS;
	ehdr.e_shnum = SECTIONS;
	ehdr.e_shentsize = sizeof(Elf64_Shdr);
	ehdr.e_shstrndx = NAMES;
	assert_int_equal(ftruncate(fd, (off_t)(ehdr.e_shoff + sizeof(shdrs) + 100)), 0);
	assert_int_equal(pwrite(fd, &ehdr, sizeof(ehdr), 0), sizeof(ehdr));
	assert_int_equal(pwrite(fd, shdrs, sizeof(shdrs), (off_t)ehdr.e_shoff), sizeof(shdrs));
	assert_int_equal(pwrite(fd, names, sizeof(names), (off_t)at[NAMES]), sizeof(names));
	at[NONE] = ehdr.e_shoff;
	return fd;
}

/* Returns whether a change of this byte changes the fingerprint. */
static bool matters(int fd, uint64_t off)
{
	uint8_t before[SIPHASH_BYTES], after[SIPHASH_BYTES], byte, changed;

	fingerprint_of(fd, before);
	assert_int_equal(pread(fd, &byte, 1, (off_t)off), 1);
	changed = byte ^ 1;
	assert_int_equal(pwrite(fd, &changed, 1, (off_t)off), 1);
	fingerprint_of(fd, after);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
	return memcmp(before, after, sizeof(before)) != 0;
}

static void test_fingerprint(void **state)
{
	uint64_t at[SECTIONS], big = MAX_SOURCE_CODE + 4096;
	int fd;

	(void)state;
	fd = make_sections(8192, at);
	assert_true(matters(fd, 24));				 /* e_entry */
	assert_true(matters(fd, sizeof(Elf64_Ehdr) + 40));	 /* p_memsz */
	assert_true(matters(fd, at[NONE] + 64 * EH_FRAME + 16)); /* sh_addr */
	assert_true(matters(fd, at[TEXT]));
	assert_true(matters(fd, at[TEXT] + 8191));
	assert_true(matters(fd, at[EH_FRAME]));
	assert_true(matters(fd, at[EH_FRAME] + 63));
	assert_true(matters(fd, at[SYMTAB] + 5));
	assert_true(matters(fd, at[NAMES] + 2));
	assert_false(matters(fd, at[DATA]));
	assert_false(matters(fd, at[DEBUG_INFO] + 7));
	assert_false(matters(fd, at[NONE] + 64 * SECTIONS)); /* behind everything */
	close(fd);
	/* So much code is not looked into. */
	fd = make_sections(big, at);
	assert_false(matters(fd, at[TEXT]));
	assert_false(matters(fd, at[TEXT] + big - 1));
	assert_false(matters(fd, at[SYMTAB]));
	assert_true(matters(fd, at[EH_FRAME] + 1));
	close(fd);
}

/* What the fingerprint does not cover, the compiler does not see. */
static void test_copy(void **state)
{
	static const uint8_t key[SIPHASH_BYTES] = {1};
	uint8_t fingerprint[SIPHASH_BYTES], byte;
	uint64_t at[SECTIONS];
	struct table_source source;
	Elf64_Shdr shdr;
	int fd, copy;

	(void)state;
	fd = make_sections(8192, at);
	for (size_t i = EH_FRAME; i <= SYMTAB; i++)
		assert_int_equal(pwrite(fd, "?", 1, (off_t)at[i]), 1);
	fingerprint_of(fd, fingerprint);
	assert_int_equal(table_source__open(&source, fd), 0);
	copy = table_source__copy(&source, key, fingerprint);
	assert_true(copy >= 0);
	for (size_t i = EH_FRAME; i <= SYMTAB; i++) {
		bool covered = i != DATA && i != DEBUG_INFO;

		assert_int_equal(pread(copy, &byte, 1, (off_t)at[i]), 1);
		assert_int_equal(byte, covered ? '?' : 0);
		assert_int_equal(pread(copy, &shdr, sizeof(shdr), (off_t)(at[NONE] + 64 * i)),
				 sizeof(shdr));
		assert_int_equal(shdr.sh_type == SHT_NOBITS, !covered);
		assert_int_equal(shdr.sh_flags & SHF_COMPRESSED, 0);
	}
	close(copy);
	/* A changed file is not what it was, and neither is one whose headers changed. */
	fingerprint[3] ^= 1;
	assert_int_equal(table_source__copy(&source, key, fingerprint), -ESTALE);
	fingerprint[3] ^= 1;
	assert_int_equal(pwrite(fd, "?", 1, (off_t)at[TEXT] + 9), 1);
	assert_int_equal(table_source__copy(&source, key, fingerprint), -ESTALE);
	assert_int_equal(ftruncate(fd, CODE_AT), 0);
	assert_int_equal(table_source__copy(&source, key, fingerprint), -ESTALE);
	table_source__close(&source);
	close(fd);
}

/* Headers of any content lead to an error or a fingerprint, and the same ones to the same. */
static void test_hostile_headers(void **state)
{
	static const uint8_t key[SIPHASH_BYTES] = {1};
	uint8_t fingerprint[SIPHASH_BYTES], again[SIPHASH_BYTES];
	uint64_t at[SECTIONS], off, value;
	struct table_source source;
	size_t done = 0;
	int fd, copy;

	(void)state;
	srand(11);
	for (int round = 0; round < 3000; round++) {
		fd = make_sections(8192, at);
		for (int i = 0; i < 1 + rand() % 6; i++) {
			off = rand() % 3 ? at[NONE] + (uint64_t)(rand() % (64 * SECTIONS / 8)) * 8
					 : 16 + (uint64_t)(rand() % 13) * 8;
			value = rand() % 2 ? (uint64_t)rand() : (uint64_t)rand() << (rand() % 40);
			if (!(rand() % 8))
				value = -value;
			assert_int_equal(
				pwrite(fd, &value, 1 + (size_t)(rand() % 8), (off_t)off) > 0, 1);
		}
		if (!table_source__open(&source, fd)) {
			assert_int_equal(table_source__hash(&source, key, fingerprint), 0);
			copy = table_source__copy(&source, key, fingerprint);
			assert_true(copy >= 0);
			fingerprint_of(fd, again);
			assert_memory_equal(fingerprint, again, sizeof(again));
			table_source__close(&source);
			close(copy);
			done++;
		}
		close(fd);
	}
	assert_true(done > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fingerprint),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_hostile_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
