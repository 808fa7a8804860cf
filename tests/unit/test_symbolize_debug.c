// SPDX-License-Identifier: GPL-2.0-or-later
/* Separate debug files: found where they belong, refused when they are another program's. */
#include "unit/symbolize_fixture.h"

#include "symbolize/debug_file.h"
#include "symbolize/elf_symbols.h"

/* Builds `app` (stripped) and `app.full`, its unstripped twin. */
static void build(const char *flags)
{
	write_sample();
	shell("rm -rf app* .debug root other");
	assert_int_equal(
		shell("gcc -O2 %s -o app.full sample.c && strip -o app app.full && mkdir other",
		      flags),
		0);
	assert_int_equal(shell("objcopy --only-keep-debug app.full app.debug"), 0);
}

/* Address of local_two, from the twin. */
static uint64_t local_two(void)
{
	char *path = in_dir("app.full"), *command = fmt("nm '%s' | grep ' local_two$'", path);
	unsigned long long addr = 0;
	FILE *pipe = popen(command, "re");

	assert_non_null(pipe);
	assert_int_equal(fscanf(pipe, "%llx", &addr), 1);
	pclose(pipe);
	free(command);
	free(path);
	return addr;
}

/*
 * Returns whether a function that only .symtab knows is found, when the file is said to lie at
 * `path`.
 */
static bool named_at(const char *path)
{
	char *root = in_dir("root");
	struct elf_function function;
	struct elf_symbols *symbols;
	int fd = open_in_dir("app");
	bool found;

	assert_int_equal(elf_symbols__load(fd, path, root, &symbols), 0);
	close(fd);
	found = elf_symbols__find(symbols, local_two() + 1, &function);
	if (found) {
		assert_string_equal(function.name, "local_two");
		assert_true(function.start == local_two());
	}
	elf_symbols__free(symbols);
	free(root);
	return found;
}

static bool named(void)
{
	char *path = in_dir("app");
	bool found = named_at(path);

	free(path);
	return found;
}

static void nothing_to_find(void **state)
{
	struct elf_symbols *symbols;
	int fd;

	(void)state;
	build("-static");
	fd = open_in_dir("app");
	assert_int_equal(elf_symbols__load(fd, "/app", "/nonexistent", &symbols), 0);
	close(fd);
	assert_true(elf_symbols__empty(symbols));
	elf_symbols__free(symbols);
	assert_false(named());
}

static void by_build_id(void **state)
{
	static const char *const flags[] = {"-pie -fPIE", "-no-pie", "-static", "-shared -fPIC"};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		build(flags[i]);
		assert_false(named());
		assert_int_equal(shell("id=$(readelf -n app | sed -n 's/.*Build ID: //p');"
				       "d=root/.build-id/$(echo $id | cut -c1-2); mkdir -p $d;"
				       "cp app.debug $d/$(echo $id | cut -c3-).debug"),
				 0);
		assert_true(named());
		/* By build-id the path does not matter. */
		assert_true(named_at("/somewhere/else"));
	}
}

static void another_build_id_is_refused(void **state)
{
	(void)state;
	build("-pie -fPIE");
	assert_int_equal(shell("gcc -O2 -Wl,--build-id=0x0123456789abcdef -o app2 sample.c;"
			       "objcopy --only-keep-debug app2 app2.debug;"
			       "id=$(readelf -n app | sed -n 's/.*Build ID: //p');"
			       "d=root/.build-id/$(echo $id | cut -c1-2); mkdir -p $d;"
			       "cp app2.debug $d/$(echo $id | cut -c3-).debug"),
			 0);
	assert_false(named());
	assert_int_equal(shell("objcopy --add-gnu-debuglink=app2.debug app"), 0);
	assert_false(named());
}

static void by_link(void **state)
{
	static const char *const build_ids[] = {"", "-Wl,--build-id=none"};
	static const char *const places[] = {".", ".debug", "root$PWD"};

	(void)state;
	for (size_t b = 0; b < 2; b++) {
		for (size_t p = 0; p < 3; p++) {
			build(build_ids[b]);
			assert_int_equal(shell("objcopy --add-gnu-debuglink=app.debug app;"
					       "mv app.debug other/; mkdir -p %s",
					       places[p]),
					 0);
			assert_false(named());
			assert_int_equal(shell("mv other/app.debug \"%s\"", places[p]), 0);
			assert_true(named());
		}
	}
}

