/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Call frame information that contradicts itself, the file, or sense: what can be kept is kept,
 * what cannot is counted, and the same bytes always make the same table.
 */
#include "unit/compile.h"
#include "unit/cfi_fixture.h"

#include <sys/stat.h>
#include <time.h>

#include "util/elf_image.h"
#include "util/regular_file.h"

#define SP 7

/* Rows that say CFA = rsp + cfa. */
#define assert_sp(table, vaddr, want) assert_row(table, vaddr, UNWIND_RULE_SP, want, UNWIND_FP_SAME)

/* A program that only says so. */
static const struct bytes *says(int value)
{
	static struct bytes program;

	program.size = 0;
	cfa(&program, SP, (uint64_t)value);
	return &program;
}

/* ---- where functions are --------------------------------------------------------------------- */

static void test_overlaps(void **state)
{
	struct cfi_file *file = new_file();
	size_t cie = eh_common(&file->eh);
	struct unwind_table table;

	(void)state;
	eh_function(&file->eh, cie, CODE + 0x200, 0x58, says(24));
	eh_function(&file->eh, cie, CODE + 0x100, 0x300, says(16));
	eh_function(&file->eh, cie, CODE + 0x210, 0x08, says(32));
	eh_function(&file->eh, cie, CODE + 0x600, 0x100, says(40));
	eh_function(&file->eh, cie, CODE + 0x600, 0x200, says(48)); /* another truth */
	eh_function(&file->eh, cie, CODE + 0x600, 0x100, says(56)); /* the same function again */
	table = compile_file(file);
	assert_no_row(&table, CODE + 0xff);
	assert_sp(&table, CODE + 0x100, 16);
	assert_sp(&table, CODE + 0x1ff, 16);
	assert_sp(&table, CODE + 0x200, 24);
	assert_sp(&table, CODE + 0x20f, 24);
	assert_sp(&table, CODE + 0x210, 32);
	assert_no_row(&table, CODE + 0x218);
	assert_no_row(&table, CODE + 0x3ff);
	assert_sp(&table, CODE + 0x600, 40);
	assert_sp(&table, CODE + 0x6ff, 40);
	assert_no_row(&table, CODE + 0x700);
	assert_int_equal(table.counts.fdes, 4);
	assert_int_equal(table.counts.broken_fdes, 1);
	unwind_table__free(&table);
}

static void test_no_such_code(void **state)
{
	struct cfi_file *file = new_file();
	size_t cie = eh_common(&file->eh);
	struct unwind_table table;

	(void)state;
	eh_function(&file->eh, cie, CODE + 0x100, 0, NULL); /* no code at all */
	eh_function(&file->eh, cie, CODE - 0x100, 0x100, NULL);
	eh_function(&file->eh, cie, CODE - 1, 0x100, NULL); /* begins elsewhere */
	eh_function(&file->eh, cie, CODE + CODE_SIZE, 0x100, NULL);
	eh_function(&file->eh, cie, FRAMES, 0x100, NULL); /* no code */
	eh_function(&file->eh, cie, 0, 0x10000000, NULL); /* dropped by the linker */
	eh_function(&file->eh, cie, CODE + CODE_SIZE - 16, 0x7fffffff, says(24));
	table = compile_file(file);
	assert_no_row(&table, CODE);
	assert_no_row(&table, CODE + 0x100);
	assert_no_row(&table, CODE + CODE_SIZE - 17);
	assert_sp(&table, CODE + CODE_SIZE - 16, 24);
	assert_sp(&table, CODE + CODE_SIZE - 1, 24);
	assert_no_row(&table, CODE + CODE_SIZE);
	assert_int_equal(table.counts.fdes, 1);
	assert_int_equal(table.counts.broken_fdes, 0);
	unwind_table__free(&table);
}

