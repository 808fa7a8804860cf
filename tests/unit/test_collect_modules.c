/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Build-ids as readelf sees them, on this host's files, on files linked for the purpose, and on what is left of them when
 * somebody has tampered; and that each file is opened once.
 */
#include "compile.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "collect/modules.h"

#define NO_SUCH_PID 0x3fffffff
#define MAX_ID_TEXT (2 * 32 + 1)

/* The mapping of a file, as if we had it mapped somewhere. */
static struct proc_map map_of(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		fail_msg("%s: %s", path, strerror(errno));
	return (struct proc_map){
		.start = 0x1000,
		.end = 0x2000,
		.dev = st.st_dev,
		.ino = st.st_ino,
		.executable = true,
		.path = (char *)path,
	};
}

static void to_text(const struct module *module, char text[static MAX_ID_TEXT])
{
	text[0] = '\0';
	assert_true(module->build_id_len <= 32);
	for (unsigned int i = 0; i < module->build_id_len; i++)
		sprintf(text + 2 * i, "%02x", module->build_id[i]);
}

/* Reads the build-id of one file through a table of its own. */
static void our_build_id(const char *path, char text[static MAX_ID_TEXT])
{
	struct module_table table = {0};
	struct proc_map map = map_of(path);
	uint32_t index = module_table__add(&table, getpid(), &map);

	assert_int_equal(index, 0);
	assert_true(table.modules.items[0].fd >= 0);
	assert_int_equal(table.modules.items[0].open_err, 0);
	assert_string_equal(table.modules.items[0].path, path);
	to_text(&table.modules.items[0], text);
	module_table__free(&table);
}

/* What `readelf -n` says, "" when it finds none. */
static void their_build_id(const char *path, char text[static MAX_ID_TEXT])
{
	static const char label[] = "Build ID: ";
	char *command, *line = NULL, *at;
	size_t cap = 0;
	FILE *pipe;

	assert_true(asprintf(&command, "LC_ALL=C readelf -n '%s' 2>&1", path) > 0);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	text[0] = '\0';
	while (getline(&line, &cap, pipe) > 0) {
		at = strstr(line, label);
		if (!at || *text)
			continue;
		at += strlen(label);
		at[strcspn(at, "\n")] = '\0';
		assert_true(strlen(at) < MAX_ID_TEXT);
		strcpy(text, at);
	}
	assert_int_equal(pclose(pipe), 0);
	free(line);
	free(command);
}

static void check_same(const char *path)
{
	char ours[MAX_ID_TEXT], theirs[MAX_ID_TEXT];

	our_build_id(path, ours);
	their_build_id(path, theirs);
	if (strcmp(ours, theirs))
		fail_msg("%s: '%s', but readelf says '%s'", path, ours, theirs);
}

static void test_own_mappings(void **state)
{
	struct module_table table = {0};
	struct proc_maps maps;
	char ours[MAX_ID_TEXT], theirs[MAX_ID_TEXT];
	size_t files = 0, with_id = 0;

	(void)state;
	assert_int_equal(proc_maps__read(getpid(), &maps), 0);
	for (size_t i = 0; i < maps.maps.cnt; i++) {
		const struct proc_map *map = &maps.maps.items[i];
		const struct module *module;
		uint32_t index;

		if (!map->executable)
			continue;
		index = module_table__add(&table, getpid(), map);
		assert_int_not_equal(index, MODULE_NONE);
		module = &table.modules.items[index];
		if (!map->ino) {
			assert_int_equal(module->fd, -1);
			assert_int_equal(module->build_id_len, 0);
			continue;
		}
		assert_int_equal(module_table__find(&table, map->dev, map->ino), index);
		assert_true(module->fd >= 0);
		to_text(module, ours);
		their_build_id(map->path, theirs);
		assert_string_equal(ours, theirs);
		files++;
		with_id += *ours != '\0';
	}
	proc_maps__free(&maps);
	module_table__free(&table);
	assert_true(files >= 3); /* ourselves, libc, its loader */
	assert_true(with_id >= 2);
}

static void test_kinds_of_build_id(void **state)
{
	static const char *const flags[] = {
		"-Wl,--build-id=sha1",
		"-Wl,--build-id=md5",
		"-Wl,--build-id=uuid",
		"-Wl,--build-id=0x0123456789abcdef",
		"-Wl,--build-id=0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"-Wl,--build-id=none",
		"-fcf-protection=full -Wl,--build-id=sha1",
		"-static -Wl,--build-id=sha1",
	};
	char text[MAX_ID_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		char *path, *words;

		assert_true(asprintf(&words, "-nostdlib -ffreestanding -shared %s", flags[i]) > 0);
		if (strstr(flags[i], "-static"))
			strcpy(words, flags[i]);
		path = compile("gcc", words, strstr(flags[i], "-static") ? "user.c" : "bare.c");
		check_same(path);
		free(words);
		free(path);
	}
	/* longer than there is room for: none rather than half of one */
	{
		char *path = compile("gcc",
				     "-nostdlib -ffreestanding -shared "
				     "-Wl,--build-id=0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
				     "bare.c");

		our_build_id(path, text);
		assert_string_equal(text, "");
		free(path);
	}
}