static void a_wrong_checksum_is_refused(void **state)
{
	(void)state;
	build("-Wl,--build-id=none");
	assert_int_equal(shell("objcopy --add-gnu-debuglink=app.debug app"), 0);
	assert_true(named());
	assert_int_equal(shell("printf x >> app.debug"), 0);
	assert_false(named());
}

/* The path of a container's process means another file here: nothing beside it may be used. */
static void a_foreign_path_is_not_followed(void **state)
{
	char *path = in_dir("other/app");

	(void)state;
	build("");
	assert_int_equal(shell("objcopy --add-gnu-debuglink=app.debug app; mv app.debug other/"),
			 0);
	assert_false(named_at(path));
	assert_int_equal(shell("cp app other/app"), 0);
	assert_false(named_at(path));
	assert_int_equal(shell("rm other/app; ln app other/app"), 0);
	assert_true(named_at(path));
	assert_false(named_at("relative/app"));
	assert_false(named_at(""));
	assert_false(named_at("/"));
	free(path);
}

static void links_out_of_the_folder_are_refused(void **state)
{
	static const char *const names[] = {"../app.debug", "other/app.debug", ".", ".."};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		build("");
		/* name, zero byte, padding to 4; four bytes of checksum that nobody gets to */
		write_file("link.name", names[i]);
		assert_int_equal(shell("printf '\\0\\0\\0\\0\\0\\0\\0\\0' >> link.name;"
				       "cp app.debug other/;"
				       "objcopy --add-section .gnu_debuglink=link.name app"),
				 0);
		assert_false(named());
	}
}

static void fifos_and_folders_do_not_block(void **state)
{
	double began = now_seconds();

	(void)state;
	build("");
	assert_int_equal(
		shell("objcopy --add-gnu-debuglink=app.debug app;"
		      "id=$(readelf -n app | sed -n 's/.*Build ID: //p');"
		      "d=root/.build-id/$(echo $id | cut -c1-2); mkdir -p $d;"
		      "mkfifo $d/$(echo $id | cut -c3-).debug; rm app.debug; mkfifo app.debug;"
		      "mkdir -p .debug/app.debug"),
		0);
	assert_false(named());
	assert_true(now_seconds() - began < 10);
}

static void a_link_to_itself_is_refused(void **state)
{
	(void)state;
	build("");
	assert_int_equal(shell("objcopy --add-gnu-debuglink=app.debug app; ln -sf app app.debug"),
			 0);
	assert_false(named());
}

static void a_broken_debug_file_hides_nothing(void **state)
{
	struct elf_function function;
	struct elf_symbols *symbols;
	char *path = in_dir("app"), *root = in_dir("root");
	int fd;

	(void)state;
	build("-shared -fPIC -Wl,--build-id=0xabcdef0123");
	assert_int_equal(shell("mkdir -p root/.build-id/ab; head -c 3000 app.debug >"
			       " root/.build-id/ab/cdef0123.debug"),
			 0);
	fd = open_file(path);
	assert_int_equal(elf_symbols__load(fd, path, root, &symbols), 0);
	close(fd);
	assert_false(elf_symbols__empty(symbols));
	assert_false(elf_symbols__find(symbols, local_two() + 1, &function));
	elf_symbols__free(symbols);
	free(path);
	free(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_to_find),
		cmocka_unit_test(by_build_id),
		cmocka_unit_test(another_build_id_is_refused),
		cmocka_unit_test(by_link),
		cmocka_unit_test(a_wrong_checksum_is_refused),
		cmocka_unit_test(a_foreign_path_is_not_followed),
		cmocka_unit_test(links_out_of_the_folder_are_refused),
		cmocka_unit_test(fifos_and_folders_do_not_block),
		cmocka_unit_test(a_link_to_itself_is_refused),
		cmocka_unit_test(a_broken_debug_file_hides_nothing),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