static void test_huge_claims(void **state)
{
	struct cfi_file *file = new_file();
	size_t cie = common(&file->debug, false, "", NULL, 0);
	struct unwind_table table;

	(void)state;
	debug_function(&file->debug, cie, CODE + 0x100, UINT64_MAX, NULL);
	debug_function(&file->debug, cie, UINT64_MAX, 1, NULL);
	debug_function(&file->debug, cie, CODE + 0x180, UINT64_MAX - CODE - 0x180, says(16));
	debug_function(&file->debug, cie, CODE + 0x200, 0x100, says(24));
	table = compile_file(file);
	assert_no_row(&table, CODE + 0x17f);
	assert_sp(&table, CODE + 0x180, 16);
	assert_sp(&table, CODE + 0x1ff, 16);
	assert_sp(&table, CODE + 0x200, 24);
	assert_no_row(&table, CODE + 0x300);
	assert_int_equal(table.counts.fdes, 2);
	assert_int_equal(table.counts.broken_fdes, 2);
	unwind_table__free(&table);
}

/* ---- entries --------------------------------------------------------------------------------- */

static struct unwind_table with_marks(size_t before, size_t between, size_t after, bool sections)
{
	struct cfi_file *file = new_file();
	size_t cie;

	for (size_t i = 0; i < before; i++)
		put_u32(&file->eh, 0);
	cie = eh_common(&file->eh);
	eh_function(&file->eh, cie, CODE + 0x100, 0x100, says(16));
	for (size_t i = 0; i < between; i++)
		put_u32(&file->eh, 0);
	cie = eh_common(&file->eh);
	eh_function(&file->eh, cie, CODE + 0x300, 0x100, says(24));
	for (size_t i = 0; i < after; i++)
		put_u32(&file->eh, 0);
	file->without_sections = !sections;
	return compile_file(file);
}

static void test_end_marks(void **state)
{
	struct unwind_table table;

	(void)state;
	for (size_t i = 0; i < 27; i++) {
		table = with_marks(i % 3, i / 3 % 3, i / 9, true);
		assert_sp(&table, CODE + 0x100, 16);
		assert_sp(&table, CODE + 0x1ff, 16);
		assert_no_row(&table, CODE + 0x200);
		assert_sp(&table, CODE + 0x300, 24);
		assert_no_row(&table, CODE + 0x400);
		assert_int_equal(table.counts.fdes, 2);
		assert_int_equal(table.counts.broken_fdes, 0);
		unwind_table__free(&table);
	}
	/* Without a size, a mark is the end. */
	table = with_marks(0, 1, 0, false);
	assert_sp(&table, CODE + 0x100, 16);
	assert_no_row(&table, CODE + 0x300);
	unwind_table__free(&table);
}

/* An entry that claims more bytes than there are ends the section. */
static void check_last_length(uint32_t length, bool kept)
{
	struct cfi_file *file = new_file();
	size_t cie = eh_common(&file->eh), at;
	struct unwind_table table;

	eh_function(&file->eh, cie, CODE + 0x100, 0x100, says(16));
	at = eh_function(&file->eh, cie, CODE + 0x300, 0x100, says(24));
	memcpy(file->eh.data + at, &length, sizeof(length));
	table = compile_file(file);
	assert_sp(&table, CODE + 0x100, 16);
	if (kept)
		assert_sp(&table, CODE + 0x300, 24);
	else
		assert_no_row(&table, CODE + 0x300);
	unwind_table__free(&table);
}

static void test_lengths(void **state)
{
	(void)state;
	check_last_length(20, true);
	check_last_length(21, false);
	check_last_length(17, true);
	check_last_length(11, false);
	check_last_length(5, false);
	check_last_length(4, false);
	check_last_length(3, false);
	check_last_length(1, false);
	check_last_length(0x7fffffff, false);
	check_last_length(0xfffffff0, false);
	check_last_length(0xffffffff, false);
}

/* The 64-bit format has its length behind a mark. */
static void test_long_format(void **state)
{
	struct cfi_file *file = new_file();
	size_t cie = common(&file->debug, false, "", NULL, 0), at;
	struct unwind_table table;

	(void)state;
	at = file->debug.size;
	put_u32(&file->debug, UINT32_MAX);
	put_u64(&file->debug, 8 + 8 + 8 + 4);
	put_u64(&file->debug, cie);
	put_u64(&file->debug, CODE + 0x100);
	put_u64(&file->debug, 0x100);
	put_u32(&file->debug, DW_CFA_def_cfa_offset | 40 << 8);
	debug_function(&file->debug, cie, CODE + 0x200, 0x100, says(24));
	assert_int_equal(file->debug.size % 8, 0);
	assert_true(at > 0);
	table = compile_file(file);
	assert_sp(&table, CODE + 0x100, 40);
	assert_sp(&table, CODE + 0x200, 24);
	unwind_table__free(&table);
}

