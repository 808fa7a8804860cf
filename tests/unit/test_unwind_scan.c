/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows that come from instructions, beside the call frame information of the same code, which the
 * scanner does not get to see: rows may be missing, none may be different. Then code that has none:
 * assembly, musl. Then broken code.
 */
#include "unit/compile.h"

#include <dlfcn.h>
#include <elf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "unwind/cfi_row.h"
#include "unwind/code_scan.h"
#include "unwind/code_text.h"
#include "unwind/table.h"
#include "util/elf_image.h"

#define MUSL "/lib/ld-musl-x86_64.so.1"
#define FUZZ_ROUNDS 400
#define FUZZ_SEED 0x5eed

struct scanned {
	int fd;
	struct elf_image image;
	struct unwind_table table;
};

static void scan_image(const struct elf_image *image, const struct code_ranges *covered,
		       uint64_t max_bytes, struct unwind_table *ret)
{
	struct table_builder *builder = table_builder__new(&image->segments);

	assert_non_null(builder);
	assert_int_equal(code_scan__run(image, covered, max_bytes, builder), 0);
	assert_int_equal(table_builder__finish(builder, ret), 0);
	assert_true(unwind_table__is_valid(ret));
	table_builder__free(builder);
}

static void scan_file(const char *path, struct scanned *ret)
{
	const struct code_ranges nothing = {0};

	ret->fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(ret->fd >= 0);
	assert_int_equal(elf_image__open(&ret->image, ret->fd, EM_X86_64), 0);
	scan_image(&ret->image, &nothing, MAX_SCANNED_CODE, &ret->table);
}

static void close_scanned(struct scanned *scanned)
{
	unwind_table__free(&scanned->table);
	elf_image__close(&scanned->image);
	close(scanned->fd);
}

static struct unwind_row row_at(const struct scanned *scanned, uint64_t vaddr)
{
	uint64_t off, avail;

	assert_true(elf_segments__offset(&scanned->image.segments, vaddr, true, &off, &avail));
	return unwind_table__find(&scanned->table, off);
}

/* ---- beside call frame information --------------------------------------------------------------
 */

struct comparison {
	unsigned long insns, covered, different;
	unsigned long calls, covered_calls, different_calls;
};

/* What libdw says of an address; found once for each range. */
struct truth {
	Dwarf_CFI *cfi;
	struct unwind_row row;
	uint64_t start, end;
};

static bool find_truth(struct truth *truth, uint64_t vaddr)
{
	Dwarf_Frame *frame;

	if (vaddr >= truth->start && vaddr < truth->end)
		return truth->row.rule != UNWIND_RULE_NONE;
	truth->start = vaddr;
	truth->end = vaddr + 1;
	truth->row = (struct unwind_row){0};
	if (dwarf_cfi_addrframe(truth->cfi, vaddr, &frame))
		return false;
	truth->row = cfi_row__make(frame, &truth->start, &truth->end);
	free(frame);
	return true;
}

/*
 * The same from two views: compilers go on saying that the frame pointer is in its slot when it was
 * popped already, and say later that it was pushed; expressions give no place that a row can say.
 */
static bool same_fp(struct unwind_row truth, struct unwind_row row)
{
	if (truth.fp == row.fp || truth.fp == UNWIND_FP_LOST || truth.fp == UNWIND_FP_SAME)
		return true;
	return row.fp == UNWIND_FP_SAME && truth.rule == UNWIND_RULE_SP &&
	       8 * truth.fp < -truth.cfa;
}

static bool agrees(struct unwind_row truth, struct unwind_row row)
{
	bool is_base = row.rule == UNWIND_RULE_SP || row.rule == UNWIND_RULE_FP ||
		       row.rule == UNWIND_RULE_FP_DEREF;

	/* What the truth counts from another register cannot be compared. */
	if (truth.rule == UNWIND_RULE_PLT || truth.rule == UNWIND_RULE_REG ||
	    truth.rule == UNWIND_RULE_ODD)
		return is_base;
	if (truth.rule != row.rule)
		return false;
	if (row.rule == UNWIND_RULE_END || row.rule == UNWIND_RULE_SIGNAL)
		return true;
	return truth.cfa == row.cfa && same_fp(truth, row);
}

static void compare_insn(const struct scanned *scanned, struct truth *truth,
			 const struct code_insn *insn, uint64_t vaddr, struct comparison *result)
{
	bool is_call = insn->op == CODE_CALL || insn->op == CODE_CALL_INDIRECT;
	struct unwind_row row;

	if (insn->op == CODE_NOP || !find_truth(truth, vaddr))
		return;
	row = row_at(scanned, vaddr);
	result->insns++;
	result->calls += is_call;
	if (row.rule == UNWIND_RULE_NONE)
		return;
	result->covered++;
	result->covered_calls += is_call;
	if (agrees(truth->row, row))
		return;
	result->different++;
	result->different_calls += is_call;
	if (result->different <= 5)
		print_message("  %#lx: rule %u cfa %d fp %d, scanned: rule %u cfa %d fp %d\n",
			      vaddr, truth->row.rule, truth->row.cfa, truth->row.fp, row.rule,
			      row.cfa, row.fp);
}

