/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables of the system's own files beside what readelf makes of the same call frame information:
 * for each range of addresses that readelf lists, the same canonical frame address, the same place
 * of the frame pointer and of the return address. Where readelf only says that there is an
 * expression, the row has to be one of those that stand for expressions. The system's compiler
 * decides what there is to compare; numbers are printed.
 */
#include "unit/compile.h"

#include <ctype.h>
#include <elf.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "unwind/table.h"
#include "util/elf_image.h"
#include "util/regular_file.h"

#define MAX_COLUMNS 40
#define MAX_CIES 4096

/* readelf's words; owned. "" = the register is not mentioned. */
struct rules {
	char cfa[32], fp[32], ra[32];
};

struct common {
	uint64_t at;
	struct rules rules;
};

struct listing {
	const char *name;
	const struct unwind_table *table;
	const struct elf_image *image;

	struct common cies[MAX_CIES];
	size_t cie_cnt;
	char columns[MAX_COLUMNS][16];
	size_t column_cnt;
	uint64_t fde_end; /* 0 = in a CIE */
	uint64_t row_start;
	struct rules rules;
	bool has_row;

	unsigned long ranges, expressions, odd, lost, outside, different;
};

static const struct {
	const char *name;
	int word;
} context_words[] = {
	{"r8", 0},  {"r9", 1},	{"r10", 2}, {"r11", 3},	 {"r12", 4},  {"r13", 5},  {"r14", 6},
	{"r15", 7}, {"rdi", 8}, {"rsi", 9}, {"rbx", 11}, {"rdx", 12}, {"rax", 13}, {"rcx", 14},
};

/* ---- readelf's words and ours ---------------------------------------------------------------- */

/* Splits "rsp+8", "c-16". */
static bool split(const char *text, char ret_base[static 8], long *ret_offset)
{
	size_t len = strcspn(text, "+-");

	if (!text[len] || len >= 8)
		return false;
	memcpy(ret_base, text, len);
	ret_base[len] = '\0';
	*ret_offset = strtol(text + len, NULL, 10);
	return true;
}

static bool same_cfa(const struct unwind_row *row, const char *cfa)
{
	char base[8];
	long offset;

	if (!split(cfa, base, &offset))
		return row->rule == UNWIND_RULE_PLT || row->rule == UNWIND_RULE_SP_DEREF ||
		       row->rule == UNWIND_RULE_FP_DEREF || row->rule == UNWIND_RULE_ODD;
	if (!strcmp(base, "rsp"))
		return row->rule == UNWIND_RULE_SP && row->cfa == offset;
	if (!strcmp(base, "rbp"))
		return row->rule == UNWIND_RULE_FP && row->cfa == offset;
	for (size_t i = 0; i < sizeof(context_words) / sizeof(context_words[0]); i++)
		if (!strcmp(base, context_words[i].name))
			return row->rule == UNWIND_RULE_REG && row->cfa >> 8 == offset &&
			       (row->cfa & 0xff) == context_words[i].word;
	return false;
}

static bool same_fp(const struct unwind_row *row, const char *fp)
{
	char base[8];
	long offset;

	if (!*fp || !strcmp(fp, "s"))
		return row->fp == UNWIND_FP_SAME;
	if (!strcmp(fp, "u")) /* also readelf's word for "not mentioned yet" */
		return row->fp == UNWIND_FP_SAME || row->fp == UNWIND_FP_LOST;
	if (row->fp == UNWIND_FP_LOST) /* what no row can tell */
		return !split(fp, base, &offset) || offset % 8 || offset / 8 < -127 ||
		       offset / 8 > 126 || row->rule == UNWIND_RULE_FP_DEREF;
	if (row->fp == UNWIND_FP_SAME)
		return false;
	if (!strcmp(fp, "exp"))
		return true;
	return split(fp, base, &offset) && !strcmp(base, "c") &&
	       row->rule != UNWIND_RULE_FP_DEREF && row->fp * 8 == offset;
}

static bool same_rules(const struct unwind_row *row, const struct rules *rules)
{
	if (!strcmp(rules->ra, "u"))
		return row->rule == UNWIND_RULE_END;
	if (!strcmp(rules->ra, "exp"))
		return row->rule == UNWIND_RULE_SIGNAL;
	if (strcmp(rules->ra, "c-8") != 0)
		return row->rule == UNWIND_RULE_ODD;
	if (!same_cfa(row, rules->cfa))
		return false;
	return row->rule == UNWIND_RULE_ODD || same_fp(row, rules->fp);
}