/* Whatever the common entry of the first function is, the second keeps its own. */
static void check_cie(const char *augmentation, const char *data, uint8_t size, uint8_t version)
{
	struct cfi_file *file = new_file();
	struct unwind_table table;
	size_t cie;

	cie = common(&file->eh, true, augmentation, data, size);
	file->eh.data[cie + 8] = version;
	eh_function(&file->eh, cie, CODE + 0x100, 0x100, says(16));
	cie = eh_common(&file->eh);
	eh_function(&file->eh, cie, CODE + 0x300, 0x100, says(24));
	table = compile_file(file);
	assert_no_row(&table, CODE + 0x100);
	assert_sp(&table, CODE + 0x300, 24);
	assert_int_equal(table.counts.broken_fdes, 1);
	unwind_table__free(&table);
}

static void test_common_entries(void **state)
{
	(void)state;
	check_cie("zR", "\x1b", 1, 0);
	check_cie("zR", "\x1b", 1, 2);
	check_cie("zR", "\x1b", 1, 9);
	check_cie("zR", "", 0, 1);
	check_cie("zRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR", "\x1b\x1b", 2, 1);
	check_cie("zPR", "\x1b", 1, 1);
	check_cie("zPR", "\x9b\1\2\3\4", 5, 1);
	check_cie("zPR", "\x50\1\2\3\4\5\6\7\1\x1b", 10, 1); /* aligned */
	check_cie("zX", "\x1b", 1, 1);
	check_cie("eh", NULL, 0, 1);
	check_cie("R", NULL, 0, 1);
	check_cie("zR", "\x3b", 1, 1); /* from where the data are */
	check_cie("zR", "\x9b", 1, 1); /* by way of memory */
	check_cie("zR", "\xff", 1, 1); /* left out */
	check_cie("zR", "\x01", 1, 1); /* of any size */
}

/* A function's reference to its common entry. */
static void check_reference(uint32_t distance)
{
	struct cfi_file *file = new_file();
	size_t cie = eh_common(&file->eh), at;
	struct unwind_table table;

	at = eh_function(&file->eh, cie, CODE + 0x100, 0x100, says(16));
	memcpy(file->eh.data + at + 4, &distance, sizeof(distance));
	eh_function(&file->eh, cie, CODE + 0x300, 0x100, says(24));
	table = compile_file(file);
	assert_no_row(&table, CODE + 0x100);
	assert_sp(&table, CODE + 0x300, 24);
	assert_int_equal(table.counts.fdes, 1);
	unwind_table__free(&table);
}

static void test_references(void **state)
{
	(void)state;
	check_reference(4); /* itself */
	check_reference(1);
	check_reference(8);
	check_reference(24);
	check_reference(10000);
	check_reference(0x80000000);
	check_reference(0xffffffff);
	check_reference(-(uint32_t)24); /* what follows */
}

/* ---- programs -------------------------------------------------------------------------------- */

/* Rows before the fault hold, nothing behind it does, and the next function is whole. */
static void check_program(const void *fault, size_t size, bool is_fault)
{
	struct bytes program = {.size = 0};
	struct cfi_file *file = new_file();
	size_t cie = eh_common(&file->eh);
	struct unwind_table table;

	cfa(&program, SP, 16);
	advance(&program, 0x80);
	put(&program, fault, size);
	eh_function(&file->eh, cie, CODE + 0x100, 0x100, &program);
	eh_function(&file->eh, cie, CODE + 0x300, 0x100, says(24));
	table = compile_file(file);
	assert_no_row(&table, CODE + 0xff);
	assert_sp(&table, CODE + 0x100, 16);
	assert_sp(&table, CODE + 0x17f, 16);
	if (is_fault) {
		assert_no_row(&table, CODE + 0x180);
		assert_no_row(&table, CODE + 0x1ff);
	}
	assert_no_row(&table, CODE + 0x200);
	assert_sp(&table, CODE + 0x300, 24);
	assert_int_equal(table.counts.fdes, 2);
	assert_int_equal(table.counts.broken_fdes, is_fault);
	unwind_table__free(&table);
}

