// SPDX-License-Identifier: GPL-2.0-or-later
/* Source lines: where debug information may be, in which forms, and why there is none. */
#include "unit/symbolize_lines_fixture.h"

#include "util/cpu_time.h"

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

/* The symbol of the call in hidden(), which nothing is inlined in. */
static const struct symbol *ask_hidden(struct scene *scene, const char *calls)
{
	const struct symbol *symbol = symbol_at_call(scene, calls, "hidden", "putenv");

	assert_string_equal(symbol->function, "hidden");
	return symbol;
}

static const struct symbol *assert_hidden(struct scene *scene, const char *calls)
{
	const struct symbol *symbol = ask_hidden(scene, calls);

	assert_place(symbol->file, symbol->line, "src/app.c", 4);
	return symbol;
}

/* The file of hidden() in "app", owned by the caller; its line is known. */
static char *file_of_hidden(const char *calls)
{
	const struct symbol *symbol;
	struct scene scene;
	char *file;

	open_scene(&scene, "app");
	symbol = ask_hidden(&scene, calls);
	assert_non_null(symbol->file);
	assert_int_equal(symbol->line, 4);
	file = strdup(symbol->file);
	free_scene(&scene);
	return file;
}

/* Why outer() of "app" has no line, or LINE_FOUND and a right one; its name is known anyhow. */
static enum line_reason reason_of_outer(const char *calls)
{
	const struct symbol *symbol;
	enum line_reason reason;
	struct scene scene;

	open_scene(&scene, "app");
	symbol = symbol_at_call(&scene, calls, "outer", "rand");
	assert_string_equal(symbol->function, "outer");
	reason = symbol->line_reason;
	if (reason == LINE_FOUND)
		assert_lines(symbol);
	else
		assert_null(symbol->file);
	free_scene(&scene);
	return reason;
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
	symbol = assert_hidden(&scene, "app");
	assert_int_equal(symbol->inline_cnt, 0);
	assert_null(symbol->inlines);
	symbol = symbol_at_call(&scene, "app", "outer", "hidden");
	assert_string_equal(symbol->function, "outer");
	assert_place(symbol->file, symbol->line, "src/app.c", 10);
	free_scene(&scene);
}

static void line_tables_only(void **state)
{
	struct scene scene;

	(void)state;
	build("-g1");
	open_scene(&scene, "app");
	assert_hidden(&scene, "app");
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
		assert_hidden(&scene, "app");
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
	symbol = assert_hidden(&scene, "app.full");
	assert_int_equal(symbol->reason, SYMBOL_FOUND);
	offset = symbol->function_offset;
	free_scene(&scene);
	/* The same offset as by the symbol table. */
	open_scene(&scene, "app.full");
	assert_int_equal(ask_hidden(&scene, "app.full")->function_offset, offset);
	free_scene(&scene);
}

/* What several files have in common is in another one. */
static void supplementary_files(void **state)
{
	char *file;

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
	file = file_of_hidden("app.full");
	assert_string_equal(file, "../src/app.c");
	free(file);
}

static void every_reason(void **state)
{
	enum line_reason reason;
	struct scene scene;

	(void)state;
	build("");
	open_scene(&scene, "app");
	symbol_at_call(&scene, "app", "_start", "__libc_start_main.*");
	free_scene(&scene);
	assert_int_equal(shell("cp app app.full; strip -g app"), 0);
	assert_int_equal(reason_of_outer("app.full"), LINE_NO_DEBUG_INFO);
	/* Debug information of another unit only. */
	assert_int_equal(shell("gcc -O2 -c -o bare.o src/app.c && echo 'int other;' > src/o.c && "
			       "gcc -g -c -o other.o src/o.c && gcc -o app bare.o other.o"),
			 0);
	assert_int_equal(reason_of_outer("app"), LINE_GAP);
	/* Nothing that could be debug information. */
	assert_int_equal(shell("head -c 4096 /dev/urandom > noise; cp app.full app; "
			       "objcopy --update-section .debug_info=noise app"),
			 0);
	reason = reason_of_outer("app.full");
	assert_true(reason == LINE_BROKEN || reason == LINE_GAP);
	for (reason = LINE_FOUND; reason <= LINE_LATE; reason++)
		assert_true(strlen(line_reason__text(reason)) > 3);
}

/* zstd came to libelf with 0.189; with an older one the lines are lost, the names are not. */
static void zstd_sections(void **state)
{
	enum line_reason reason;

	(void)state;
	build("");
	if (shell("cp app app.full; objcopy --compress-debug-sections=zstd app"))
		skip();
	reason = reason_of_outer("app.full");
	print_message("zstd: %s\n", line_reason__text(reason));
	assert_true(reason == LINE_FOUND || reason == LINE_BROKEN);
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
	struct symbol first;
	struct scene scene;

	(void)state;
	build("");
	open_scene(&scene, "app");
	first = *symbol_at_call(&scene, "app", "outer", "rand");
	assert_hidden(&scene, "app");
	assert_lines(&first);
	assert_ptr_equal(scene.symbols[0].inlines, first.inlines);
	assert_ptr_equal(scene.symbols[0].file, first.file);
	free_scene(&scene);
}

