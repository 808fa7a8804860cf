/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What files with an interpreter say of themselves: those of this machine, and made ones. */
#include "unit/python_targets.h"

#include <elf.h>
#include <sys/mman.h>

#include "python/build_eval.h"

#define GCC "-O2 -fPIC -shared -freorder-blocks-and-partition"
#define ARENA (1 << 20)

static int read_path(const char *path, struct python_build *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	assert_true(fd >= 0);
	err = python_build__read(fd, ret);
	close(fd);
	return err;
}

/* ---- those of this machine ------------------------------------------------------------------- */

static void check_told(const struct python *python, struct target *target)
{
	unsigned long code_type, type_type, none;
	struct python_build build;
	uint64_t bias;
	char *line = read_line(target);

	assert_non_null(line);
	assert_int_equal(sscanf(line, "%lu %lu %lu", &code_type, &type_type, &none), 3);
	free(line);
	assert_true(find_interpreter(target->pid, &build, &bias));
	assert_int_equal(build.version, python->version_hex);
	assert_string_equal(build.version_text, python->version);
	assert_int_equal(bias + build.code_type_vaddr, code_type);
	assert_int_equal(bias + build.type_type_vaddr, type_type);
	assert_int_equal(bias + build.none_vaddr, none);
	assert_int_equal(build.runtime_vaddr != 0, python->version_hex >= 0x0307);
	assert_int_equal(build.debug_offsets != NULL, python->version_hex >= 0x030d);
	assert_true(build.no_memory_off);
	assert_int_equal(build.finalize_off != 0, python->version_hex >= 0x0300);
	assert_false(build.free_threaded);
	assert_true(build.eval.cnt >= 1);
	printf("Python %s: the loop has", python->version);
	for (size_t i = 0; i < build.eval.cnt; i++) {
		assert_true(build.eval.items[i].start < build.eval.items[i].end);
		printf(" %llu",
		       (unsigned long long)(build.eval.items[i].end - build.eval.items[i].start));
	}
	printf(" bytes\n");
	python_build__free(&build);
}

static void test_real(void **state)
{
	static const char script[] = "import sys, types\n"
				     "sys.stdout.write('%d %d %d\\n' % (id(types.CodeType), "
				     "id(type), id(None)))\n"
				     "sys.stdout.flush()\n"
				     "sys.stdin.read()\n";

	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct target target = start_python(&pythons[i], script);

		check_told(&pythons[i], &target);
		stop_target(&target);
	}
}

static void test_others(void **state)
{
	struct python_build build;

	(void)state;
	assert_int_equal(read_path("/proc/self/exe", &build), -ENOENT);
	assert_int_equal(read_path("/bin/sh", &build), -ENOENT);
	assert_int_equal(read_path("/dev/null", &build), -ENOEXEC);
	assert_int_equal(read_path("Makefile", &build), -ENOEXEC);
}

/* A program that is linked against libpython has none itself. */
static void test_linked(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct python_build build;

		if (!pythons[i].lib_name[0] || !strcmp(pythons[i].path, "/usr/bin/python3"))
			continue;
		assert_int_equal(read_path(pythons[i].path, &build), -ENOENT);
	}
}

/* ---- parts of the loop ----------------------------------------------------------------------- */

static char *make(const char *flags)
{
	char *all, *path;

	assert_true(asprintf(&all, "%s %s", GCC, flags) > 0);
	path = compile("gcc", all, "python_interpreter.c");
	free(all);
	return path;
}

static void same_eval(const struct python_build *a, const struct python_build *b)
{
	assert_int_equal(a->eval.cnt, b->eval.cnt);
	for (size_t i = 0; i < a->eval.cnt; i++) {
		assert_int_equal(a->eval.items[i].start, b->eval.items[i].start);
		assert_int_equal(a->eval.items[i].end, b->eval.items[i].end);
	}
}

/* Found by its jumps it is what the compiler's own symbol says. */
static void test_cold_part(void **state)
{
	static const char *const flags[] = {"-DVERSION=0x030b02f0", "-DVERSION=0x030b02f0 -O3",
					    "-DVERSION=0x030b02f0 -fno-omit-frame-pointer",
					    "-DVERSION=0x030b02f0 -Wl,-z,noseparate-code",
					    "-DVERSION=0x030b02f0 -fcf-protection=none"};

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		char *path = make(flags[i]), *stripped;
		struct python_build with, without;

		assert_true(asprintf(&stripped, "%s.stripped", path) > 0);
		run_command("strip -o %s %s", stripped, path);
		assert_int_equal(read_path(path, &with), 0);
		assert_int_equal(with.eval.cnt, 2);
		assert_int_equal(read_path(stripped, &without), 0);
		same_eval(&with, &without);
		python_build__free(&with);
		python_build__free(&without);
		free(stripped);
		free(path);
	}
}

/* ---- versions -------------------------------------------------------------------------------- */

static void expect_version(const char *flags, uint16_t version, const char *text)
{
	struct python_build build;
	char *path = make(flags);

	assert_int_equal(read_path(path, &build), 0);
	if (build.version != version || strcmp(build.version_text, text) != 0)
		fail_msg("%s: %x \"%s\"", flags, build.version, build.version_text);
	python_build__free(&build);
	free(path);
}