/* Compares at each instruction that a sweep finds and that has call frame information. */
static void compare(const char *path, const char *name, struct comparison *ret)
{
	const struct code_ranges nothing = {0};
	struct truth truth = {0};
	struct scanned scanned;
	struct code_text text;
	Elf *elf;

	memset(ret, 0, sizeof(*ret));
	scan_file(path, &scanned);
	assert_int_equal(code_text__load(&scanned.image, &nothing, MAX_SCANNED_CODE, &text), 0);
	assert_int_equal(code_text__sweep(&text, NULL, 0), 0);
	elf_version(EV_CURRENT);
	elf = elf_begin(scanned.fd, ELF_C_READ, NULL);
	assert_non_null(elf);
	truth.cfi = dwarf_getcfi_elf(elf);
	assert_non_null(truth.cfi);
	for (uint32_t i = 0; i < text.sweep_cnt; i++)
		compare_insn(&scanned, &truth, &text.insns.items[i],
			     text.base + text.insns.items[i].at, ret);
	print_message("%s: %lu of %lu instructions, %lu of %lu calls; different: %lu, calls: %lu\n",
		      name, ret->covered, ret->insns, ret->covered_calls, ret->calls,
		      ret->different, ret->different_calls);
	dwarf_cfi_end(truth.cfi);
	elf_end(elf);
	code_text__free(&text);
	close_scanned(&scanned);
}

static void test_compiled(void **state)
{
	static const struct {
		const char *cc, *flags;
	} builds[] = {
		{"gcc", "-O0"},
		{"gcc", "-O1"},
		{"gcc", "-O2"},
		{"gcc", "-O2 -fno-omit-frame-pointer"},
		{"gcc", "-O3 -march=haswell"},
		{"gcc", "-Os"},
		{"gcc", "-O2 -fstack-clash-protection"},
		{"gcc", "-O2 -fcf-protection -fstack-protector-strong"},
		{"gcc", "-O2 -fno-pie -no-pie"},
		{"gcc", "-O2 -fno-plt -fno-align-functions"},
		{"clang", "-O0"},
		{"clang", "-O2"},
		{"clang", "-O3 -march=haswell"},
		{"clang", "-Os -fno-pie -no-pie"},
	};
	struct comparison result;
	char *flags, *path;

	(void)state;
	for (size_t i = 0; i < sizeof(builds) / sizeof(builds[0]); i++) {
		assert_true(asprintf(&flags, "-s -w -fasynchronous-unwind-tables %s",
				     builds[i].flags) > 0);
		path = compile(builds[i].cc, flags, "unwind_scan.c");
		compare(path, flags, &result);
		assert_int_equal(result.different, 0);
		assert_true(result.calls > 40);
		assert_true(result.covered_calls * 100 >= result.calls * 97);
		assert_true(result.covered * 100 >= result.insns * 94);
		free(path);
		free(flags);
	}
}

/* Libraries have assembly whose call frame information is not right, or none of ours. */
static void compare_library(const char *symbol)
{
	void *address = dlsym(RTLD_DEFAULT, symbol);
	struct comparison result;
	Dl_info info;

	if (!address || !dladdr(address, &info) || !info.dli_fname)
		return;
	compare(info.dli_fname, info.dli_fname, &result);
	assert_int_equal(result.different_calls, 0);
	assert_true(result.different * 1000 <= result.insns);
	assert_true(result.covered_calls * 100 >= result.calls * 90);
}

static void test_libraries(void **state)
{
	(void)state;
	compare_library("gnu_get_libc_version");
	compare_library("cs_open");
	compare_library("dwarf_getcfi_elf");
}

/* ---- assembly
 * ------------------------------------------------------------------------------------- */

static uint64_t symbol_address(const char *path, const char *name)
{
	const Elf64_Shdr *shdr, *names_shdr;
	struct elf_image image;
	char *table, *names;
	uint64_t found = 0;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(elf_image__open(&image, fd, EM_NONE), 0);
	shdr = elf_image__section_of_type(&image, SHT_SYMTAB);
	assert_non_null(shdr);
	names_shdr = &image.shdrs[shdr->sh_link];
	assert_int_equal(elf_image__load(&image, shdr->sh_offset, shdr->sh_size, 1 << 20, &table),
			 0);
	assert_int_equal(elf_image__load(&image, names_shdr->sh_offset, names_shdr->sh_size,
					 1 << 20, &names),
			 0);
	for (size_t i = 0; i < shdr->sh_size / sizeof(Elf64_Sym); i++) {
		Elf64_Sym symbol;

		memcpy(&symbol, table + i * sizeof(symbol), sizeof(symbol));
		if (!strcmp(names + symbol.st_name, name))
			found = symbol.st_value;
	}
	free(names);
	free(table);
	elf_image__close(&image);
	close(fd);
	assert_true(found);
	return found;
}

