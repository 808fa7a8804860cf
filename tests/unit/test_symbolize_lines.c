// SPDX-License-Identifier: GPL-2.0-or-later
/* Source lines: where debug information may be, in which forms, and why there is none. */
#include "unit/symbolize_lines_fixture.h"

static void write_lines_sample(void)
{
	shell("rm -rf app* root src sub; mkdir -p src/inc sub");
	write_file("src/inc/deep.h",
		   "#include <stdlib.h>\n"
		   "__attribute__((always_inline)) static inline int deep(int x)\n"
		   "{\n"
		   "\treturn rand() + x;\n" /* 4 */
		   "}\n");
	write_file("src/app.c", "#include \"../src/./inc//deep.h\"\n"
				"__attribute__((noinline)) static int hidden(int x)\n"
				"{\n"
				"\tputenv(\"a=b\");\n" /* 4 */
				"\treturn x + 1;\n"
				"}\n"
				"int outer(int x);\n"
				"__attribute__((noinline)) int outer(int x)\n"
				"{\n"
				"\tint y = hidden(x);\n" /* 10 */
				"\n"
				"\treturn deep(y) + 2;\n" /* 12 */
				"}\n"
				"int main(int argc, char **argv)\n"
				"{\n"
				"\t(void)argv;\n"
				"\treturn outer(argc) * 3;\n"
				"}\n");
}

static void build(const char *flags)
{
	write_lines_sample();
	assert_int_equal(shell("cd sub && gcc -O2 -g %s -o ../app ../src/app.c", flags), 0);
}

static void assert_place(const char *file, uint32_t line, const char *name, uint32_t expected)
{
	char *path = in_dir(name);

	assert_non_null(file);
	assert_string_equal(file, path);
	assert_int_equal(line, expected);
	free(path);
}

/* rand() is called in deep(), which is inlined in outer(). */
static void assert_lines(const struct symbol *symbol)
{
	assert_string_equal(symbol->function, "outer");
	assert_int_equal(symbol->line_reason, LINE_FOUND);
	assert_place(symbol->file, symbol->line, "src/app.c", 12);
	assert_int_equal(symbol->inline_cnt, 1);
	assert_string_equal(symbol->inlines[0].function, "deep");
	assert_place(symbol->inlines[0].file, symbol->inlines[0].line, "src/inc/deep.h", 4);
}

/* `calls` has the code as objdump shall see it: the twin with symbols. */
static void assert_lines_of(const char *file, const char *calls)
{
	struct scene scene;

	open_scene(&scene, file);
	assert_lines(symbol_at_call(&scene, calls, "outer", "rand"));
	free_scene(&scene);
}

static void every_format(void **state)
{
	static const char *const flags[] = {
		"-gdwarf-2",
		"-gdwarf-3",
		"-gdwarf-4",
		"-gdwarf-5",
		"-gdwarf-5 -gz",
		"-gdwarf-5 -gdwarf64",
		"-gdwarf-4 -gz",
		"-no-pie -fno-pie",
		"-fdebug-types-section",
		"-ffunction-sections -Wl,--gc-sections",
		"-flto",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		build(flags[i]);
		assert_lines_of("app", "app");
	}
}

static void functions_without_inlined_calls(void **state)
{
	const struct symbol *symbol;
	struct scene scene;

	(void)state;
	build("");
	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, "app", "hidden", "putenv");
	assert_string_equal(symbol->function, "hidden");
	assert_place(symbol->file, symbol->line, "src/app.c", 4);
	assert_int_equal(symbol->inline_cnt, 0);
	assert_null(symbol->inlines);
	symbol = symbol_at_call(&scene, "app", "outer", "hidden");
	assert_string_equal(symbol->function, "outer");
	assert_place(symbol->file, symbol->line, "src/app.c", 10);
	free_scene(&scene);
}

static void line_tables_only(void **state)
{
	const struct symbol *symbol;
	struct scene scene;

	(void)state;
	build("-g1");
	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, "app", "hidden", "putenv");
	assert_place(symbol->file, symbol->line, "src/app.c", 4);
	free_scene(&scene);
}

/* Units whose DIEs are in a .dwo file that is not there: the skeleton has lines. */
static void split_units(void **state)
{
	static const char *const flags[] = {"-gdwarf-5", "-gdwarf-4"};
	const struct symbol *symbol;
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		write_lines_sample();
		assert_int_equal(shell("cd sub && gcc -O2 -gsplit-dwarf %s -c ../src/app.c -o "
				       "app.o && gcc -o ../app app.o && rm -f *.dwo",
				       flags[i]),
				 0);
		open_scene(&scene, "app");
		symbol = symbol_at_call(&scene, "app", "outer", "rand");
		assert_string_equal(symbol->function, "outer");
		assert_place(symbol->file, symbol->line, "src/inc/deep.h", 4);
		symbol = symbol_at_call(&scene, "app", "hidden", "putenv");
		assert_place(symbol->file, symbol->line, "src/app.c", 4);
		free_scene(&scene);
	}
}

