/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ELF files with call frame information, made by hand byte for byte: one code segment, frame
 * sections of any contents. A test that includes this includes unit/compile.h before it.
 */
#ifndef LEAKSWEEP_TESTS_UNIT_CFI_FIXTURE_H
#define LEAKSWEEP_TESTS_UNIT_CFI_FIXTURE_H

#include <dwarf.h>
#include <elf.h>
#include <errno.h>
#include <sys/mman.h>

#include "unwind/table.h"

#define CODE 0x401000UL /* vaddr of the code segment */
#define CODE_OFF 0x3000UL
#define CODE_SIZE 0x4000UL
#define FRAMES 0x801000UL /* vaddr of the last segment, which holds .eh_frame */

struct bytes {
	uint8_t data[1 << 16];
	size_t size;
};

static inline void put(struct bytes *to, const void *data, size_t size)
{
	assert_true(size <= sizeof(to->data) - to->size);
	memcpy(to->data + to->size, data, size);
	to->size += size;
}

static inline void put_u8(struct bytes *to, uint8_t value)
{
	put(to, &value, 1);
}

static inline void put_u32(struct bytes *to, uint32_t value)
{
	put(to, &value, sizeof(value));
}

static inline void put_u64(struct bytes *to, uint64_t value)
{
	put(to, &value, sizeof(value));
}

static inline void put_uleb(struct bytes *to, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		put_u8(to, (uint8_t)(value | 0x80));
	put_u8(to, (uint8_t)value);
}

static inline void put_sleb(struct bytes *to, int64_t value)
{
	for (; value < -64 || value > 63; value >>= 7)
		put_u8(to, (uint8_t)(value | 0x80));
	put_u8(to, (uint8_t)(value & 0x7f));
}

/* ---- programs of call frame instructions ----------------------------------------------------- */

static inline void cfa(struct bytes *to, unsigned int reg, uint64_t offset)
{
	put_u8(to, DW_CFA_def_cfa);
	put_uleb(to, reg);
	put_uleb(to, offset);
}

/* In units of -8 bytes, as data_alignment_factor is in common(). */
static inline void saved(struct bytes *to, unsigned int reg, uint64_t words_below)
{
	put_u8(to, DW_CFA_offset_extended);
	put_uleb(to, reg);
	put_uleb(to, words_below);
}

static inline void advance(struct bytes *to, uint32_t code_bytes)
{
	put_u8(to, DW_CFA_advance_loc4);
	put_u32(to, code_bytes);
}

/* DW_CFA_def_cfa_expression, or for a register DW_CFA_expression and DW_CFA_val_expression. */
static inline void expression(struct bytes *to, uint8_t instruction, unsigned int reg,
			      const struct bytes *ops)
{
	put_u8(to, instruction);
	if (instruction != DW_CFA_def_cfa_expression)
		put_uleb(to, reg);
	put_uleb(to, ops->size);
	put(to, ops->data, ops->size);
}

/* ---- entries --------------------------------------------------------------------------------- */

static inline void begin_entry(struct bytes *section, size_t *ret_at)
{
	*ret_at = section->size;
	put_u32(section, 0);
}

static inline void end_entry(struct bytes *section, size_t at)
{
	uint32_t length;

	while (section->size % 8)
		put_u8(section, DW_CFA_nop);
	length = (uint32_t)(section->size - at - 4);
	memcpy(section->data + at, &length, sizeof(length));
}

/* A common entry with CFA = rsp + 8, return address at CFA - 8. Returns its place. */
static inline size_t common(struct bytes *section, bool eh, const char *augmentation,
			    const void *data, uint8_t size)
{
	size_t at;

	begin_entry(section, &at);
	put_u32(section, eh ? 0 : UINT32_MAX);
	put_u8(section, 1);
	put(section, augmentation, strlen(augmentation) + 1);
	put_uleb(section, 1);
	put_sleb(section, -8);
	put_u8(section, 16);
	if (*augmentation == 'z') {
		put_uleb(section, size);
		put(section, data, size);
	}
	cfa(section, 7, 8);
	saved(section, 16, 1);
	end_entry(section, at);
	return at;
}

