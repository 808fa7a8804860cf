// SPDX-License-Identifier: GPL-2.0-or-later
/* The symbolizer over whole snapshots: reasons, caching, speed. */
#include "unit/symbolize_fixture.h"

#include <elf.h>
#include <sys/auxv.h>

#include "symbolize/symbolizer.h"

static void free_snapshot(struct snapshot *snap)
{
	array_free(&snap->modules);
	array_free(&snap->frames);
}

static uint32_t add_module(struct snapshot *snap, const char *path, int fd)
{
	struct snap_module module = {.path = (char *)path, .fd = fd};

	assert_int_equal(array_push(&snap->modules, module), 0);
	return (uint32_t)snap->modules.cnt - 1;
}

static void add_frame(struct snapshot *snap, uint32_t module, uint64_t offset)
{
	struct snap_frame frame = {.module = module, .kind = FRAME_NATIVE, .offset = offset};

	assert_int_equal(array_push(&snap->frames, frame), 0);
}

static struct symbol *resolve(struct symbolizer *symbolizer, const struct snapshot *snap)
{
	struct symbol *symbols = NULL;

	assert_int_equal(symbolizer__resolve(symbolizer, snap, &symbols), 0);
	assert_non_null(symbols);
	for (size_t i = 0; i < snap->frames.cnt; i++)
		assert_int_equal(symbols[i].function != NULL, symbols[i].reason == SYMBOL_FOUND);
	return symbols;
}

/*
 * File offset of a symbol of a file in the temporary folder: nm's address through readelf's
 * segments.
 */
static uint64_t offset_of(const char *file, const char *symbol, uint64_t *ret_size)
{
	char *command = fmt("cd '%s' && nm -S %s | sed -n 's/ . %s$//p';"
			    "cd '%s' && readelf -lW %s | sed -n 's/^ *LOAD *//p'",
			    fixture_dir, file, symbol, fixture_dir, file);
	unsigned long long addr, size, off, vaddr, paddr, filesz;
	uint64_t found = 0;
	FILE *pipe = popen(command, "re");
	char *line = NULL;
	size_t cap = 0;

	assert_non_null(pipe);
	assert_int_equal(fscanf(pipe, "%llx %llx ", &addr, &size), 2);
	while (getline(&line, &cap, pipe) > 0)
		if (sscanf(line, "%llx %llx %llx %llx", &off, &vaddr, &paddr, &filesz) == 4 &&
		    addr >= vaddr && addr - vaddr < filesz)
			found = addr - vaddr + off;
	pclose(pipe);
	free(line);
	free(command);
	*ret_size = size;
	return found;
}

static void build_cxx(void)
{
	write_file(
		"sample.cc",
		"#include <cstdlib>\n"
		"namespace shop { template <class T> struct Cart {\n"
		"  __attribute__((noinline)) T add(T x); };\n"
		"template <class T> T Cart<T>::add(T x) { return x + rand(); }\n"
		"template struct Cart<int>; }\n"
		"extern \"C\" __attribute__((noinline)) int plain(int x) { return x * rand(); }\n"
		"extern \"C\" __attribute__((noinline)) void dies() { abort(); }\n"
		"int main(int argc, char **) { if (argc > 9) dies();\n"
		"  return shop::Cart<int>().add(plain(argc)); }\n");
	assert_int_equal(shell("g++ -O2 -o cxx sample.cc"), 0);
}

