// SPDX-License-Identifier: GPL-2.0-or-later
/* elf_symbols against nm(1) and the dynamic linker. */
#include "unit/symbolize_fixture.h"

#include <dlfcn.h>
#include <link.h>

#include "symbolize/elf_symbols.h"
#include "util/array.h"

#define NO_DEBUG_ROOT "/nonexistent"

struct nm_symbol {
	uint64_t addr, size;
	char *name;
};

struct nm_symbols {
	ARRAY(struct nm_symbol) items;
};

/* Functions with a size, as nm lists them, by address. */
static void nm_read(struct nm_symbols *ret, const char *flags, const char *path)
{
	char *command = fmt("nm -nS --defined-only %s '%s' 2>/dev/null", flags, path), *line = NULL;
	unsigned long long addr, size;
	struct nm_symbol symbol;
	size_t cap = 0;
	int name_off;
	FILE *pipe;
	char type;

	*ret = (struct nm_symbols){0};
	pipe = popen(command, "re");
	assert_non_null(pipe);
	while (getline(&line, &cap, pipe) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%llx %llx %c %n", &addr, &size, &type, &name_off) != 3 || !size ||
		    !strchr("tTwWi", type))
			continue;
		symbol = (struct nm_symbol){addr, size, strdup(line + name_off)};
		assert_int_equal(array_push(&ret->items, symbol), 0);
	}
	assert_int_equal(pclose(pipe), 0);
	free(line);
	free(command);
}

static void nm_free(struct nm_symbols *nm)
{
	for (size_t i = 0; i < nm->items.cnt; i++)
		free(nm->items.items[i].name);
	array_free(&nm->items);
}

/* The innermost function of nm's list that covers the address: its index, or cnt. `at` is a hint.
 */
static size_t nm_find(const struct nm_symbols *nm, uint64_t addr, size_t at)
{
	const struct nm_symbol *items = nm->items.items;
	size_t best = nm->items.cnt;

	while (at + 1 < nm->items.cnt && items[at + 1].addr <= addr)
		at++;
	/* Functions that hold other functions start near them. */
	for (size_t i = at + 1; i-- > 0 && at - i < 200;)
		if (items[i].addr <= addr && addr - items[i].addr < items[i].size &&
		    (best == nm->items.cnt || items[i].addr > items[best].addr))
			best = i;
	return best;
}

static bool nm_has(const struct nm_symbols *nm, size_t at, uint64_t addr, const char *name)
{
	const struct nm_symbol *items = nm->items.items;
	size_t len = strcspn(name, "@");

	while (at && items[at - 1].addr == addr)
		at--;
	for (; at < nm->items.cnt && items[at].addr == addr; at++)
		if (!strncmp(items[at].name, name, len) && strchr("@", items[at].name[len]))
			return true;
	return false;
}

/* Asks for the first, a middle and the last byte of every function that nm knows. */
static void compare_with_nm(const char *path, const char *flags, size_t least)
{
	struct elf_symbols *symbols;
	struct elf_function function;
	struct nm_symbols nm;
	int fd = open_file(path);
	size_t compared = 0, at;
	uint64_t addr;

	nm_read(&nm, flags, path);
	assert_int_equal(elf_symbols__load(fd, path, NO_DEBUG_ROOT, &symbols), 0);
	for (size_t i = 0; i < nm.items.cnt; i++) {
		for (int part = 0; part < 3; part++) {
			addr = nm.items.items[i].addr + (nm.items.items[i].size - 1) * part / 2;
			at = nm_find(&nm, addr, i);
			assert_true(at < nm.items.cnt);
			if (!elf_symbols__find(symbols, addr, &function))
				fail_msg("%s: %s + %#llx not found", path, nm.items.items[i].name,
					 (unsigned long long)(addr - nm.items.items[i].addr));
			if (function.start != nm.items.items[at].addr ||
			    !nm_has(&nm, at, function.start, function.name))
				fail_msg("%s: %#llx: nm %s, here %s", path,
					 (unsigned long long)addr, nm.items.items[at].name,
					 function.name);
			compared++;
		}
	}
	print_message("%zu addresses of %s as nm says\n", compared, path);
	assert_true(nm.items.cnt >= least);
	elf_symbols__free(symbols);
	nm_free(&nm);
	close(fd);
}