/* The usual one: addresses are pcrel|sdata4. */
static inline size_t eh_common(struct bytes *section)
{
	return common(section, true, "zR", "\x1b", 1);
}

/* A function at a vaddr, with pcrel|sdata4 addresses. Returns the entry's place. */
static inline size_t eh_function(struct bytes *section, size_t cie, uint64_t start, uint32_t size,
				 const struct bytes *program)
{
	size_t at;

	begin_entry(section, &at);
	put_u32(section, (uint32_t)(section->size - cie));
	put_u32(section, (uint32_t)(start - (FRAMES + section->size)));
	put_u32(section, size);
	put_uleb(section, 0);
	if (program)
		put(section, program->data, program->size);
	end_entry(section, at);
	return at;
}

static inline size_t debug_function(struct bytes *section, size_t cie, uint64_t start,
				    uint64_t size, const struct bytes *program)
{
	size_t at;

	begin_entry(section, &at);
	put_u32(section, (uint32_t)cie);
	put_u64(section, start);
	put_u64(section, size);
	if (program)
		put(section, program->data, program->size);
	end_entry(section, at);
	return at;
}

/* ---- files ----------------------------------------------------------------------------------- */

struct cfi_file {
	uint8_t code[CODE_SIZE];
	struct bytes eh, debug, debugdata;
	const char *debug_name; /* NULL = .debug_frame */
	uint64_t debug_flags;	/* sh_flags */
	bool without_sections, without_segments;
};

struct elf_bytes {
	uint8_t *data; /* owned */
	size_t size;
};

static inline struct cfi_file *new_file(void)
{
	struct cfi_file *file = calloc(1, sizeof(*file));

	assert_non_null(file);
	memset(file->code, 0x90, sizeof(file->code));
	return file;
}

/* .eh_frame_hdr without a search table. */
static inline void put_eh_frame_hdr(uint8_t *to, uint64_t vaddr)
{
	const uint8_t head[] = {1, 0x1b, 0xff, 0xff};
	int32_t distance = (int32_t)(FRAMES - (vaddr + 4));

	memcpy(to, head, sizeof(head));
	memcpy(to + sizeof(head), &distance, sizeof(distance));
}

static inline void fill_phdrs(const struct cfi_file *file, Elf64_Phdr *phdrs, uint64_t frames_off)
{
	uint64_t hdr_off = frames_off + sizeof(file->eh.data);

	phdrs[0] = (Elf64_Phdr){.p_type = PT_LOAD,
				.p_flags = PF_R,
				.p_vaddr = 0x400000,
				.p_filesz = 0x1000,
				.p_memsz = 0x1000};
	phdrs[1] = (Elf64_Phdr){.p_type = PT_LOAD,
				.p_flags = PF_R | PF_X,
				.p_vaddr = CODE,
				.p_offset = CODE_OFF,
				.p_filesz = CODE_SIZE,
				.p_memsz = CODE_SIZE};
	phdrs[2] = (Elf64_Phdr){.p_type = PT_LOAD,
				.p_flags = PF_R,
				.p_vaddr = FRAMES,
				.p_offset = frames_off,
				.p_filesz = sizeof(file->eh.data) + 64,
				.p_memsz = sizeof(file->eh.data) + 64};
	phdrs[3] = (Elf64_Phdr){.p_type = PT_GNU_EH_FRAME,
				.p_flags = PF_R,
				.p_vaddr = FRAMES + sizeof(file->eh.data),
				.p_offset = hdr_off,
				.p_filesz = 12,
				.p_memsz = 12};
}

