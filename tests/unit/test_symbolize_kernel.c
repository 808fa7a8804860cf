// SPDX-License-Identifier: GPL-2.0-or-later
/* Kernel frames: a table of symbols, made up and real, and what is said when it is hidden. */
#include "unit/symbolize_lines_fixture.h"

#include "symbolize/kernel_symbols.h"

static const char table[] = "ffffffff81000000 T _text\n"
			    "ffffffff81000000 T startup_64\n"
			    "ffffffff81000200 t helper\n"
			    "ffffffff81000300 D some_data\n"
			    "ffffffff81000400 R more_data\n"
			    "0000000000000000 A __per_cpu_start\n"
			    "ffffffffc0001000 t late_fn\t[mod]\n"
			    "ffffffffc0000000 t mod_fn\t[mod]\n"
			    "not a line\n"
			    "ffffffff81000100 W _RNvC4core4stop\n";

static struct kernel_symbols *read_table(const char *text, int expected)
{
	struct kernel_symbols *symbols = NULL;
	char *path = in_dir("kallsyms");

	write_file("kallsyms", text);
	assert_int_equal(kernel_symbols__read(path, &symbols), expected);
	free(path);
	return symbols;
}

static const char *name_at(const struct kernel_symbols *symbols, uint64_t address)
{
	const char *name;
	uint64_t start;

	return kernel_symbols__find(symbols, address, &name, &start) ? name : "";
}

static void a_table(void **state)
{
	struct kernel_symbols *symbols = read_table(table, 0);

	(void)state;
	assert_string_equal(name_at(symbols, 0xffffffff81000000), "_text");
	assert_string_equal(name_at(symbols, 0xffffffff810000ff), "_text");
	assert_string_equal(name_at(symbols, 0xffffffff81000100), "_RNvC4core4stop");
	assert_string_equal(name_at(symbols, 0xffffffff810002ff), "helper");
	assert_string_equal(name_at(symbols, 0xffffffff81000300), "");
	assert_string_equal(name_at(symbols, 0xffffffff81000500), "");
	assert_string_equal(name_at(symbols, 0xffffffffc0000fff), "mod_fn");
	assert_string_equal(name_at(symbols, 0xffffffffc0001001), "late_fn");
	assert_string_equal(name_at(symbols, 0xffffffffd0000000), "");
	assert_string_equal(name_at(symbols, 0x1000), "");
	kernel_symbols__free(symbols);
	kernel_symbols__free(NULL);
}

static void hidden_and_missing_tables(void **state)
{
	struct kernel_symbols *symbols;

	(void)state;
	read_table("0000000000000000 T a\n0000000000000000 t b\n", -EACCES);
	read_table("", -EACCES);
	read_table("nothing\nof the kind", -EACCES);
	assert_int_equal(kernel_symbols__read("/nonexistent", &symbols), -ENOENT);
}

static void frames(void **state)
{
	static const char *const tables[] = {table, "0000000000000000 T a\n"};
	struct symbolizer *symbolizer;
	struct snapshot snap = {0};
	struct snap_frame frame = {.module = SNAP_NONE, .kind = FRAME_KERNEL};
	char *path = in_dir("kallsyms");
	struct symbol *symbols;

	(void)state;
	/* A return address behind the last instruction of startup_64 (or _text). */
	frame.offset = 0xffffffff81000100;
	assert_int_equal(array_push(&snap.frames, frame), 0);
	frame.offset = 0xffffffff81000105;
	assert_int_equal(array_push(&snap.frames, frame), 0);
	frame.offset = 0xffffffff81000302;
	assert_int_equal(array_push(&snap.frames, frame), 0);
	frame.offset = 0;
	assert_int_equal(array_push(&snap.frames, frame), 0);
	for (size_t i = 0; i < 2; i++) {
		write_file("kallsyms", tables[i]);
		symbolizer = symbolizer__new_at("/nonexistent", path);
		assert_int_equal(symbolizer__resolve(symbolizer, &snap, &symbols), 0);
		if (!i) {
			assert_string_equal(symbols[0].function, "_text");
			assert_int_equal(symbols[0].function_offset, 0x100);
			assert_string_equal(symbols[1].function, "core::stop");
			assert_int_equal(symbols[1].function_offset, 5);
			assert_int_equal(symbols[2].reason, SYMBOL_GAP);
			assert_int_equal(symbols[3].reason, SYMBOL_GAP);
		}
		for (size_t k = 0; k < 3 && i; k++) {
			assert_null(symbols[k].function);
			assert_int_equal(symbols[k].reason, SYMBOL_KERNEL);
		}
		assert_int_equal(symbols[0].line_reason, LINE_NO_DEBUG_INFO);
		free(symbols);
		symbolizer__free(symbolizer);
	}
	assert_non_null(strstr(symbol_reason__text(SYMBOL_KERNEL), "kptr_restrict"));
	free(path);
	array_free(&snap.frames);
}

static void this_kernel(void **state)
{
	struct kernel_symbols *symbols;
	double began = now_seconds();
	int err = kernel_symbols__read(KALLSYMS, &symbols);
	char *line = NULL, name[256];
	unsigned long long address;
	size_t cap = 0, cnt = 0;
	FILE *file;

	(void)state;
	if (err == -EACCES || err == -ENOENT)
		skip();
	assert_int_equal(err, 0);
	print_message("read in %.3f s\n", now_seconds() - began);
	file = fopen(KALLSYMS, "re");
	assert_non_null(file);
	while (getline(&line, &cap, file) > 0 && cnt < 1000)
		if (sscanf(line, "%llx T %255s", &address, name) == 2 &&
		    (!strncmp(name, "vfs_", 4) || !strcmp(name, "schedule"))) {
			assert_string_equal(name_at(symbols, address + 1), name);
			cnt++;
		}
	print_message("%zu functions found again\n", cnt);
	assert_true(cnt > 0);
	free(line);
	fclose(file);
	kernel_symbols__free(symbols);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table),
		cmocka_unit_test(hidden_and_missing_tables),
		cmocka_unit_test(frames),
		cmocka_unit_test(this_kernel),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
