// SPDX-License-Identifier: GPL-2.0-or-later
/* .gnu_debugdata: what it adds, and what a damaged or an exploding one costs. */
#include "unit/symbolize_lines_fixture.h"

#include "util/xz.h"

/*
 * As distributions do it ("MiniDebugInfo" in the GDB manual): the function symbols that .dynsym
 * does not have, stripped of all else, packed by xz, in a section of the stripped program.
 */
static void build(const char *flags, const char *pack)
{
	write_sample();
	shell("rm -rf app* mini*");
	assert_int_equal(shell("gcc -O2 %s -o app.full sample.c && "
			       "objcopy --only-keep-debug app.full mini && "
			       "objcopy -S --remove-section .gdb_index --remove-section .comment "
			       "--keep-symbol=local_one --keep-symbol=local_two mini && "
			       "strip -o app app.full && %s && "
			       "objcopy --add-section .gnu_debugdata=mini.xz app",
			       flags, pack),
			 0);
}

/* Returns whether local_two is named. */
static bool named(void)
{
	FILE *pipe = run("nm app.full | grep ' local_two$'");
	struct scene scene;
	uint64_t address;
	char *line = NULL;
	size_t cap = 0;
	bool found;

	assert_true(getline(&line, &cap, pipe) > 0);
	address = strtoull(line, NULL, 16);
	free(line);
	pclose(pipe);
	open_scene(&scene, "app");
	read_segments("app", &scene.sites);
	add_frame_at(&scene.snap, 0, file_offset(&scene.sites, address + 3));
	resolve_scene(&scene);
	found = scene.symbols[0].function && !strcmp(scene.symbols[0].function, "local_two");
	if (found)
		assert_int_equal(scene.symbols[0].function_offset, 3);
	assert_int_equal(scene.symbols[0].line_reason, LINE_NO_DEBUG_INFO);
	free_scene(&scene);
	return found;
}

static void names(void **state)
{
	static const char *const flags[] = {"-pie -fPIE", "-no-pie", "-shared -fPIC", "-static"};

	(void)state;
	if (!have("xz"))
		skip();
	for (size_t i = 0; i < 4; i++) {
		build(flags[i], "echo > mini.xz");
		assert_false(named());
		build(flags[i], "xz -k mini");
		assert_true(named());
	}
	build("", "xz -9e -k mini");
	assert_true(named());
}

static void damaged_ones(void **state)
{
	(void)state;
	if (!have("xz"))
		skip();
	build("", "xz -k mini && truncate -s -20 mini.xz");
	assert_false(named());
	build("", "cp mini mini.xz");
	assert_false(named());
	build("", "echo 'no ELF file' | xz > mini.xz");
	assert_false(named());
	build("", "xz -c mini > m.xz; printf 'xxxxxxxx' | dd of=m.xz bs=1 seek=300 conv=notrunc; "
		  "mv m.xz mini.xz");
	assert_false(named());
}

/* A gigabyte of nothing in 150 KB. */
static void bombs(void **state)
{
	double began;

	(void)state;
	if (!have("xz"))
		skip();
	build("", "head -c 1000000000 /dev/zero | xz -1 > mini.xz");
	began = now_seconds();
	assert_false(named());
	print_message("a bomb took %.3f s\n", now_seconds() - began);
	assert_true(now_seconds() - began < 10);
}

static void *read_whole(const char *name, size_t *ret_size)
{
	char *path = in_dir(name), *data;
	FILE *file = fopen(path, "re");
	long size;

	assert_non_null(file);
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	rewind(file);
	data = malloc((size_t)size + 1);
	assert_non_null(data);
	*ret_size = fread(data, 1, (size_t)size, file);
	fclose(file);
	free(path);
	return data;
}

static void unpacking(void **state)
{
	size_t packed_size, size;
	void *packed, *data;

	(void)state;
	if (!have("xz"))
		skip();
	assert_int_equal(shell("seq 1 200000 > plain; xz -c plain > a.xz; cat a.xz a.xz > two.xz; "
			       "printf '\\0\\0\\0\\0' >> two.xz; xz -c /dev/null > empty.xz"),
			 0);
	packed = read_whole("a.xz", &packed_size);
	/* seq writes 1288895 bytes. */
	assert_int_equal(xz_unpack(packed, packed_size, 1288894, &data, &size), -EFBIG);
	assert_int_equal(xz_unpack(packed, packed_size, 0, &data, &size), -EFBIG);
	assert_int_equal(xz_unpack(packed, packed_size, 1288895, &data, &size), 0);
	assert_int_equal(size, 1288895);
	free(data);
	assert_int_equal(xz_unpack(packed, packed_size, 2 << 20, &data, &size), 0);
	assert_int_equal(size, 1288895);
	free(data);
	for (size_t cut = 0; cut < packed_size; cut += packed_size / 50 + 1)
		assert_int_equal(xz_unpack(packed, cut, 2 << 20, &data, &size), -EBADMSG);
	free(packed);
	packed = read_whole("two.xz", &packed_size);
	assert_int_equal(xz_unpack(packed, packed_size, SIZE_MAX, &data, &size), 0);
	assert_int_equal(size, 2 * 1288895);
	free(data);
	free(packed);
	packed = read_whole("empty.xz", &packed_size);
	assert_int_equal(xz_unpack(packed, packed_size, 0, &data, &size), 0);
	assert_int_equal(size, 0);
	free(data);
	free(packed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(damaged_ones),
		cmocka_unit_test(bombs),
		cmocka_unit_test(unpacking),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