static void test_versions(void **state)
{
	(void)state;
	expect_version("-DVERSION=0x030b02f0", 0x030b, "3.11.2");
	expect_version("-DVERSION=0x030c00a7", 0x030c, "3.12.0a7");
	expect_version("-DVERSION=0x030d00b1", 0x030d, "3.13.0b1");
	expect_version("-DVERSION=0x030e00c2", 0x030e, "3.14.0rc2");
	expect_version("-DVERSION=0x090b02f0", 0, "");
	expect_version("-DVERSION=0x030b0210", 0, "");
	expect_version("-DTAG=\"cpython-38\" -DTEXT=\"3.8.18\"", 0x0308, "3.8.18");
	expect_version("-DTAG=\"cpython-310\" -DTEXT=\"3.10.0rc1\"", 0x030a, "3.10.0rc1");
	expect_version("-DTAG=\"cpython-39\" -DTEXT=\"3.9.2+\"", 0x0309, "3.9.2+");
	expect_version("-DTAG=\"cpython-38\"", 0x0308, "3.8");
	expect_version("-DTAG=\"cpython-38\" -DTEXT=\"3.80.1\"", 0x0308, "3.8");
	expect_version("-DTAG=\"cpython-38\" -DTEXT=\"13.8.1\"", 0x0308, "3.8");
	expect_version("-DTAG=\"cpython-38\" -DTEXT=\"3.9.1\"", 0x0308, "3.8");
	expect_version("-DTAG=\"cpython-38\" -DTEXT=\"3.8.18\" -DTAG2=\"3.8.17\"", 0x0308, "3.8");
	expect_version("-DTAG=\"cpython-38\" -DTAG2=\"cpython-39\"", 0, "");
	expect_version("-DTAG=\"cpython-3x\"", 0, "");
	expect_version("-DTAG=\"cpython-38.pyc\"", 0, "");
	expect_version("-DTAG=\"cpython-\" -DTEXT=\"3.8.18\"", 0, "");
	expect_version("-DTEXT=\"3.8.18\"", 0, "");
	expect_version("-DIS_2 -DTEXT=\"2.7.18\"", 0x0207, "2.7.18");
	expect_version("-DIS_2", 0, "");
}

static void test_no_loop(void **state)
{
	struct python_build build;
	char *path = make("-DNO_LOOP -DVERSION=0x030b02f0");

	(void)state;
	assert_int_equal(read_path(path, &build), -ENOENT);
	free(path);
}

/* ---- hostile files --------------------------------------------------------------------------- */

static char *load(const char *path, size_t *ret_size)
{
	FILE *file = fopen(path, "rb");
	char *data = malloc(ARENA);

	assert_non_null(file);
	assert_non_null(data);
	*ret_size = fread(data, 1, ARENA, file);
	assert_true(*ret_size > 0 && *ret_size < ARENA);
	fclose(file);
	return data;
}

static int read_memory(const char *data, size_t size, struct python_build *ret)
{
	int fd = memfd_create("interpreter", MFD_CLOEXEC), err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	err = python_build__read(fd, ret);
	close(fd);
	return err;
}

/* Without section headers the dynamic segment tells the same. */
static void test_no_sections(void **state)
{
	static const char *const flags[] = {"-DVERSION=0x030b02f0 -s -Wl,--hash-style=gnu",
					    "-DVERSION=0x030b02f0 -s -Wl,--hash-style=sysv",
					    "-DTAG=\"cpython-38\" -s -Wl,--hash-style=both"};

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct python_build with, without;
		char *path = make(flags[i]), *data;
		Elf64_Ehdr ehdr;
		size_t size;

		assert_int_equal(read_path(path, &with), 0);
		data = load(path, &size);
		memcpy(&ehdr, data, sizeof(ehdr));
		ehdr.e_shoff = 0;
		ehdr.e_shnum = ehdr.e_shstrndx = 0;
		memcpy(data, &ehdr, sizeof(ehdr));
		assert_int_equal(read_memory(data, size, &without), 0);
		same_eval(&with, &without);
		assert_int_equal(with.version, without.version);
		assert_string_equal(with.version_text, without.version_text);
		assert_int_equal(with.code_type_vaddr, without.code_type_vaddr);
		assert_int_equal(with.no_memory_off, without.no_memory_off);
		assert_int_equal(with.finalize_off, without.finalize_off);
		python_build__free(&with);
		python_build__free(&without);
		free(data);
		free(path);
	}
}

static void test_hostile(void **state)
{
	char *path = make("-DTAG=\"cpython-38\" -DTEXT=\"3.8.18\""), *data, *copy;
	unsigned int seed = 1, read_cnt = 0;
	struct python_build build;
	size_t size;

	(void)state;
	data = load(path, &size);
	copy = malloc(size);
	assert_non_null(copy);
	for (size_t len = 0; len < size; len += size / 300 + 1)
		if (!read_memory(data, len, &build))
			python_build__free(&build);
	for (int round = 0; round < 3000; round++) {
		/* Half of the damage goes to the headers and tables at the begin. */
		size_t range = round % 2 ? size : 0x800;

		memcpy(copy, data, size);
		for (int i = 0; i < 1 + round % 16; i++)
			copy[(size_t)rand_r(&seed) % range] =
				round % 3 ? (char)rand_r(&seed) : (char)0xff;
		if (read_memory(copy, size, &build))
			continue;
		read_cnt++;
		python_build__free(&build);
	}
	printf("3000 damaged files: %u were read, none did harm\n", read_cnt);
	free(copy);
	free(data);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),	    cmocka_unit_test(test_others),
		cmocka_unit_test(test_linked),	    cmocka_unit_test(test_cold_part),
		cmocka_unit_test(test_versions),    cmocka_unit_test(test_no_loop),
		cmocka_unit_test(test_no_sections), cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, find_pythons, forget_pythons);
}