static void built_programs_as_nm(void **state)
{
	static const char *const compilers[] = {"gcc", "clang"};
	static const char *const flags[] = {"-pie -fPIE", "-no-pie -fno-pie", "-static",
					    "-shared -fPIC"};
	char *path;

	(void)state;
	write_sample();
	for (size_t c = 0; c < 2; c++) {
		if (!have(compilers[c])) {
			print_message("without %s\n", compilers[c]);
			continue;
		}
		for (size_t f = 0; f < 4; f++) {
			assert_int_equal(
				shell("%s -O2 %s -o built sample.c", compilers[c], flags[f]), 0);
			path = in_dir("built");
			compare_with_nm(path, "", 8);
			free(path);
		}
	}
}

static void system_libraries_as_nm(void **state)
{
	static const char *const names[] = {"libc.so.6", "libstdc++.so.6", "libelf.so.1"};
	struct link_map *map;
	void *library;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		library = dlopen(names[i], RTLD_LAZY);
		if (!library)
			continue;
		assert_int_equal(dlinfo(library, RTLD_DI_LINKMAP, &map), 0);
		compare_with_nm(map->l_name, "-D", 50);
		dlclose(library);
	}
}

static struct elf_symbols *load_sample(const char *flags)
{
	struct elf_symbols *symbols;
	int fd;

	write_sample();
	assert_int_equal(shell("gcc -O2 %s -o sample sample.c", flags), 0);
	fd = open_in_dir("sample");
	assert_int_equal(elf_symbols__load(fd, "/sample", NO_DEBUG_ROOT, &symbols), 0);
	close(fd);
	return symbols;
}

/* The address that nm gives a symbol of the sample. */
static uint64_t address_of(const char *name)
{
	char *command = fmt("nm '%s/sample' | sed -n 's/ . %s$//p'", fixture_dir, name);
	unsigned long long addr = 0;
	FILE *pipe = popen(command, "re");

	assert_non_null(pipe);
	assert_int_equal(fscanf(pipe, "%llx", &addr), 1);
	pclose(pipe);
	free(command);
	return addr;
}

static void assert_function(const struct elf_symbols *symbols, uint64_t addr, const char *name,
			    const char *start_of)
{
	struct elf_function function;

	assert_true(elf_symbols__find(symbols, addr, &function));
	assert_string_equal(function.name, name);
	assert_true(function.start == address_of(start_of));
}

static void best_name_of_an_address(void **state)
{
	struct elf_symbols *symbols = load_sample("");
	struct elf_function function;

	(void)state;
	/*
	 * alias_fn, global_fn and __hidden_alias are global and equal: no underscore, then the
	 * shorter.
	 */
	assert_function(symbols, address_of("global_fn"), "alias_fn", "global_fn");
	assert_true(elf_symbols__find(symbols, address_of("local_one"), &function));
	assert_string_equal(function.name, "local_one");
	elf_symbols__free(symbols);
}

static void unsized_and_nested(void **state)
{
	struct elf_symbols *symbols = load_sample("");
	uint64_t unsized = address_of("asm_unsized"), outer = address_of("outer_fn");

	(void)state;
	assert_function(symbols, unsized, "asm_unsized", "asm_unsized");
	/* A label does not end a function without a size ... */
	assert_function(symbols, unsized + 3, "asm_unsized", "asm_unsized");
	assert_function(symbols, address_of("asm_bare") + 1, "asm_unsized", "asm_unsized");
	/* ... the next function does; and inside one with a size, labels say nothing. */
	assert_function(symbols, outer - 1, "asm_unsized", "asm_unsized");
	assert_function(symbols, outer + 1, "outer_fn", "outer_fn");
	assert_function(symbols, outer + 2, "inner_fn", "inner_fn");
	assert_function(symbols, outer + 3, "inner_fn", "inner_fn");
	assert_function(symbols, outer + 4, "outer_fn", "outer_fn");
	assert_function(symbols, outer + 5, "outer_fn", "outer_fn");
	elf_symbols__free(symbols);
}

static void bare_labels_cover_what_nothing_else_does(void **state)
{
	struct elf_symbols *symbols;
	int fd;

	(void)state;
	write_file("bare.s",
		   ".text\n.globl _start\nfirst: nop\nnop\nsecond: nop\n_start: ret\nnop\n");
	assert_int_equal(shell("gcc -nostdlib -static -o sample bare.s"), 0);
	fd = open_in_dir("sample");
	assert_int_equal(elf_symbols__load(fd, "/sample", NO_DEBUG_ROOT, &symbols), 0);
	close(fd);
	assert_function(symbols, address_of("first"), "first", "first");
	assert_function(symbols, address_of("first") + 1, "first", "first");
	assert_function(symbols, address_of("second"), "second", "second");
	assert_function(symbols, address_of("_start") + 1, "_start", "_start");
	elf_symbols__free(symbols);
}