static void names_and_offsets(void **state)
{
	struct symbolizer *symbolizer = symbolizer__new();
	struct snapshot snap = {0};
	uint64_t add, plain, dies, size, dies_size;
	struct symbol *symbols;
	int fd;

	(void)state;
	build_cxx();
	fd = open_in_dir("cxx");
	add_module(&snap, "/cxx", fd);
	add = offset_of("cxx", "_ZN4shop4CartIiE3addEi", &size);
	plain = offset_of("cxx", "plain", &size);
	dies = offset_of("cxx", "dies", &dies_size);
	add_frame(&snap, 0, add + 5);
	add_frame(&snap, 0, plain + size);
	/* The call of abort() ends the function: its return address lies behind it. */
	add_frame(&snap, 0, dies + dies_size);
	add_frame(&snap, 0, plain + 1);
	symbols = resolve(symbolizer, &snap);
	assert_string_equal(symbols[0].function, "shop::Cart<int>::add(int)");
	assert_int_equal(symbols[0].function_offset, 5);
	assert_string_equal(symbols[1].function, "plain");
	assert_int_equal(symbols[1].function_offset, size);
	assert_string_equal(symbols[2].function, "dies");
	assert_int_equal(symbols[2].function_offset, dies_size);
	assert_string_equal(symbols[3].function, "plain");
	assert_int_equal(symbols[3].function_offset, 1);
	assert_null(symbols[0].file);
	assert_int_equal(symbols[0].line, 0);
	free(symbols);
	free_snapshot(&snap);
	symbolizer__free(symbolizer);
	close(fd);
}

static void every_reason(void **state)
{
	struct symbolizer *symbolizer = symbolizer__new();
	struct snapshot snap = {0};
	struct symbol *symbols;
	int cxx, text, stripped;

	(void)state;
	build_cxx();
	write_file("text", "no ELF file");
	assert_int_equal(shell("g++ -static -s -o stripped sample.cc -Wl,--build-id=none"), 0);
	cxx = open_in_dir("cxx");
	text = open_in_dir("text");
	stripped = open_in_dir("stripped");
	add_frame(&snap, SNAP_NONE, 0x1234);
	add_frame(&snap, 77, 0x1234);
	add_frame(&snap, add_module(&snap, "[unknown]", -1), 0x1234);
	add_frame(&snap, add_module(&snap, "[anon]", -1), 0x1234);
	add_frame(&snap, add_module(&snap, "[heap]", -1), 0x1234);
	add_frame(&snap, add_module(&snap, "/gone", -1), 0x1234);
	add_frame(&snap, add_module(&snap, "/closed", 1 << 20), 0x1234);
	add_frame(&snap, add_module(&snap, "/text", text), 0x1234);
	add_frame(&snap, add_module(&snap, "/stripped", stripped), 0x1500);
	add_frame(&snap, add_module(&snap, "/cxx", cxx), 0);
	add_frame(&snap, (uint32_t)snap.modules.cnt - 1, 2);
	add_frame(&snap, (uint32_t)snap.modules.cnt - 1, UINT64_MAX);
	add_frame(&snap, (uint32_t)snap.modules.cnt - 1, 0);
	snap.frames.items[12].kind = FRAME_PYTHON;
	symbols = resolve(symbolizer, &snap);
	assert_int_equal(symbols[0].reason, SYMBOL_NO_MODULE);
	assert_int_equal(symbols[1].reason, SYMBOL_NO_MODULE);
	assert_int_equal(symbols[2].reason, SYMBOL_NO_MODULE);
	assert_int_equal(symbols[3].reason, SYMBOL_ANONYMOUS);
	assert_int_equal(symbols[4].reason, SYMBOL_ANONYMOUS);
	assert_int_equal(symbols[5].reason, SYMBOL_UNREADABLE);
	assert_int_equal(symbols[6].reason, SYMBOL_UNREADABLE);
	assert_int_equal(symbols[7].reason, SYMBOL_UNREADABLE);
	assert_int_equal(symbols[8].reason, SYMBOL_STRIPPED);
	for (size_t i = 9; i < 12; i++)
		assert_int_equal(symbols[i].reason, SYMBOL_GAP);
	assert_int_equal(symbols[12].reason, SYMBOL_LOST);
	for (int reason = SYMBOL_FOUND; reason <= SYMBOL_LOST; reason++)
		assert_true(strlen(symbol_reason__text((enum symbol_reason)reason)) > 3);
	free(symbols);
	free_snapshot(&snap);
	symbolizer__free(symbolizer);
	symbolizer__free(NULL);
	close(cxx);
	close(text);
	close(stripped);
}