/* ---- files made by hand --------------------------------------------------------------------------------------- */

static char *write_file(const char *name, const void *data, size_t len)
{
	char *path;
	int fd;

	assert_true(asprintf(&path, "%s/%s", work_dir, name) > 0);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
	return path;
}

struct hand_made {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[2];
	unsigned char notes[256];
	size_t note_len;
};

static void begin_file(struct hand_made *file, uint64_t align)
{
	memset(file, 0, sizeof(*file));
	memcpy(file->ehdr.e_ident, ELFMAG, SELFMAG);
	file->ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	file->ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	file->ehdr.e_ident[EI_VERSION] = EV_CURRENT;
	file->ehdr.e_type = ET_DYN;
	file->ehdr.e_machine = EM_X86_64;
	file->ehdr.e_version = EV_CURRENT;
	file->ehdr.e_ehsize = sizeof(file->ehdr);
	file->ehdr.e_phoff = offsetof(struct hand_made, phdr);
	file->ehdr.e_phentsize = sizeof(Elf64_Phdr);
	file->ehdr.e_phnum = 2;
	file->phdr[0].p_type = PT_NULL;
	file->phdr[1].p_type = PT_NOTE;
	file->phdr[1].p_offset = offsetof(struct hand_made, notes);
	file->phdr[1].p_align = align;
}

static void add_note(struct hand_made *file, const char *name, uint32_t type, const void *desc, uint32_t len)
{
	Elf64_Nhdr note = {.n_namesz = strlen(name) + 1, .n_descsz = len, .n_type = type};
	size_t align = file->phdr[1].p_align == 8 ? 8 : 4, at = file->note_len;

	memcpy(file->notes + at, &note, sizeof(note));
	memcpy(file->notes + at + sizeof(note), name, note.n_namesz);
	at = (at + sizeof(note) + note.n_namesz + align - 1) / align * align;
	memcpy(file->notes + at, desc, len);
	file->note_len = (at + len + align - 1) / align * align;
	assert_true(file->note_len <= sizeof(file->notes));
	file->phdr[1].p_filesz = file->phdr[1].p_memsz = file->note_len;
}