#define INSTALL_BY_ID                                                                              \
	"id=$(readelf -n app | sed -n 's/.*Build ID: //p'); "                                      \
	"d=root/.build-id/$(echo $id | cut -c1-2); mkdir -p $d; "                                  \
	"mv app.debug $d/$(echo $id | cut -c3-).debug"

static void separate_files(void **state)
{
	static const char *const places[] = {
		INSTALL_BY_ID,
		"objcopy --add-gnu-debuglink=app.debug app",
		"objcopy --add-gnu-debuglink=app.debug app; mkdir .debug; mv app.debug .debug/",
		("objcopy --add-gnu-debuglink=app.debug app; mkdir -p \"root$PWD\"; "
		 "mv app.debug \"root$PWD/\""),
	};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		build("");
		shell("rm -rf .debug");
		assert_int_equal(shell("cp app app.full; objcopy --only-keep-debug app app.debug;"
				       "strip app; %s",
				       places[i]),
				 0);
		assert_lines_of("app", "app.full");
	}
}

/* .symtab is gone, .debug_info is there: DWARF knows the names of static functions. */
static void names_from_dwarf(void **state)
{
	const struct symbol *symbol;
	struct scene scene;
	uint64_t offset;

	(void)state;
	build("");
	assert_int_equal(shell("cp app app.full; objcopy --keep-section='.debug_*' -s app; true"),
			 0);
	assert_int_equal(shell("cp app.full app; strip --strip-all --keep-section='.debug*' app"),
			 0);
	assert_int_equal(shell("readelf -SW app | grep -q debug_info"), 0);
	assert_int_equal(shell("readelf -SW app | grep -q symtab"), 1);
	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, "app.full", "hidden", "putenv");
	assert_string_equal(symbol->function, "hidden");
	assert_int_equal(symbol->reason, SYMBOL_FOUND);
	assert_place(symbol->file, symbol->line, "src/app.c", 4);
	offset = symbol->function_offset;
	free_scene(&scene);
	/* The same offset as by the symbol table. */
	open_scene(&scene, "app.full");
	symbol = symbol_at_call(&scene, "app.full", "hidden", "putenv");
	assert_int_equal(symbol->function_offset, offset);
	free_scene(&scene);
}

/* What several files have in common is in another one. */
static void supplementary_files(void **state)
{
	const struct symbol *symbol;
	struct scene scene;

	(void)state;
	if (!have("dwz"))
		skip();
	build("-gdwarf-4");
	assert_int_equal(
		shell("cp app app.full; cp app app2; mkdir -p root/.dwz;"
		      "sed 's/outer/other/g' src/app.c > src/app3.c;"
		      "gcc -O2 -g -gdwarf-4 -o app3 src/app3.c && "
		      "dwz -m root/.dwz/common -M \"$PWD/root/.dwz/common\" app app2 app3 &&"
		      "readelf -SW app | grep -q gnu_debugaltlink"),
		0);
	assert_lines_of("app", "app.full");
	/* One that is not the one that was meant costs text: here the folder of the compilation. */
	assert_int_equal(shell("cp app3 root/.dwz/common"), 0);
	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, "app.full", "hidden", "putenv");
	assert_string_equal(symbol->function, "hidden");
	assert_string_equal(symbol->file, "../src/app.c");
	assert_int_equal(symbol->line, 4);
	free_scene(&scene);
}

static void every_reason(void **state)
{
	const struct symbol *symbol;
	struct scene scene;

	(void)state;
	build("");
	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, "app", "_start", "__libc_start_main.*");
	free_scene(&scene);
	assert_int_equal(shell("cp app app.full; strip -g app"), 0);
	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, "app.full", "outer", "rand");
	assert_string_equal(symbol->function, "outer");
	assert_int_equal(symbol->line_reason, LINE_NO_DEBUG_INFO);
	assert_null(symbol->file);
	free_scene(&scene);
	/* Debug information of another unit only. */
	assert_int_equal(shell("gcc -O2 -c -o bare.o src/app.c && echo 'int other;' > src/o.c && "
			       "gcc -g -c -o other.o src/o.c && gcc -o app bare.o other.o"),
			 0);
	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, "app", "outer", "rand");
	assert_string_equal(symbol->function, "outer");
	assert_int_equal(symbol->line_reason, LINE_GAP);
	free_scene(&scene);
	/* Nothing that could be debug information. */
	assert_int_equal(shell("head -c 4096 /dev/urandom > noise; cp app.full app; "
			       "objcopy --update-section .debug_info=noise app"),
			 0);
	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, "app.full", "outer", "rand");
	assert_string_equal(symbol->function, "outer");
	assert_true(symbol->line_reason == LINE_BROKEN || symbol->line_reason == LINE_GAP);
	free_scene(&scene);
	for (int reason = LINE_FOUND; reason <= LINE_BROKEN; reason++)
		assert_true(strlen(line_reason__text((enum line_reason)reason)) > 3);
}