/* Resolves within so much CPU time; returns what children have used of it. */
static uint64_t resolve_within(struct scene *scene, uint64_t cpu_ns, size_t late)
{
	uint64_t before_ns = children_cpu_ns();
	struct late_lines got;

	free(scene->symbols);
	scene->symbols = NULL;
	assert_int_equal(symbolizer__resolve_within(scene->symbolizer, &scene->snap, cpu_ns,
						    &scene->symbols, &got),
			 0);
	assert_int_equal(got.file_cnt, late);
	return children_cpu_ns() - before_ns;
}

/* What there was no time for is read later, and what was asked for meanwhile, too. */
static void no_time(void **state)
{
	uint64_t offset;
	struct scene scene;

	(void)state;
	build("");
	open_scene(&scene, "app");
	offset = offset_of_call(&scene, "app", "outer", "rand");
	add_frame_at(&scene.snap, 0, offset);
	add_frame_at(&scene.snap, 0, offset); /* not asked for twice */
	for (int i = 0; i < 2; i++) {
		resolve_within(&scene, 0, 1);
		assert_string_equal(scene.symbols[0].function, "outer");
		assert_int_equal(scene.symbols[0].line_reason, LINE_LATE);
		assert_int_equal(scene.symbols[0].line, 0);
		assert_null(scene.symbols[0].file);
	}
	resolve_within(&scene, UINT64_MAX, 0);
	assert_lines(&scene.symbols[0]);
	assert_lines(&scene.symbols[1]);
	resolve_within(&scene, 0, 0);
	assert_lines(&scene.symbols[0]);
	free_scene(&scene);
}

/* A unit of a million lines is read at once or not at all: what was in vain is not done again for
 * little more time, and keeps no other file waiting. */
static void too_little_time(void **state)
{
	uint64_t offset, used_ns, first_ns;
	struct scene scene;
	char *other;
	int other_fd;

	(void)state;
	build("");
	open_scene(&scene, "app");
	offset = offset_of_call(&scene, "app", "outer", "rand");
	add_frame_at(&scene.snap, 0, offset);
	first_ns = 4 * resolve_within(&scene, UINT64_MAX, 0) + 5 * NS_PER_MS;
	free_scene(&scene);
	build_big();
	open_scene(&scene, "big");
	other = in_dir("app");
	other_fd = open_file(other);
	add_frame_at(&scene.snap, 0, offset_of_call(&scene, "big", "big", "rand"));
	used_ns = resolve_within(&scene, first_ns, 1);
	assert_true(used_ns > 0 && used_ns < 2 * first_ns + 20 * NS_PER_MS);
	assert_int_equal(scene.symbols[0].line_reason, LINE_LATE);
	add_frame_at(&scene.snap, add_file_module(&scene.snap, other, other_fd), offset);
	resolve_within(&scene, 2 * first_ns - 1, 1);
	assert_int_equal(scene.symbols[0].line_reason, LINE_LATE);
	assert_lines(&scene.symbols[1]);
	assert_int_equal(resolve_within(&scene, 2 * first_ns - 1, 1), 0);
	used_ns = resolve_within(&scene, UINT64_MAX, 0);
	print_message("a million lines take %.0f ms, there were %.0f\n",
		      (double)used_ns / NS_PER_MS, (double)first_ns / NS_PER_MS);
	assert_true(used_ns > first_ns);
	assert_int_equal(scene.symbols[0].line_reason, LINE_FOUND);
	free_scene(&scene);
	close(other_fd);
	free(other);
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
	char *file;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		write_lines_sample();
		assert_int_equal(shell("cd src && gcc -O2 -g %s -ffile-prefix-map=\"$PWD\"=./src "
				       "-o ../app app.c",
				       flags[i]),
				 0);
		file = file_of_hidden("app");
		assert_string_equal(file, "src/app.c");
		free(file);
	}
}

/* File names are text from a stranger. */
static void hostile_names_come_out_clean(void **state)
{
	char *file;

	(void)state;
	write_lines_sample();
	assert_int_equal(shell("n=$(printf 'src/a\\033[2J\\377.c'); cp src/app.c \"$n\" && "
			       "gcc -O2 -g -o app \"$n\""),
			 0);
	file = file_of_hidden("app");
	assert_place(file, 4, "src/a?[2J?.c", 4);
	free(file);
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
		cmocka_unit_test(no_time),
		cmocka_unit_test(too_little_time),
		cmocka_unit_test(relative_folders),
		cmocka_unit_test(paths),
		cmocka_unit_test(hostile_names_come_out_clean),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