/* A Python frame has its name in the snapshot, whatever modules there are. */
static void python_frames(void **state)
{
	struct symbolizer *symbolizer = symbolizer__new();
	struct snapshot *snap = snapshot__new("trace");
	struct symbol *symbols;
	uint32_t store, odd;

	(void)state;
	store = snapshot__add_code(snap, "app/cache.py", "Cache.store", 40);
	odd = snapshot__add_code(snap, "?", "?", 0);
	snapshot__add_frame(snap, FRAME_PYTHON, store, 42);
	snapshot__add_frame(snap, FRAME_PYTHON, store, 0);
	snapshot__add_frame(snap, FRAME_PYTHON, store, 1ULL << 32);
	snapshot__add_frame(snap, FRAME_PYTHON, odd, 7);
	snapshot__add_frame(snap, FRAME_PYTHON, SNAP_NONE, 7);
	snapshot__add_frame(snap, FRAME_NATIVE, SNAP_NONE, 7);
	symbols = resolve(symbolizer, snap);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(symbols[i].function, "Cache.store");
		assert_string_equal(symbols[i].file, "app/cache.py");
		assert_int_equal(symbols[i].line, i ? 0 : 42);
		assert_int_equal(symbols[i].reason, SYMBOL_FOUND);
		assert_int_equal(symbols[i].line_reason, i ? LINE_GAP : LINE_FOUND);
		assert_int_equal(symbols[i].inline_cnt, 0);
	}
	assert_string_equal(symbols[3].function, "?");
	assert_null(symbols[3].file);
	assert_null(symbols[4].function);
	assert_int_equal(symbols[4].reason, SYMBOL_LOST);
	assert_int_equal(symbols[5].reason, SYMBOL_NO_MODULE);
	free(symbols);
	snapshot__free(snap);
	symbolizer__free(symbolizer);
}

static void an_empty_snapshot(void **state)
{
	struct symbolizer *symbolizer = symbolizer__new();
	struct snapshot snap = {0};

	(void)state;
	free(resolve(symbolizer, &snap));
	symbolizer__free(symbolizer);
}

/*
 * Two processes and two snapshots share a table; a replaced file gets its own; old answers stay
 * valid.
 */
static void files_are_told_apart(void **state)
{
	struct symbolizer *symbolizer = symbolizer__new();
	struct snapshot snap = {0}, later = {0};
	struct symbol *first, *second;
	uint64_t plain, size;
	const char *name;
	int fds[3];

	(void)state;
	build_cxx();
	plain = offset_of("cxx", "plain", &size);
	fds[0] = open_in_dir("cxx");
	fds[1] = open_in_dir("cxx");
	add_frame(&snap, add_module(&snap, "/a", fds[0]), plain + 1);
	add_frame(&snap, add_module(&snap, "/b", fds[1]), plain + 1);
	first = resolve(symbolizer, &snap);
	name = first[0].function;
	assert_string_equal(name, "plain");
	assert_ptr_equal(first[1].function, name);
	/* Rewritten in place: same inode, other contents. */
	assert_int_equal(shell("sed -i 's/plain/other/g' sample.cc && g++ -O2 -o new sample.cc && "
			       "cat new > cxx"),
			 0);
	fds[2] = open_in_dir("cxx");
	add_frame(&later, add_module(&later, "/c", fds[2]), offset_of("cxx", "other", &size) + 1);
	second = resolve(symbolizer, &later);
	assert_string_equal(second[0].function, "other");
	assert_string_equal(name, "plain");
	free(second);
	second = resolve(symbolizer, &later);
	assert_string_equal(second[0].function, "other");
	free(first);
	free(second);
	free_snapshot(&snap);
	free_snapshot(&later);
	symbolizer__free(symbolizer);
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
}

