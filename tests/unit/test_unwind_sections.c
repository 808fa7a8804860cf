/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where call frame information is found, and how its addresses are written. */
#include "unit/compile.h"
#include "unit/cfi_fixture.h"

#include <fcntl.h>
#include <lzma.h>
#include <zlib.h>

#define SP 7

static void test_encodings(void **state)
{
	static const uint8_t encodings[] = {DW_EH_PE_absptr, DW_EH_PE_udata4, DW_EH_PE_sdata4,
					    DW_EH_PE_udata8, DW_EH_PE_sdata8};

	(void)state;
	for (size_t i = 0; i < sizeof(encodings); i++) {
		for (uint8_t base = 0; base <= DW_EH_PE_pcrel; base += DW_EH_PE_pcrel) {
			const uint8_t encoding = encodings[i] | base;
			const bool narrow = (encoding & 7) == 3;
			struct unwind_table table;
			struct cfi_file *file;
			uint64_t start;
			size_t cie, at;

			if (encoding == (DW_EH_PE_udata4 | DW_EH_PE_pcrel))
				continue; /* the code is below the section */
			file = new_file();
			cie = common(&file->eh, true, "zPLR",
				     (uint8_t[]){0x9b, 1, 2, 3, 4, 0x1b, encoding}, 7);
			begin_entry(&file->eh, &at);
			put_u32(&file->eh, (uint32_t)(file->eh.size - cie));
			start = CODE + 256 - (base ? FRAMES + file->eh.size : 0);
			put(&file->eh, &start, narrow ? 4 : 8);
			start = 256;
			put(&file->eh, &start, narrow ? 4 : 8);
			put_uleb(&file->eh, 0);
			end_entry(&file->eh, at);
			table = compile_file(file);
			assert_no_row(&table, CODE + 255);
			assert_row(&table, CODE + 256, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
			assert_row(&table, CODE + 511, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
			assert_no_row(&table, CODE + 512);
			unwind_table__free(&table);
		}
	}
}

/* .eh_frame says CFA = rsp + 8, .debug_frame CFA = rsp + 24. */
static void put_debug_frame(struct cfi_file *file, uint64_t start, uint64_t size)
{
	struct bytes program = {.size = 0};
	size_t cie = common(&file->debug, false, "", NULL, 0);

	cfa(&program, SP, 24);
	debug_function(&file->debug, cie, start, size, &program);
}

static void test_debug_frame(void **state)
{
	struct cfi_file *file = new_file();
	struct unwind_table table;

	(void)state;
	put_debug_frame(file, CODE + 256, 256);
	table = compile_file(file);
	assert_no_row(&table, CODE + 255);
	assert_row(&table, CODE + 256, UNWIND_RULE_SP, 24, UNWIND_FP_SAME);
	assert_no_row(&table, CODE + 512);
	unwind_table__free(&table);

	file = new_file();
	eh_function(&file->eh, eh_common(&file->eh), CODE + 300, 100, NULL);
	put_debug_frame(file, CODE + 256, 256);
	table = compile_file(file);
	assert_row(&table, CODE + 299, UNWIND_RULE_SP, 24, UNWIND_FP_SAME);
	assert_row(&table, CODE + 300, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	assert_row(&table, CODE + 399, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	assert_row(&table, CODE + 400, UNWIND_RULE_SP, 24, UNWIND_FP_SAME);
	assert_int_equal(table.counts.fdes, 2);
	unwind_table__free(&table);
}

static void pack_debug_frame(struct cfi_file *file, const void *head, size_t head_size)
{
	uLongf size = compressBound(file->debug.size);
	uint8_t *packed = malloc(size);

	assert_non_null(packed);
	assert_int_equal(compress(packed, &size, file->debug.data, file->debug.size), Z_OK);
	file->debug.size = 0;
	put(&file->debug, head, head_size);
	put(&file->debug, packed, size);
	free(packed);
}

static void test_compressed(void **state)
{
	struct cfi_file *file = new_file();
	uint8_t old_head[12] = "ZLIB";
	struct unwind_table table;
	Elf64_Chdr chdr;

	(void)state;
	put_debug_frame(file, CODE + 256, 256);
	chdr = (Elf64_Chdr){.ch_type = ELFCOMPRESS_ZLIB, .ch_size = file->debug.size};
	pack_debug_frame(file, &chdr, sizeof(chdr));
	file->debug_flags = SHF_COMPRESSED;
	table = compile_file(file);
	assert_row(&table, CODE + 256, UNWIND_RULE_SP, 24, UNWIND_FP_SAME);
	unwind_table__free(&table);

	file = new_file();
	put_debug_frame(file, CODE + 256, 256);
	old_head[11] = (uint8_t)file->debug.size;
	pack_debug_frame(file, old_head, sizeof(old_head));
	file->debug_name = ".zdebug_frame";
	table = compile_file(file);
	assert_row(&table, CODE + 256, UNWIND_RULE_SP, 24, UNWIND_FP_SAME);
	unwind_table__free(&table);

	/* Claims that cannot be. */
	file = new_file();
	put_debug_frame(file, CODE + 256, 256);
	chdr.ch_size = UINT64_MAX;
	pack_debug_frame(file, &chdr, sizeof(chdr));
	file->debug_flags = SHF_COMPRESSED;
	table = compile_file(file);
	assert_int_equal(table.row_cnt, 0);
	unwind_table__free(&table);
}

/* Puts another file's .debug_frame into .gnu_debugdata. */
static void put_debugdata(struct cfi_file *file)
{
	struct cfi_file *inner = new_file();
	struct elf_bytes elf;
	size_t size = 0;

	put_debug_frame(inner, CODE + 256, 256);
	inner->without_segments = true;
	elf = make_elf(inner);
	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, elf.data, elf.size,
						 file->debugdata.data, &size,
						 sizeof(file->debugdata.data)),
			 LZMA_OK);
	file->debugdata.size = size;
	free(elf.data);
	free(inner);
}

static void test_debugdata(void **state)
{
	struct cfi_file *file = new_file();
	struct unwind_table table;

	(void)state;
	put_debugdata(file);
	table = compile_file(file);
	assert_row(&table, CODE + 256, UNWIND_RULE_SP, 24, UNWIND_FP_SAME);
	assert_no_row(&table, CODE + 512);
	unwind_table__free(&table);

	/* Only where the file itself has nothing. */
	file = new_file();
	put_debugdata(file);
	eh_function(&file->eh, eh_common(&file->eh), CODE + 1024, 256, NULL);
	table = compile_file(file);
	assert_no_row(&table, CODE + 256);
	assert_row(&table, CODE + 1024, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	unwind_table__free(&table);

	/* Damaged: as if it were not there. */
	file = new_file();
	put_debugdata(file);
	file->debugdata.data[file->debugdata.size / 2] ^= 1;
	table = compile_file(file);
	assert_int_equal(table.row_cnt, 0);
	unwind_table__free(&table);
}

static void test_without_sections(void **state)
{
	struct cfi_file *file = new_file();
	struct unwind_table table;
	size_t cie;

	(void)state;
	cie = eh_common(&file->eh);
	eh_function(&file->eh, cie, CODE + 256, 256, NULL);
	/* Zeros follow: where the section ends nobody tells. */
	file->without_sections = true;
	table = compile_file(file);
	assert_row(&table, CODE + 256, UNWIND_RULE_SP, 8, UNWIND_FP_SAME);
	assert_no_row(&table, CODE + 512);
	assert_int_equal(table.counts.fdes, 1);
	assert_int_equal(table.counts.broken_fdes, 0);
	unwind_table__free(&table);
}

/* A file without anything to say is no error, and neither is one without code. */
static void test_nothing(void **state)
{
	struct unwind_table table;
	struct cfi_file *file;

	(void)state;
	table = compile_file(new_file());
	assert_int_equal(table.row_cnt, 0);
	assert_int_equal(table.page_cnt, 0);
	assert_no_row(&table, CODE);
	unwind_table__free(&table);
	file = new_file();
	file->without_segments = true;
	eh_function(&file->eh, eh_common(&file->eh), CODE + 256, 256, NULL);
	table = compile_file(file);
	assert_int_equal(table.row_cnt, 0);
	unwind_table__free(&table);
}

static void check_error(size_t at, uint8_t value, int want)
{
	struct unwind_table table = {.row_cnt = 77};
	struct cfi_file *file = new_file();
	struct elf_bytes elf;

	eh_function(&file->eh, eh_common(&file->eh), CODE + 256, 256, NULL);
	elf = make_elf(file);
	elf.data[at] = value;
	assert_int_equal(compile_bytes(elf.data, elf.size, &table), want);
	assert_int_equal(unwind_table__compile_image(elf.data, elf.size, &table), want);
	assert_int_equal(table.row_cnt, 77);
	free(elf.data);
	free(file);
}

static void test_errors(void **state)
{
	struct unwind_table table;
	int fd;

	(void)state;
	check_error(1, 'X', -ENOEXEC);
	check_error(EI_CLASS, ELFCLASS32, -ENOTSUP);
	check_error(EI_DATA, ELFDATA2MSB, -ENOTSUP);
	check_error(offsetof(Elf64_Ehdr, e_machine), EM_AARCH64, -ENOTSUP);
	check_error(offsetof(Elf64_Ehdr, e_type), ET_REL, -ENOEXEC);
	check_error(offsetof(Elf64_Ehdr, e_phentsize), 1, -EBADMSG);
	fd = open("/", O_RDONLY | O_CLOEXEC);
	assert_int_equal(unwind_table__compile(fd, &table), -ENOEXEC);
	close(fd);
	assert_int_equal(unwind_table__compile(-1, &table), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encodings),	 cmocka_unit_test(test_debug_frame),
		cmocka_unit_test(test_compressed),	 cmocka_unit_test(test_debugdata),
		cmocka_unit_test(test_without_sections), cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