static void check_assembly(const char *path, const char *symbols_path)
{
	static const struct {
		const char *name;
		struct unwind_row row;
	} expected[] = {
		{"_start", {.rule = UNWIND_RULE_END, .fp = UNWIND_FP_SAME}},
		{"start_call", {.rule = UNWIND_RULE_END, .fp = UNWIND_FP_SAME}},
		{"start_c_call", {.rule = UNWIND_RULE_SP, .fp = UNWIND_FP_SAME, .cfa = 16}},
		{"quit_call", {.rule = UNWIND_RULE_SP, .fp = UNWIND_FP_SAME, .cfa = 16}},
		{"hidden", {.rule = UNWIND_RULE_SP, .fp = UNWIND_FP_SAME, .cfa = 8}},
		{"hidden_call", {.rule = UNWIND_RULE_SP, .fp = UNWIND_FP_SAME, .cfa = 16}},
		{"good", {.rule = UNWIND_RULE_SP, .fp = UNWIND_FP_SAME, .cfa = 8}},
		{"good_call", {.rule = UNWIND_RULE_FP, .fp = -2, .cfa = 16}},
		{"new_thread", {.rule = UNWIND_RULE_SP, .fp = UNWIND_FP_SAME, .cfa = 8}},
		{"thread_call", {.rule = UNWIND_RULE_END, .fp = UNWIND_FP_SAME}},
		{"by_pointer_call", {.rule = UNWIND_RULE_SP, .fp = UNWIND_FP_SAME, .cfa = 16}},
		{"unbalanced_call", {.rule = UNWIND_RULE_NONE}},
		{"undecided_call", {.rule = UNWIND_RULE_NONE}},
		{"dynamic_call", {.rule = UNWIND_RULE_FP, .fp = -2, .cfa = 16}},
		{"restorer", {.rule = UNWIND_RULE_SIGNAL, .fp = UNWIND_FP_SAME}},
	};
	struct scanned scanned;
	struct unwind_row row;
	uint64_t vaddr;

	scan_file(path, &scanned);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		vaddr = symbol_address(symbols_path, expected[i].name);
		row = row_at(&scanned, vaddr);
		if (row.rule != expected[i].row.rule || row.cfa != expected[i].row.cfa ||
		    (row.rule != UNWIND_RULE_NONE && row.fp != expected[i].row.fp))
			fail_msg("%s: rule %u cfa %d fp %d", expected[i].name, row.rule, row.cfa,
				 row.fp);
	}
	/* Its address stands for a return address, which is looked up one byte before. */
	vaddr = symbol_address(symbols_path, "restorer");
	assert_int_equal(row_at(&scanned, vaddr - 1).rule, UNWIND_RULE_SIGNAL);
	assert_int_equal(row_at(&scanned, vaddr + 8).rule, UNWIND_RULE_SIGNAL);
	assert_int_equal(row_at(&scanned, vaddr - 2).rule, UNWIND_RULE_SP);
	close_scanned(&scanned);
}

static void test_assembly(void **state)
{
	char *path, *stripped;

	(void)state;
	path = compile("gcc", "-nostdlib -static", "unwind_scan.S");
	check_assembly(path, path);
	stripped = compile("gcc", "-nostdlib -static -s", "unwind_scan.S");
	check_assembly(stripped, path);
	free(stripped);
	free(path);
}

/* ---- musl
 * ----------------------------------------------------------------------------------------- */

/* Its library has no call frame information to compare with: what can be known is how much there
 * is. */
static void test_musl(void **state)
{
	const struct code_ranges nothing = {0};
	unsigned long calls = 0, covered = 0, ends = 0;
	struct scanned scanned;
	struct code_text text;

	(void)state;
	if (access(MUSL, R_OK))
		skip();
	scan_file(MUSL, &scanned);
	assert_int_equal(code_text__load(&scanned.image, &nothing, MAX_SCANNED_CODE, &text), 0);
	assert_int_equal(code_text__sweep(&text, NULL, 0), 0);
	for (uint32_t i = 0; i < text.sweep_cnt; i++) {
		const struct code_insn *insn = &text.insns.items[i];
		struct unwind_row row;

		if (insn->op != CODE_CALL && insn->op != CODE_CALL_INDIRECT)
			continue;
		row = row_at(&scanned, text.base + insn->at);
		calls++;
		covered += row.rule != UNWIND_RULE_NONE;
		ends += row.rule == UNWIND_RULE_END;
	}
	print_message("musl: %lu of %lu calls, %lu of them where threads begin\n", covered, calls,
		      ends);
	assert_true(calls > 1000);
	assert_true(covered * 1000 >= calls * 995);
	assert_int_equal(ends, 2); /* _dlstart, __clone */
	code_text__free(&text);
	close_scanned(&scanned);
}