static const unsigned char id[20] = {0xde, 0xad, 0xbe, 0xef, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
static const char id_text[] = "deadbeef05060708090a0b0c0d0e0f1011121314";

static void check_file(const struct hand_made *file, const char *want)
{
	char *path = write_file("hand-made", file, sizeof(*file));
	char text[MAX_ID_TEXT];

	our_build_id(path, text);
	assert_string_equal(text, want);
	free(path);
}

static void test_other_notes_before(void **state)
{
	static const uint64_t aligns[] = {0, 1, 4, 8};
	struct hand_made file;

	(void)state;
	for (size_t i = 0; i < sizeof(aligns) / sizeof(aligns[0]); i++) {
		begin_file(&file, aligns[i]);
		add_note(&file, "GNU", NT_GNU_ABI_TAG, id, 16);
		add_note(&file, "Company", 3, id, 13);
		add_note(&file, "Xen", 3, id, 20);
		add_note(&file, "Foo", NT_GNU_BUILD_ID, id + 1, 4);
		add_note(&file, "GNU", NT_GNU_BUILD_ID, id, 20);
		check_file(&file, id_text);
		if (aligns[i] >= 4) { /* readelf refuses others */
			char *path = write_file("hand-made", &file, sizeof(file));

			check_same(path);
			free(path);
		}
	}
}

static void test_broken_notes(void **state)
{
	struct hand_made file;
	Elf64_Nhdr *note = (Elf64_Nhdr *)file.notes;

	(void)state;
	begin_file(&file, 4);
	add_note(&file, "GNU", NT_GNU_BUILD_ID, id, 20);
	file.phdr[1].p_filesz--; /* reaches out of its segment */
	check_file(&file, "");
	file.phdr[1].p_filesz = 11;
	check_file(&file, "");
	file.phdr[1].p_filesz = 0;
	check_file(&file, "");
	file.phdr[1].p_filesz = UINT64_MAX;
	check_file(&file, "");
	file.phdr[1].p_filesz = 65536; /* more than the file has: what is there is good */
	check_file(&file, id_text);
	file.phdr[1].p_offset = UINT64_MAX - 8;
	check_file(&file, "");
	file.phdr[1].p_offset = INT64_MAX - 8;
	check_file(&file, "");

	begin_file(&file, 4);
	add_note(&file, "GNU", NT_GNU_BUILD_ID, id, 20);
	note->n_namesz = UINT32_MAX;
	check_file(&file, "");
	note->n_namesz = 4;
	note->n_descsz = UINT32_MAX;
	check_file(&file, "");
	note->n_descsz = 0;
	check_file(&file, "");
	note->n_descsz = 20;
	check_file(&file, id_text);
	file.ehdr.e_phoff = UINT64_MAX - 60;
	check_file(&file, "");
	begin_file(&file, 4);
	check_file(&file, "");
}

/* Notes without content, thousands of them in each of 128 segments, cost time but not much. */
static void test_endless_notes(void **state)
{
	size_t len = sizeof(Elf64_Ehdr) + 65536 * sizeof(Elf64_Phdr) + 65536;
	unsigned char *data = calloc(1, len);
	Elf64_Ehdr *ehdr = (Elf64_Ehdr *)data;
	Elf64_Phdr *phdr = (Elf64_Phdr *)(ehdr + 1);
	struct hand_made file;
	char text[MAX_ID_TEXT], *path;

	(void)state;
	assert_non_null(data);
	begin_file(&file, 4);
	*ehdr = file.ehdr;
	ehdr->e_phoff = sizeof(*ehdr);
	ehdr->e_phnum = UINT16_MAX;
	for (unsigned int i = 0; i < UINT16_MAX; i++) {
		phdr[i].p_type = PT_NOTE;
		phdr[i].p_offset = len - 65536;
		phdr[i].p_filesz = 65536;
	}
	path = write_file("endless", data, len);
	our_build_id(path, text);
	assert_string_equal(text, "");
	free(path);
	free(data);
}

/* ---- tampered copies ------------------------------------------------------------------------------------------- */

static unsigned char *read_file(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char *data;
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	data = malloc(st.st_size);
	assert_non_null(data);
	assert_int_equal(read(fd, data, st.st_size), st.st_size);
	close(fd);
	*ret_len = st.st_size;
	return data;
}

/* Returns whether the copy still has a build-id. */
static bool try_copy(const unsigned char *data, size_t len)
{
	char *path = write_file("copy", data, len);
	char text[MAX_ID_TEXT];

	our_build_id(path, text);
	free(path);
	return *text;
}

static void test_tampered_copies(void **state)
{
	char *path = compile("gcc", "-nostdlib -ffreestanding -shared -Wl,--build-id=sha1", "bare.c");
	unsigned int with_id = 0, without_id = 0;
	size_t len, head;
	unsigned char *data = read_file(path, &len);
	const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)data;

	(void)state;
	assert_true(try_copy(data, len));
	head = ehdr->e_phoff + ehdr->e_phnum * sizeof(Elf64_Phdr);
	assert_true(head < 1024 && len > 2048);
	for (size_t cut = 0; cut < 1024; cut++) {
		if (try_copy(data, cut))
			with_id++;
		else
			without_id++;
	}
	assert_true(with_id > 0 && without_id > head);
	/* notes follow the program headers here: flip all of both */
	for (size_t bit = 0; bit < (head + 256) * 8; bit++) {
		data[bit / 8] ^= 1 << bit % 8;
		try_copy(data, len < 4096 ? len : 4096);
		data[bit / 8] ^= 1 << bit % 8;
	}
	srandom(1);
	for (unsigned int i = 0; i < 2000; i++) {
		unsigned char *copy = malloc(head + 256);

		assert_non_null(copy);
		memcpy(copy, data, head + 256);
		for (unsigned int k = 0; k < 8; k++)
			copy[16 + random() % (head + 240)] = random();
		try_copy(copy, head + 256);
		free(copy);
	}
	free(data);
	free(path);
}

static void test_not_elf(void **state)
{
	static const char script[] = "#!/bin/sh\necho hello\n";
	char *path = write_file("script", script, sizeof(script) - 1), text[MAX_ID_TEXT];
	unsigned char elf32[sizeof(Elf64_Ehdr)] = {0x7f, 'E', 'L', 'F', ELFCLASS32};

	(void)state;
	our_build_id(path, text);
	assert_string_equal(text, "");
	free(path);
	path = write_file("empty", "", 0);
	our_build_id(path, text);
	assert_string_equal(text, "");
	free(path);
	path = write_file("elf32", elf32, sizeof(elf32));
	our_build_id(path, text);
	assert_string_equal(text, "");
	free(path);
}

/* ---- one file, one module ------------------------------------------------------------------------------------- */

static size_t open_files(void)
{
	size_t cnt = 0;

	for (int fd = 0; fd < 256; fd++)
		cnt += fcntl(fd, F_GETFD) >= 0;
	return cnt;
}