static void hostile_names_come_out_clean(void **state)
{
	struct symbolizer *symbolizer = symbolizer__new();
	struct snapshot snap = {0};
	struct symbol *symbols;
	uint64_t plain, size;
	int fd;

	(void)state;
	build_cxx();
	plain = offset_of("cxx", "plain", &size);
	assert_int_equal(
		shell("objcopy --redefine-sym plain=\"$(printf 'pl\\033[2J\\377in')\" cxx"), 0);
	fd = open_in_dir("cxx");
	add_frame(&snap, add_module(&snap, "/cxx", fd), plain + 1);
	symbols = resolve(symbolizer, &snap);
	assert_string_equal(symbols[0].function, "pl?[2J?in");
	free(symbols);
	free_snapshot(&snap);
	symbolizer__free(symbolizer);
	close(fd);
}

static void the_vdso(void **state)
{
	struct symbolizer *symbolizer = symbolizer__new();
	const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	struct snapshot snap = {0};
	struct symbol *symbols;
	size_t found = 0;

	(void)state;
	if (!image) {
		symbolizer__free(symbolizer);
		skip();
	}
	add_module(&snap, "[vdso]", -1);
	for (uint64_t offset = 1; offset < 4096; offset++)
		add_frame(&snap, 0, offset);
	add_frame(&snap, 0, (uintptr_t)image + 0x700);
	symbols = resolve(symbolizer, &snap);
	for (size_t i = 0; i < snap.frames.cnt; i++)
		found += symbols[i].reason == SYMBOL_FOUND;
	print_message("%zu of 4095 offsets lie in functions of the vdso\n", found);
	assert_true(found > 0);
	/* An address instead of an offset is no place in it. */
	assert_int_equal(symbols[4095].reason, SYMBOL_GAP);
	free(symbols);
	free_snapshot(&snap);
	symbolizer__free(symbolizer);
}

/* Executable file range of an ELF file; returns false when it is none. */
static bool code_range(int fd, uint64_t *ret_off, uint64_t *ret_len)
{
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr;

	if (pread(fd, &ehdr, sizeof(ehdr), 0) != sizeof(ehdr) ||
	    memcmp(ehdr.e_ident, ELFMAG, SELFMAG))
		return false;
	for (unsigned int i = 0; i < ehdr.e_phnum; i++) {
		if (pread(fd, &phdr, sizeof(phdr), (off_t)(ehdr.e_phoff + i * sizeof(phdr))) !=
		    sizeof(phdr))
			return false;
		if (phdr.p_type == PT_LOAD && (phdr.p_flags & PF_X) && phdr.p_filesz > 4096) {
			*ret_off = phdr.p_offset;
			*ret_len = phdr.p_filesz;
			return true;
		}
	}
	return false;
}

/* The libraries that lie beside libc, the biggest ones among them. */
static void add_system_libraries(struct snapshot *snap, char **paths, size_t max)
{
	char *command = strdup("ls -LS \"$(dirname \"$(ldd /bin/sh | sed -n 's/.*=> \\(.*libc[^ "
			       "]*\\).*/\\1/p')\")\""
			       "/*.so.* | awk 'NR <= 10 || NR % 7 == 0'");
	FILE *pipe = popen(command, "re");
	uint64_t off, len;
	size_t cap, cnt = 0;
	ssize_t got;
	int fd;

	assert_non_null(pipe);
	while (cnt < max) {
		paths[cnt] = NULL;
		cap = 0;
		got = getline(&paths[cnt], &cap, pipe);
		if (got <= 0) {
			free(paths[cnt]);
			break;
		}
		paths[cnt][got - 1] = '\0';
		fd = open_file(paths[cnt]);
		if (code_range(fd, &off, &len)) {
			add_module(snap, paths[cnt++], fd);
			continue;
		}
		free(paths[cnt]);
		close(fd);
	}
	while (fgetc(pipe) != EOF)
		;
	pclose(pipe);
	free(command);
}