static void compare(struct listing *listing, uint64_t start, uint64_t end)
{
	const uint64_t probes[] = {start, start + (end - start) / 2, end - 1};
	const struct rules *rules = &listing->rules;
	uint64_t off, avail;

	if (start >= end)
		return;
	listing->ranges++;
	listing->expressions += !strcmp(rules->cfa, "exp");
	for (size_t i = 0; i < 3; i++) {
		struct unwind_row row;

		if (!elf_segments__offset(&listing->image->segments, probes[i], true, &off,
					  &avail)) {
			listing->outside++;
			return;
		}
		row = unwind_table__find(listing->table, off);
		if (!i && row.rule == UNWIND_RULE_ODD)
			listing->odd++;
		if (!i && row.fp == UNWIND_FP_LOST)
			listing->lost++;
		if (same_rules(&row, rules))
			continue;
		if (listing->different++ < 10)
			print_message(
				"%s %#lx: readelf cfa=%s rbp=%s ra=%s, here rule %d cfa %d fp %d\n",
				listing->name, probes[i], rules->cfa, rules->fp, rules->ra,
				row.rule, row.cfa, row.fp);
		return;
	}
}

/* ---- readelf's listing ----------------------------------------------------------------------- */

static void end_row(struct listing *listing, uint64_t next)
{
	if (listing->has_row && listing->fde_end)
		compare(listing, listing->row_start, next);
}

static void end_entry(struct listing *listing)
{
	end_row(listing, listing->fde_end);
	if (!listing->fde_end && listing->has_row)
		listing->cies[listing->cie_cnt - 1].rules = listing->rules;
	listing->has_row = false;
}

static void begin_cie(struct listing *listing, uint64_t at)
{
	end_entry(listing);
	assert_true(listing->cie_cnt < MAX_CIES);
	listing->cies[listing->cie_cnt++] = (struct common){.at = at};
	listing->fde_end = 0;
}

/* A function that has only what its common entry says is listed without rows. */
static void begin_fde(struct listing *listing, uint64_t cie, uint64_t start, uint64_t end)
{
	end_entry(listing);
	listing->fde_end = end;
	listing->row_start = start;
	for (size_t i = 0; i < listing->cie_cnt; i++) {
		if (listing->cies[i].at != cie)
			continue;
		listing->rules = listing->cies[i].rules;
		listing->has_row = true;
	}
}

static void read_columns(struct listing *listing, char *line)
{
	char *save = NULL;

	listing->column_cnt = 0;
	for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		assert_true(listing->column_cnt < MAX_COLUMNS);
		snprintf(listing->columns[listing->column_cnt++], 16, "%s", word);
	}
	listing->has_row = false;
}

static void read_row(struct listing *listing, char *line)
{
	uint64_t start = strtoull(line, NULL, 16);
	char *save = NULL, *word;

	end_row(listing, start);
	listing->rules = (struct rules){0};
	listing->row_start = start;
	listing->has_row = true;
	word = strtok_r(line, " \n", &save);
	for (size_t i = 0; word && i < listing->column_cnt; i++) {
		char *to = !strcmp(listing->columns[i], "CFA")	 ? listing->rules.cfa
			   : !strcmp(listing->columns[i], "rbp") ? listing->rules.fp
			   : !strcmp(listing->columns[i], "ra")	 ? listing->rules.ra
								 : NULL;

		if (to)
			snprintf(to, sizeof(listing->rules.cfa), "%s", word);
		/* A register is "r10 (r10)". */
		do
			word = strtok_r(NULL, " \n", &save);
		while (word && *word == '(');
	}
}

static void read_line(struct listing *listing, char *line)
{
	unsigned long at, cie, start, end;
	char *fde = strstr(line, " FDE cie=");

	if (fde && sscanf(fde, " FDE cie=%lx pc=%lx..%lx", &cie, &start, &end) == 3)
		begin_fde(listing, cie, start, end);
	else if (strstr(line, " CIE ") && sscanf(line, "%lx", &at) == 1)
		begin_cie(listing, at);
	else if (strstr(line, " LOC ") && strstr(line, "CFA"))
		read_columns(listing, line);
	else if (isxdigit((unsigned char)line[0]) && strspn(line, "0123456789abcdef") == 16)
		read_row(listing, line);
}