static void test_each_file_once(void **state)
{
	struct module_table table = {0};
	char *path = compile("gcc", "-nostdlib -ffreestanding -shared", "bare.c"), *link_path, *copy_path;
	struct proc_map map = map_of(path), link_map, copy_map;
	size_t before = open_files(), len;
	unsigned char *data;
	uint32_t first, copy;

	(void)state;
	first = module_table__add(&table, getpid(), &map);
	map.start += 0x10000; /* mapped again, elsewhere */
	map.off = 4096;
	assert_int_equal(module_table__add(&table, getpid(), &map), first);
	assert_true(asprintf(&link_path, "%s-link", path) > 0);
	assert_int_equal(link(path, link_path), 0);
	link_map = map_of(link_path);
	assert_int_equal(module_table__add(&table, getpid(), &link_map), first);
	assert_int_equal(open_files(), before + 1);
	data = read_file(path, &len);
	copy_path = write_file("same-content", data, len);
	free(data);
	copy_map = map_of(copy_path);
	copy = module_table__add(&table, getpid(), &copy_map);
	assert_int_not_equal(copy, first);
	assert_int_equal(table.modules.cnt, 2);
	assert_memory_equal(table.modules.items[first].build_id, table.modules.items[copy].build_id, 32);
	assert_int_equal(module_table__find(&table, map.dev, map.ino), first);
	assert_int_equal(module_table__find(&table, copy_map.dev, copy_map.ino), copy);
	assert_int_equal(module_table__find(&table, map.dev + 1, map.ino), MODULE_NONE);
	assert_int_equal(module_table__find(&table, 0, 0), MODULE_NONE);
	module_table__free(&table);
	assert_int_equal(open_files(), before);
	free(path);
	free(link_path);
	free(copy_path);
}

static void test_without_files(void **state)
{
	struct module_table table = {0};
	struct proc_map anon = {.path = (char *)""}, vdso = {.path = (char *)"[vdso]"};
	uint32_t index;

	(void)state;
	index = module_table__add(&table, getpid(), &anon);
	assert_string_equal(table.modules.items[index].path, "[anon]");
	assert_int_equal(table.modules.items[index].fd, -1);
	assert_int_equal(module_table__add(&table, getpid(), &vdso), index + 1);
	assert_int_equal(module_table__add(&table, NO_SUCH_PID, &vdso), index + 1);
	assert_int_equal(module_table__add(&table, NO_SUCH_PID, &anon), index);
	assert_int_equal(table.modules.cnt, 2);
	module_table__free(&table);
	module_table__free(&table);
}

/* The first process to show a file has gone before it could be opened; the next one still lives. */
static void test_second_chance(void **state)
{
	struct module_table table = {0};
	char *path = compile("gcc", "-nostdlib -ffreestanding -shared -Wl,--build-id=0xabcdef", "bare.c");
	struct proc_map map = map_of(path), gone = map;
	char text[MAX_ID_TEXT];
	uint32_t index;

	(void)state;
	gone.deleted = true; /* so that only the process itself has it */
	index = module_table__add(&table, NO_SUCH_PID, &gone);
	assert_int_equal(index, 0);
	assert_int_equal(table.modules.items[0].fd, -1);
	assert_true(table.modules.items[0].open_err < 0);
	assert_int_equal(module_table__add(&table, getpid(), &map), index);
	assert_true(table.modules.items[0].fd >= 0);
	assert_int_equal(table.modules.items[0].open_err, 0);
	to_text(&table.modules.items[0], text);
	assert_string_equal(text, "abcdef");
	module_table__free(&table);
	free(path);
}

/* Another file has taken the name since. */
static void test_replaced_file(void **state)
{
	struct module_table table = {0};
	char *path = write_file("replaced", "old", 3), *new_path;
	struct proc_map map = map_of(path);

	(void)state;
	new_path = write_file("replacement", "new", 3);
	assert_int_equal(rename(new_path, path), 0);
	assert_int_equal(module_table__add(&table, getpid(), &map), 0);
	assert_int_equal(table.modules.items[0].fd, -1);
	assert_true(table.modules.items[0].open_err < 0);
	module_table__free(&table);
	free(new_path);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_mappings),	cmocka_unit_test(test_kinds_of_build_id),
		cmocka_unit_test(test_other_notes_before), cmocka_unit_test(test_broken_notes),
		cmocka_unit_test(test_endless_notes),	cmocka_unit_test(test_tampered_copies),
		cmocka_unit_test(test_not_elf),		cmocka_unit_test(test_each_file_once),
		cmocka_unit_test(test_without_files),	cmocka_unit_test(test_second_chance),
		cmocka_unit_test(test_replaced_file),
	};

	return cmocka_run_group_tests_name("collect modules", tests, make_work_dir, remove_work_dir);
}