static void offsets_become_addresses(void **state)
{
	static const char *const flags[] = {"-pie", "-no-pie", "-static"};
	struct elf_symbols *symbols;
	struct elf_function function;
	uint64_t addr, found, offset;
	unsigned int hits;

	(void)state;
	for (size_t f = 0; f < 3; f++) {
		symbols = load_sample(flags[f]);
		addr = address_of("weak_fn");
		hits = 0;
		/* The one offset that leads to the function's address. */
		for (offset = 0; offset < 4U << 20; offset++) {
			if (elf_symbols__address(symbols, offset, &found) && found == addr) {
				hits++;
				assert_true(offset % 4096 == addr % 4096);
				assert_true(elf_symbols__find(symbols, found, &function));
				assert_string_equal(function.name, "weak_fn");
			}
		}
		assert_int_equal(hits, 1);
		assert_false(elf_symbols__address(symbols, UINT64_MAX, &found));
		elf_symbols__free(symbols);
	}
}

struct segment_query {
	uint64_t runtime, offset;
	bool found;
};

static int query_segment(struct dl_phdr_info *info, size_t size, void *data)
{
	struct segment_query *query = data;
	uint64_t start;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		if (info->dlpi_phdr[i].p_type == PT_LOAD && query->runtime >= start &&
		    query->runtime - start < info->dlpi_phdr[i].p_filesz) {
			query->offset = query->runtime - start + info->dlpi_phdr[i].p_offset;
			query->found = true;
			return 1;
		}
	}
	return 0;
}

__attribute__((noinline, used)) static int a_function_of_this_test(int x)
{
	return x * 7;
}

static void this_process_as_the_linker_says(void **state)
{
	static const char *const names[] = {"malloc", "free",	  "calloc", "realloc",
					    "qsort",  "printf",	  "fopen",  "getline",
					    "strdup", "memalign", "puts"};
	struct segment_query query;
	struct elf_symbols *symbols;
	struct elf_function function;
	uint64_t addr, function_offset;
	Dl_info info;
	void *libc = dlopen("libc.so.6", RTLD_LAZY), *address;
	int fd;

	(void)state;
	assert_non_null(libc);
	address = dlsym(libc, "qsort");
	assert_int_not_equal(dladdr(address, &info), 0);
	fd = open_file(info.dli_fname);
	assert_int_equal(elf_symbols__load(fd, info.dli_fname, "/usr/lib/debug", &symbols), 0);
	close(fd);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		address = dlsym(libc, names[i]);
		assert_int_not_equal(dladdr(address, &info), 0);
		query = (struct segment_query){.runtime = (uintptr_t)address + 3};
		dl_iterate_phdr(query_segment, &query);
		assert_true(query.found);
		assert_true(elf_symbols__address(symbols, query.offset, &addr));
		assert_true(elf_symbols__find(symbols, addr, &function));
		function_offset = addr - function.start;
		assert_true(function_offset == query.runtime - (uintptr_t)info.dli_saddr);
		assert_int_equal(strcspn(function.name, "@"), strlen(names[i]));
		assert_memory_equal(function.name, names[i], strlen(names[i]));
	}
	elf_symbols__free(symbols);
	dlclose(libc);

	fd = open_file("/proc/self/exe");
	assert_int_equal(elf_symbols__load(fd, "/proc/self/exe", NO_DEBUG_ROOT, &symbols), 0);
	close(fd);
	query = (struct segment_query){.runtime = (uintptr_t)a_function_of_this_test + 1};
	dl_iterate_phdr(query_segment, &query);
	assert_true(query.found);
	assert_true(elf_symbols__address(symbols, query.offset, &addr));
	assert_true(elf_symbols__find(symbols, addr, &function));
	assert_string_equal(function.name, "a_function_of_this_test");
	elf_symbols__free(symbols);
	assert_int_equal(a_function_of_this_test(1), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(built_programs_as_nm),
		cmocka_unit_test(system_libraries_as_nm),
		cmocka_unit_test(best_name_of_an_address),
		cmocka_unit_test(unsized_and_nested),
		cmocka_unit_test(bare_labels_cover_what_nothing_else_does),
		cmocka_unit_test(offsets_become_addresses),
		cmocka_unit_test(this_process_as_the_linker_says),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