static void read_listing(struct listing *listing, const char *path)
{
	char *command, *line = NULL;
	size_t cap = 0;
	FILE *out;

	assert_true(asprintf(&command, "LC_ALL=C readelf -wN --debug-dump=frames-interp '%s'",
			     path) > 0);
	out = popen(command, "r");
	assert_non_null(out);
	while (getline(&line, &cap, out) > 0 && !strstr(line, "Contents of the .debug_frame"))
		read_line(listing, line);
	end_entry(listing);
	while (getline(&line, &cap, out) > 0)
		;
	assert_int_equal(pclose(out), 0);
	free(line);
	free(command);
}

/* ---- the files ------------------------------------------------------------------------------- */

static void compare_table(const char *name, const char *path, const struct elf_image *image,
			  const struct unwind_table *table)
{
	struct listing *listing = calloc(1, sizeof(*listing));

	assert_non_null(listing);
	listing->name = name;
	listing->table = table;
	listing->image = image;
	assert_true(unwind_table__is_valid(table));
	read_listing(listing, path);
	print_message("%s: %lu ranges, %lu different; %lu with a CFA expression, %lu that no row "
		      "can say, "
		      "%lu with the frame pointer lost; %u functions, %u broken, %u rows\n",
		      name, listing->ranges, listing->different, listing->expressions, listing->odd,
		      listing->lost, table->counts.fdes, table->counts.broken_fdes, table->row_cnt);
	assert_true(listing->ranges > 0);
	assert_int_equal(listing->outside, 0);
	assert_int_equal(listing->different, 0);
	assert_int_equal(table->counts.broken_fdes, 0);
	free(listing);
}

/* Returns whether there is such a file. */
static bool compare_file(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	struct unwind_table table;
	struct elf_image image;
	int fd = regular_file__open(path);

	if (fd < 0)
		return false;
	assert_int_equal(elf_image__open(&image, fd, EM_X86_64), 0);
	assert_int_equal(unwind_table__compile(fd, &table), 0);
	compare_table(name, path, &image, &table);
	unwind_table__free(&table);
	elf_image__close(&image);
	close(fd);
	return true;
}

/* Compares the library where a distribution keeps it. */
static void compare_library(const char *name)
{
	static const char *const folders[] = {"/lib/x86_64-linux-gnu",
					      "/usr/lib/x86_64-linux-gnu",
					      "/lib64",
					      "/usr/lib64",
					      "/usr/lib",
					      "/usr/bin"};
	bool found = false;
	char *path;

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && !found; i++) {
		assert_true(asprintf(&path, "%s/%s", folders[i], name) > 0);
		found = compare_file(path);
		free(path);
	}
	if (!found) {
		print_message("%s is not installed\n", name);
		skip();
	}
}

static void test_libc(void **state)
{
	(void)state;
	compare_library("libc.so.6");
}

static void test_ld(void **state)
{
	(void)state;
	compare_library("ld-linux-x86-64.so.2");
}

static void test_libstdcxx(void **state)
{
	(void)state;
	compare_library("libstdc++.so.6");
}

static void test_libgcc(void **state)
{
	(void)state;
	compare_library("libgcc_s.so.1");
}

static void test_libcrypto(void **state)
{
	(void)state;
	compare_library("libcrypto.so.3");
}

static void test_python(void **state)
{
	(void)state;
	compare_library("python3.11");
}

/* The kernel's own, from this process's memory. */
static void test_vdso(void **state)
{
	const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
	struct unwind_table table;
	struct elf_image image;
	size_t size;
	char *path;
	FILE *out;

	(void)state;
	if (!ehdr) {
		print_message("this kernel has no vdso\n");
		skip();
	}
	/* Its section headers are its last part. */
	size = ehdr->e_shoff + (size_t)ehdr->e_shnum * ehdr->e_shentsize;
	assert_true(asprintf(&path, "%s/vdso.so", work_dir) > 0);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(ehdr, 1, size, out), size);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(elf_image__open_memory(&image, ehdr, size), 0);
	assert_int_equal(unwind_table__compile_image(ehdr, size, &table), 0);
	compare_table("vdso", path, &image, &table);
	unwind_table__free(&table);
	elf_image__close(&image);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_libc),	  cmocka_unit_test(test_ld),
		cmocka_unit_test(test_libstdcxx), cmocka_unit_test(test_libgcc),
		cmocka_unit_test(test_libcrypto), cmocka_unit_test(test_python),
		cmocka_unit_test(test_vdso),
	};

	return cmocka_run_group_tests(tests, make_work_dir, remove_work_dir);
}