static void ten_thousand_frames(void **state)
{
	struct symbolizer *symbolizer = symbolizer__new();
	size_t counts[SYMBOL_GAP + 1] = {0}, cnt;
	struct snapshot snap = {0};
	struct symbol *symbols;
	double cold, warm, began;
	uint64_t off, len;
	char *paths[40];
	off_t size, biggest = 0;

	(void)state;
	add_system_libraries(&snap, paths, 40);
	cnt = snap.modules.cnt;
	assert_true(cnt > 0);
	for (size_t i = 0; i < 10000; i++) {
		assert_true(code_range(snap.modules.items[i % cnt].fd, &off, &len));
		add_frame(&snap, (uint32_t)(i % cnt), off + 1 + (i * 2654435761U) % len);
	}
	began = now_seconds();
	symbols = resolve(symbolizer, &snap);
	cold = now_seconds() - began;
	for (size_t i = 0; i < snap.frames.cnt; i++)
		counts[symbols[i].reason]++;
	free(symbols);
	began = now_seconds();
	symbols = resolve(symbolizer, &snap);
	warm = now_seconds() - began;
	free(symbols);
	for (size_t i = 0; i < cnt; i++) {
		size = lseek(snap.modules.items[i].fd, 0, SEEK_END);
		if (size > biggest)
			biggest = size;
		close(snap.modules.items[i].fd);
		free(paths[i]);
	}
	print_message("10000 frames, %zu modules (biggest %lld MB): cold %.3f s, again %.4f s;"
		      " %zu found, %zu in gaps, %zu stripped\n",
		      cnt, (long long)biggest >> 20, cold, warm, counts[SYMBOL_FOUND],
		      counts[SYMBOL_GAP], counts[SYMBOL_STRIPPED]);
	assert_true(counts[SYMBOL_FOUND] > 0);
	assert_true(cold < 30 && warm < 5);
	free_snapshot(&snap);
	symbolizer__free(symbolizer);
}

/* A cold start with nothing but one huge symbol table. */
static void ten_thousand_frames_of_one_library(void **state)
{
	struct symbolizer *symbolizer = symbolizer__new();
	struct snapshot snap = {0}, all = {0};
	double began = 0, cold, warm;
	struct symbol *symbols;
	uint64_t off, len;
	char *paths[40];
	size_t cnt, big = 0;
	off_t size, biggest = 0;

	(void)state;
	add_system_libraries(&all, paths, 40);
	cnt = all.modules.cnt;
	for (size_t i = 0; i < cnt; i++) {
		size = lseek(all.modules.items[i].fd, 0, SEEK_END);
		if (size > biggest) {
			biggest = size;
			big = i;
		}
	}
	add_module(&snap, paths[big], all.modules.items[big].fd);
	assert_true(code_range(snap.modules.items[0].fd, &off, &len));
	for (size_t i = 0; i < 10000; i++)
		add_frame(&snap, 0, off + 1 + (i * 2654435761U) % len);
	began = now_seconds();
	symbols = resolve(symbolizer, &snap);
	cold = now_seconds() - began;
	free(symbols);
	began = now_seconds();
	symbols = resolve(symbolizer, &snap);
	warm = now_seconds() - began;
	free(symbols);
	print_message("10000 frames of %s: cold %.3f s, again %.4f s\n", paths[big], cold, warm);
	assert_true(cold < 20 && warm < 2);
	for (size_t i = 0; i < cnt; i++) {
		close(all.modules.items[i].fd);
		free(paths[i]);
	}
	free_snapshot(&snap);
	free_snapshot(&all);
	symbolizer__free(symbolizer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_offsets),
		cmocka_unit_test(every_reason),
		cmocka_unit_test(python_frames),
		cmocka_unit_test(an_empty_snapshot),
		cmocka_unit_test(files_are_told_apart),
		cmocka_unit_test(hostile_names_come_out_clean),
		cmocka_unit_test(the_vdso),
		cmocka_unit_test(ten_thousand_frames),
		cmocka_unit_test(ten_thousand_frames_of_one_library),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