static void test_programs(void **state)
{
	(void)state;
	check_program("\x3f", 1, true); /* no instruction */
	check_program("\x17", 1, true);
	check_program("\x0b", 1, true); /* restore_state without a state */
	/* A register that cannot be. */
	check_program("\x05\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x08", 11, true);
	/* libdw takes it for a register, and no row can say it. */
	check_program("\x0c\xff\xff\xff\xff\xff\xff\xff\xff\x01\x08", 11, false);
	/* An expression that goes on behind the program. */
	check_program("\x0f\xff\xff\x03", 4, true);
	/* Advances out of the function, and around the address space. */
	check_program("\x04\xff\xff\xff\xff", 5, false);
	check_program("\x04\xff\xff\xff\xff\x04\xff\xff\xff\xff\x0e\x40", 12, false);
}

/* Where libdw stops or not is its own; it must stop, and leave others alone. */
static void check_any_program(const struct bytes *program)
{
	struct cfi_file *file = new_file();
	size_t cie = eh_common(&file->eh);
	struct unwind_table table;

	eh_function(&file->eh, cie, CODE + 0x100, 0x200, program);
	eh_function(&file->eh, cie, CODE + 0x300, 0x100, says(24));
	table = compile_file(file);
	assert_no_row(&table, CODE + 0xff);
	assert_sp(&table, CODE + 0x300, 24);
	assert_no_row(&table, CODE + 0x400);
	unwind_table__free(&table);
}

static void test_random_programs(void **state)
{
	unsigned int seed = 7;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct bytes program = {.size = 0};
		int size = rand_r(&seed) % 60;

		for (int i = 0; i < size; i++) {
			/* Instructions are small numbers, and so are most operands. */
			int byte = rand_r(&seed);

			put_u8(&program, (uint8_t)(byte % 3 ? byte >> 8 & 0x1f : byte >> 8));
		}
		check_any_program(&program);
	}
}

/* Ten thousand saved states, and as many rows in one function. */
static void test_long_programs(void **state)
{
	struct bytes program = {.size = 0};
	struct cfi_file *file = new_file();
	size_t cie = eh_common(&file->eh);
	struct unwind_table table;
	clock_t before = clock();

	(void)state;
	for (int i = 0; i < 10000; i++)
		put_u8(&program, DW_CFA_remember_state);
	check_any_program(&program);
	program.size = 0;
	for (int i = 0; i < 10000; i++) {
		put_u8(&program, DW_CFA_advance_loc | 1);
		put_u8(&program, DW_CFA_def_cfa_offset);
		put_u8(&program, i % 2 ? 8 : 16);
	}
	eh_function(&file->eh, cie, CODE + 0x100, 10000, &program);
	table = compile_file(file);
	assert_sp(&table, CODE + 0x101, 16);
	assert_sp(&table, CODE + 0x100 + 9999, 16);
	assert_int_equal(table.row_cnt, 1 + 10000 + 1);
	unwind_table__free(&table);
	print_message("%ld ms\n", (clock() - before) * 1000 / CLOCKS_PER_SEC);
}

/* ---- real files, damaged --------------------------------------------------------------------- */

static bool same_table(const struct unwind_table *a, const struct unwind_table *b)
{
	return a->row_cnt == b->row_cnt && a->page_cnt == b->page_cnt &&
	       !memcmp(&a->counts, &b->counts, sizeof(a->counts)) &&
	       (!a->row_cnt || !memcmp(a->rows, b->rows, a->row_cnt * sizeof(*a->rows))) &&
	       (!a->page_cnt || !memcmp(a->pages, b->pages, a->page_cnt * sizeof(*a->pages)));
}

/* Compiles twice. Returns whether there was a table. */
static bool check_damaged(const uint8_t *data, size_t size)
{
	struct unwind_table first, second;
	int err = unwind_table__compile_image(data, size, &first);

	assert_int_equal(unwind_table__compile_image(data, size, &second), err);
	if (err) {
		assert_true(err == -EBADMSG || err == -ENOEXEC || err == -ENOTSUP || err == -EFBIG);
		return false;
	}
	assert_true(unwind_table__is_valid(&first));
	assert_true(same_table(&first, &second));
	unwind_table__free(&first);
	unwind_table__free(&second);
	return true;
}

