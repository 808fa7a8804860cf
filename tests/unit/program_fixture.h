/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The smallest ELF files that have code, made in memory. */
#ifndef LEAKSWEEP_TESTS_PROGRAM_FIXTURE_H
#define LEAKSWEEP_TESTS_PROGRAM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CODE_AT 4096 /* offset and address */

/* A program of `size` bytes of code and no sections. The caller closes the descriptor. */
static inline int make_program(const char *code, size_t size)
{
	Elf64_Ehdr ehdr = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, 1},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = 1,
		.e_phoff = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_ehsize = sizeof(ehdr),
		.e_phnum = 1,
	};
	Elf64_Phdr phdr = {
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_X,
		.p_offset = CODE_AT,
		.p_vaddr = CODE_AT,
		.p_filesz = size,
		.p_memsz = size,
	};
	int fd = memfd_create("program", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(CODE_AT + size)), 0);
	assert_int_equal(pwrite(fd, &ehdr, sizeof(ehdr), 0), sizeof(ehdr));
	assert_int_equal(pwrite(fd, &phdr, sizeof(phdr), sizeof(ehdr)), sizeof(phdr));
	assert_int_equal(pwrite(fd, code, strlen(code), CODE_AT), strlen(code));
	return fd;
}

#endif