static inline struct elf_bytes make_elf(const struct cfi_file *file)
{
	static const char names[] =
		"\0.eh_frame\0.debug_frame\0.gnu_debugdata\0.zdebug_frame\0.names";
	const uint64_t frames_off = CODE_OFF + CODE_SIZE,
		       hdr_off = frames_off + sizeof(file->eh.data);
	const uint64_t debug_off = hdr_off + 64, data_off = debug_off + sizeof(file->debug.data);
	const uint64_t names_off = data_off + sizeof(file->debugdata.data),
		       shdrs_off = names_off + 64;
	const bool old_name = file->debug_name && !strcmp(file->debug_name, ".zdebug_frame");
	Elf64_Shdr shdrs[] = {
		{0},
		{.sh_name = 1,
		 .sh_type = file->eh.size ? SHT_PROGBITS : SHT_NULL,
		 .sh_addr = FRAMES,
		 .sh_offset = frames_off,
		 .sh_size = file->eh.size,
		 .sh_flags = SHF_ALLOC},
		{.sh_name = old_name ? 39 : 11,
		 .sh_type = file->debug.size ? SHT_PROGBITS : SHT_NULL,
		 .sh_offset = debug_off,
		 .sh_size = file->debug.size,
		 .sh_flags = file->debug_flags},
		{.sh_name = 24,
		 .sh_type = file->debugdata.size ? SHT_PROGBITS : SHT_NULL,
		 .sh_offset = data_off,
		 .sh_size = file->debugdata.size},
		{.sh_name = 53,
		 .sh_type = SHT_STRTAB,
		 .sh_offset = names_off,
		 .sh_size = sizeof(names)},
	};
	Elf64_Ehdr ehdr = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = file->without_segments ? 0 : 4,
		.e_shoff = file->without_sections ? 0 : shdrs_off,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = file->without_sections ? 0 : 5,
		.e_shstrndx = file->without_sections ? 0 : 4,
	};
	struct elf_bytes elf = {.size = shdrs_off + sizeof(shdrs)};

	elf.data = calloc(1, elf.size);
	assert_non_null(elf.data);
	memcpy(elf.data, &ehdr, sizeof(ehdr));
	fill_phdrs(file, (Elf64_Phdr *)(void *)(elf.data + sizeof(ehdr)), frames_off);
	memcpy(elf.data + CODE_OFF, file->code, CODE_SIZE);
	memcpy(elf.data + frames_off, file->eh.data, file->eh.size);
	put_eh_frame_hdr(elf.data + hdr_off, FRAMES + sizeof(file->eh.data));
	memcpy(elf.data + debug_off, file->debug.data, file->debug.size);
	memcpy(elf.data + data_off, file->debugdata.data, file->debugdata.size);
	memcpy(elf.data + names_off, names, sizeof(names));
	memcpy(elf.data + shdrs_off, shdrs, sizeof(shdrs));
	return elf;
}

/* Compiles bytes as a file. */
static inline int compile_bytes(const uint8_t *data, size_t size, struct unwind_table *ret)
{
	int fd = memfd_create("elf", MFD_CLOEXEC), err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	err = unwind_table__compile(fd, ret);
	close(fd);
	return err;
}

/* Makes the file, compiles it and frees it. */
static inline struct unwind_table compile_file(struct cfi_file *file)
{
	struct elf_bytes elf = make_elf(file);
	struct unwind_table table;

	assert_int_equal(compile_bytes(elf.data, elf.size, &table), 0);
	assert_true(unwind_table__is_valid(&table));
	free(elf.data);
	free(file);
	return table;
}

static inline struct unwind_row find_vaddr(const struct unwind_table *table, uint64_t vaddr)
{
	return unwind_table__find(table, vaddr - CODE + CODE_OFF);
}

#define assert_row(table, vaddr, want_rule, want_cfa, want_fp)                                     \
	do {                                                                                       \
		struct unwind_row row_ = find_vaddr(table, vaddr);                                 \
                                                                                                   \
		assert_int_equal(row_.rule, want_rule);                                            \
		assert_int_equal(row_.cfa, want_cfa);                                              \
		assert_int_equal(row_.fp, want_fp);                                                \
	} while (0)

#define assert_no_row(table, vaddr) assert_row(table, vaddr, UNWIND_RULE_NONE, 0, UNWIND_FP_SAME)

#endif