static uint8_t *read_library(size_t *ret_size)
{
	static const char *const paths[] = {"/lib/x86_64-linux-gnu/libgcc_s.so.1",
					    "/lib64/libgcc_s.so.1", "/usr/lib/libgcc_s.so.1"};
	uint8_t *data;
	struct stat st;
	int fd = -1;

	for (size_t i = 0; i < 3 && fd < 0; i++)
		fd = regular_file__open(paths[i]);
	if (fd < 0)
		return NULL;
	assert_int_equal(fstat(fd, &st), 0);
	data = malloc((size_t)st.st_size);
	assert_non_null(data);
	assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_size = (size_t)st.st_size;
	return data;
}

static bool find_frames(const uint8_t *data, size_t size, size_t *ret_at, size_t *ret_size)
{
	const Elf64_Shdr *shdr;
	struct elf_image image;
	bool found = false;

	if (elf_image__open_memory(&image, data, size))
		return false;
	if (!elf_image__section_named(&image, ".eh_frame", &shdr)) {
		*ret_at = shdr->sh_offset;
		*ret_size = shdr->sh_size;
		found = true;
	}
	elf_image__close(&image);
	return found;
}

static void test_damaged_frames(void **state)
{
	size_t size = 0, at = 0, frames = 0, tables = 0;
	uint8_t *data = read_library(&size), *copy;
	unsigned int seed = 20261;

	(void)state;
	if (!data || !find_frames(data, size, &at, &frames)) {
		print_message("no libgcc_s.so.1 with .eh_frame\n");
		free(data);
		skip();
	}
	copy = malloc(size);
	assert_non_null(copy);
	for (int round = 0; round < 300; round++) {
		memcpy(copy, data, size);
		for (int i = 0; i < 1 + round % 64; i++) {
			size_t place = at + (size_t)rand_r(&seed) % frames;

			copy[place] = (uint8_t)(rand_r(&seed) >> 8);
			if (i % 4 == 1) /* a whole word, often of ones */
				memset(copy + (place & ~3UL), i % 8 == 1 ? 0xff : 0, 4);
		}
		tables += check_damaged(copy, size);
	}
	print_message("%zu tables of 300\n", tables);
	assert_int_equal(tables, 300);
	free(copy);
	free(data);
}

static void test_damaged_headers(void **state)
{
	size_t size = 0, tables = 0, place;
	uint8_t *data = read_library(&size), *copy;
	unsigned int seed = 20262;

	(void)state;
	if (!data) {
		print_message("no libgcc_s.so.1\n");
		skip();
	}
	for (int round = 0; round < 300; round++) {
		/* Exactly as big as it is, so that reading behind the end is seen. */
		size_t left = round % 3 ? size : (size_t)rand_r(&seed) % size;

		copy = malloc(left + 1);
		assert_non_null(copy);
		memcpy(copy, data, left);
		for (int i = 0; i < 3 && left >= 1024 && round % 3; i++) {
			/* ELF header, program headers; section headers are last. */
			place = (size_t)rand_r(&seed) % 800;
			if (round % 2)
				place = left - 1 - (size_t)rand_r(&seed) % 1024;
			copy[place] = (uint8_t)(rand_r(&seed) >> 8);
		}
		tables += check_damaged(copy, left);
		free(copy);
	}
	print_message("%zu tables of 300\n", tables);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overlaps),	cmocka_unit_test(test_no_such_code),
		cmocka_unit_test(test_huge_claims),	cmocka_unit_test(test_end_marks),
		cmocka_unit_test(test_lengths),		cmocka_unit_test(test_long_format),
		cmocka_unit_test(test_common_entries),	cmocka_unit_test(test_references),
		cmocka_unit_test(test_programs),	cmocka_unit_test(test_random_programs),
		cmocka_unit_test(test_long_programs),	cmocka_unit_test(test_damaged_frames),
		cmocka_unit_test(test_damaged_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