/* ---- what is covered, and what is too much
 * ---------------------------------------------------------- */

static void test_covered(void **state)
{
	struct code_ranges covered = {0};
	struct unwind_table table;
	struct scanned scanned;
	uint64_t good;
	char *path;

	(void)state;
	path = compile("gcc", "-nostdlib -static", "unwind_scan.S");
	good = symbol_address(path, "good");
	scan_file(path, &scanned);
	assert_int_equal(array_push(&covered.list, ((struct code_range){good, good + 8})), 0);
	scan_image(&scanned.image, &covered, MAX_SCANNED_CODE, &table);
	assert_true(table.row_cnt > 0);
	unwind_table__free(&table);
	covered.list.items[0] = (struct code_range){0, UINT64_MAX};
	scan_image(&scanned.image, &covered, MAX_SCANNED_CODE, &table);
	assert_int_equal(table.row_cnt, 0);
	unwind_table__free(&table);
	covered.list.cnt = 0;
	scan_image(&scanned.image, &covered, 100, &table);
	assert_int_equal(table.row_cnt, 0);
	unwind_table__free(&table);
	array_free(&covered.list);
	close_scanned(&scanned);
	free(path);
}

/* ---- broken code
 * ------------------------------------------------------------------------------------ */

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Mostly code, so that most of the rounds get past the headers. */
static void break_bytes(uint8_t *bytes, size_t size, uint64_t code_off, uint64_t code_size,
			uint64_t *seed)
{
	size_t cnt = 1 + next_random(seed) % 200;
	bool anywhere = next_random(seed) % 4 == 0;

	for (size_t i = 0; i < cnt; i++) {
		uint64_t at = anywhere ? next_random(seed) % size
				       : code_off + next_random(seed) % code_size;

		bytes[at] = (uint8_t)next_random(seed);
		/* What is interesting is rare: stack pointer, calls, jumps. */
		if (next_random(seed) % 2)
			bytes[at] = "\x54\x5c\xc3\xe8\xe9\xeb\x75\xff\xc9\xc8\x48\x24\x0f\x05"
				[next_random(seed) % 14];
	}
}

static void test_broken(void **state)
{
	const struct code_ranges nothing = {0};
	uint64_t seed = FUZZ_SEED, off = 0, avail = 0;
	uint8_t *good, *bad;
	struct scanned scanned;
	unsigned int scans = 0;
	size_t size;
	char *path;

	(void)state;
	path = compile("gcc", "-O2 -s -w", "unwind_scan.c");
	scan_file(path, &scanned);
	size = scanned.image.size;
	good = malloc(size);
	bad = malloc(size);
	assert_true(good && bad);
	assert_int_equal(elf_image__read(&scanned.image, 0, good, size), 0);
	for (size_t i = 0; i < scanned.image.segments.list.cnt; i++) {
		if (!scanned.image.segments.list.items[i].executable)
			continue;
		off = scanned.image.segments.list.items[i].off;
		avail = scanned.image.segments.list.items[i].size;
	}
	assert_true(avail);
	for (unsigned int i = 0; i < FUZZ_ROUNDS; i++) {
		struct table_builder *builder;
		struct elf_image image;
		struct unwind_table table;

		memcpy(bad, good, size);
		break_bytes(bad, size, off, avail, &seed);
		if (elf_image__open_memory(&image, bad, size))
			continue;
		builder = table_builder__new(&image.segments);
		assert_non_null(builder);
		if (!code_scan__run(&image, &nothing, MAX_SCANNED_CODE, builder) &&
		    !table_builder__finish(builder, &table)) {
			assert_true(unwind_table__is_valid(&table));
			unwind_table__free(&table);
			scans++;
		}
		table_builder__free(builder);
		elf_image__close(&image);
	}
	assert_true(scans > FUZZ_ROUNDS / 2);
	free(bad);
	free(good);
	close_scanned(&scanned);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compiled), cmocka_unit_test(test_libraries),
		cmocka_unit_test(test_assembly), cmocka_unit_test(test_musl),
		cmocka_unit_test(test_covered),	 cmocka_unit_test(test_broken),
	};

#if !defined(__x86_64__)
	return 0;
#endif
	return cmocka_run_group_tests(tests, make_work_dir, remove_work_dir);
}