/* zstd came to libelf with 0.189; with an older one the lines are lost, the names are not. */
static void zstd_sections(void **state)
{
	const struct symbol *symbol;
	struct scene scene;

	(void)state;
	build("");
	if (shell("cp app app.full; objcopy --compress-debug-sections=zstd app"))
		skip();
	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, "app.full", "outer", "rand");
	assert_string_equal(symbol->function, "outer");
	print_message("zstd: %s\n", line_reason__text(symbol->line_reason));
	if (symbol->line_reason == LINE_FOUND)
		assert_lines(symbol);
	else
		assert_int_equal(symbol->line_reason, LINE_BROKEN);
	free_scene(&scene);
}

/* Deleted and replaced files: the open descriptor counts. */
static void deleted_files(void **state)
{
	struct scene scene;

	(void)state;
	build("");
	open_scene(&scene, "app");
	assert_int_equal(shell("cp app app.full; rm app; cp /bin/true app"), 0);
	assert_lines(symbol_at_call(&scene, "app.full", "outer", "rand"));
	free_scene(&scene);
}

/* Answers are kept: the second snapshot asks for new frames only, and old answers stay valid. */
static void later_snapshots(void **state)
{
	const struct symbol *symbol;
	struct symbol first;
	struct scene scene;

	(void)state;
	build("");
	open_scene(&scene, "app");
	first = *symbol_at_call(&scene, "app", "outer", "rand");
	symbol = symbol_at_call(&scene, "app", "hidden", "putenv");
	assert_place(symbol->file, symbol->line, "src/app.c", 4);
	assert_lines(&first);
	assert_ptr_equal(scene.symbols[0].inlines, first.inlines);
	assert_ptr_equal(scene.symbols[0].file, first.file);
	free_scene(&scene);
}

static void paths(void **state)
{
	static const char *const pairs[][2] = {
		{"/a/b/../c.c", "/a/c.c"},
		{"/a//b/./c.c", "/a/b/c.c"},
		{"/../a.c", "/a.c"},
		{"../a.c", "../a.c"},
		{"a/../../b.c", "../b.c"},
		{"./a.c", "a.c"},
		{"/a/../..", "/"},
		{"a/..", ""},
		{"/", "/"},
		{"", ""},
		{"/a/b/", "/a/b"},
		{"../../x/../y", "../../y"},
		{"/a/..b/...", "/a/..b/..."},
		{"a/b/../c/../../d", "d"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char *copy = strdup(pairs[i][0]);

		normalise_path(copy);
		assert_string_equal(copy, pairs[i][1]);
		free(copy);
	}
}

/* Reproducible builds say where they were made by a relative path. */
static void relative_folders(void **state)
{
	static const char *const flags[] = {"-gdwarf-5", "-gdwarf-4"};
	const struct symbol *symbol;
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		write_lines_sample();
		assert_int_equal(shell("cd src && gcc -O2 -g %s -ffile-prefix-map=\"$PWD\"=./src "
				       "-o ../app app.c",
				       flags[i]),
				 0);
		open_scene(&scene, "app");
		symbol = symbol_at_call(&scene, "app", "hidden", "putenv");
		assert_string_equal(symbol->file, "src/app.c");
		assert_int_equal(symbol->line, 4);
		free_scene(&scene);
	}
}

/* File names are text from a stranger. */
static void hostile_names_come_out_clean(void **state)
{
	const struct symbol *symbol;
	struct scene scene;

	(void)state;
	write_lines_sample();
	assert_int_equal(shell("n=$(printf 'src/a\\033[2J\\377.c'); cp src/app.c \"$n\" && "
			       "gcc -O2 -g -o app \"$n\""),
			 0);
	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, "app", "hidden", "putenv");
	assert_place(symbol->file, symbol->line, "src/a?[2J?.c", 4);
	free_scene(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_format),
		cmocka_unit_test(functions_without_inlined_calls),
		cmocka_unit_test(line_tables_only),
		cmocka_unit_test(split_units),
		cmocka_unit_test(separate_files),
		cmocka_unit_test(names_from_dwarf),
		cmocka_unit_test(supplementary_files),
		cmocka_unit_test(every_reason),
		cmocka_unit_test(zstd_sections),
		cmocka_unit_test(deleted_files),
		cmocka_unit_test(later_snapshots),
		cmocka_unit_test(relative_folders),
		cmocka_unit_test(paths),
		cmocka_unit_test(hostile_names_come_out_clean),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
