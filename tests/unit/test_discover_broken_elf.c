/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files without sections, truncated, overwritten, boundless: an error or a sound answer, soon, and
 * no crash. */
#include "unit/allocs.h"

#include <elf.h>
#include <sys/stat.h>
#include <time.h>

static int read_error(const char *path)
{
	struct elf_allocs allocs;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err;

	assert_true(fd >= 0);
	err = elf_allocs__read(fd, &no_opts, &allocs);
	close(fd);
	if (!err)
		elf_allocs__free(&allocs);
	return err;
}

static uint8_t *load_file(const char *path, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *bytes;

	assert_int_equal(fstat(fd, &st), 0);
	bytes = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_size = (size_t)st.st_size;
	return bytes;
}

/* A file in memory with those bytes. */
static int memory_file(const uint8_t *bytes, size_t size)
{
	char *path;
	int fd;

	assert_true(asprintf(&path, "%s/victim", work_dir) > 0);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	free(path);
	return fd;
}

static void check_same_sites(const struct elf_allocs *a, const struct elf_allocs *b)
{
	assert_int_equal(a->sites.cnt, b->sites.cnt);
	for (size_t i = 0; i < a->sites.cnt; i++) {
		assert_string_equal(a->sites.items[i].symbol, b->sites.items[i].symbol);
		assert_int_equal(a->sites.items[i].probe_off, b->sites.items[i].probe_off);
		assert_int_equal(a->sites.items[i].cookie, b->sites.items[i].cookie);
	}
	assert_string_equal(a->allocator, b->allocator);
}

/* Without its section headers a library is still what it was: the dynamic segment tells. */
static void check_without_sections(const char *path)
{
	struct elf_allocs with = read_allocs(path), without;
	size_t size;
	uint8_t *bytes = load_file(path, &size);
	Elf64_Ehdr *ehdr = (Elf64_Ehdr *)bytes;
	int fd;

	ehdr->e_shoff = 0;
	ehdr->e_shnum = 0;
	ehdr->e_shstrndx = 0;
	fd = memory_file(bytes, size);
	assert_int_equal(elf_allocs__read(fd, &no_opts, &without), 0);
	check_same_sites(&with, &without);
	elf_allocs__free(&without);
	elf_allocs__free(&with);
	close(fd);
	free(bytes);
}

static void test_without_sections(void **state)
{
	char *path = loaded_library("/libc.so");

	(void)state;
	check_without_sections(path);
	free(path);
	path = compile("gcc", "-O2 -fno-builtin -shared -fPIC -Wl,--hash-style=sysv -s", "pool.c");
	check_without_sections(path);
	free(path);
	path = compile("gcc", "-O2 -fno-builtin -shared -fPIC -Wl,--hash-style=gnu -s", "pool.c");
	check_without_sections(path);
	free(path);
}

static void test_not_elf(void **state)
{
	static const uint8_t script[] = "#!/bin/sh\nexit 0\n";
	size_t size;
	uint8_t *bytes = load_file("/proc/self/exe", &size);
	Elf64_Ehdr *ehdr = (Elf64_Ehdr *)bytes;
	struct elf_allocs allocs;
	int fd = memory_file(script, sizeof(script)), null;

	(void)state;
	assert_int_equal(elf_allocs__read(fd, &no_opts, &allocs), -ENOEXEC);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(elf_allocs__read(fd, &no_opts, &allocs), -ENOEXEC);
	close(fd);
	assert_int_equal(read_error(work_dir), -ENOEXEC);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(elf_allocs__read(null, &no_opts, &allocs), -ENOEXEC);
	close(null);
	assert_int_equal(elf_allocs__read(-1, &no_opts, &allocs), -EBADF);

	ehdr->e_ident[EI_CLASS] = ELFCLASS32;
	fd = memory_file(bytes, 4096);
	assert_int_equal(elf_allocs__read(fd, &no_opts, &allocs), -ENOTSUP);
	close(fd);
	ehdr->e_ident[EI_CLASS] = ELFCLASS64;
	ehdr->e_machine = EM_S390;
	fd = memory_file(bytes, 4096);
	assert_int_equal(elf_allocs__read(fd, &no_opts, &allocs), -ENOTSUP);
	close(fd);
	fd = memory_file(bytes, 10);
	assert_int_equal(elf_allocs__read(fd, &no_opts, &allocs), -EBADMSG);
	close(fd);
	free(bytes);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

/* Reads whatever it is: an error or something that holds together, and soon. */
static void read_hostile(int fd, uint64_t size)
{
	static const struct elf_allocs_opts prefixed = {.prefix = "je_"};
	uint64_t begin = now_ns();
	struct elf_allocs allocs;
	int err = elf_allocs__read(fd, &prefixed, &allocs);

	if (!err) {
		check_sites(&allocs, size);
		elf_allocs__free(&allocs);
	} else if (err != -ENOEXEC && err != -ENOTSUP && err != -EBADMSG) {
		fail_msg("error %d", err);
	}
	assert_true(now_ns() - begin < 20000000000ULL);
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void check_truncated(const char *path)
{
	uint64_t seed = 20261121;
	size_t size;
	uint8_t *bytes = load_file(path, &size);
	int fd = memory_file(bytes, size);

	/* Downwards: the file never has to be written again. */
	for (int round = 400; round > 0; round--) {
		uint64_t len = size / 400 * (uint64_t)round - next_random(&seed) % 64;

		assert_int_equal(ftruncate(fd, (off_t)len), 0);
		read_hostile(fd, len);
	}
	for (int len = 1100; len >= 0; len -= 3) {
		assert_int_equal(ftruncate(fd, len), 0);
		read_hostile(fd, (uint64_t)len);
	}
	close(fd);
	free(bytes);
}

static void test_truncated(void **state)
{
	char *path = loaded_library("/libc.so");

	(void)state;
	check_truncated(path);
	free(path);
	path = compile("gcc", "-O2 -static", "user.c");
	check_truncated(path);
	free(path);
}

/* The places of a file that steer the reader: headers, segments' first bytes, tables. */
static size_t list_targets(const uint8_t *bytes, size_t size, uint64_t (*ret)[2], size_t cap)
{
	const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)bytes;
	size_t cnt = 0;

	ret[cnt][0] = 0;
	ret[cnt++][1] = sizeof(*ehdr) + ehdr->e_phnum * sizeof(Elf64_Phdr);
	ret[cnt][0] = ehdr->e_shoff;
	ret[cnt++][1] = ehdr->e_shnum * sizeof(Elf64_Shdr);
	for (size_t i = 0; i < ehdr->e_shnum && cnt < cap; i++) {
		Elf64_Shdr shdr;

		memcpy(&shdr, bytes + ehdr->e_shoff + i * sizeof(shdr), sizeof(shdr));
		if (shdr.sh_type != SHT_DYNSYM && shdr.sh_type != SHT_STRTAB &&
		    shdr.sh_type != SHT_SYMTAB && shdr.sh_type != SHT_DYNAMIC &&
		    shdr.sh_type != SHT_GNU_HASH && shdr.sh_type != SHT_NOTE &&
		    shdr.sh_type != SHT_RELA)
			continue;
		ret[cnt][0] = shdr.sh_offset;
		ret[cnt++][1] = shdr.sh_size < 65536 ? shdr.sh_size : 65536;
	}
	(void)size;
	return cnt;
}

/*
 * Overwrites one place after another (1 to 8 bytes, more than one at times), reads, and puts it
 * right again.
 */
static void check_flipped(const char *path, bool drop_sections, int rounds)
{
	static const uint64_t nasty[] = {0,	     1,		 UINT64_MAX, INT64_MAX,
					 1ULL << 63, 0x7fffffff, 0xffffffff, 0xfffffffffffff000};
	uint64_t seed = 4711 + drop_sections, targets[64][2];
	size_t size, target_cnt;
	uint8_t *bytes = load_file(path, &size);
	Elf64_Ehdr *ehdr = (Elf64_Ehdr *)bytes;
	int fd;

	target_cnt = list_targets(bytes, size, targets, 64);
	if (drop_sections)
		ehdr->e_shoff = ehdr->e_shnum = 0;
	fd = memory_file(bytes, size);
	for (int round = 0; round < rounds; round++) {
		uint64_t offs[3];
		size_t cnt = 1 + next_random(&seed) % 3;

		for (size_t i = 0; i < cnt; i++) {
			const uint64_t *range = targets[next_random(&seed) % target_cnt];
			uint64_t value = next_random(&seed) % 2 ? nasty[next_random(&seed) % 8]
								: next_random(&seed);
			size_t len = (size_t)1 << next_random(&seed) % 4;

			offs[i] = range[1] && round % 8 ? range[0] + next_random(&seed) % range[1]
							: next_random(&seed) % size;
			offs[i] = offs[i] > size - 8 ? size - 8 : offs[i] & ~(uint64_t)(len - 1);
			assert_int_equal(pwrite(fd, &value, len, (off_t)offs[i]), len);
		}
		read_hostile(fd, size);
		for (size_t i = 0; i < cnt; i++)
			assert_int_equal(pwrite(fd, bytes + offs[i], 8, (off_t)offs[i]), 8);
	}
	close(fd);
	free(bytes);
}

static void test_flipped(void **state)
{
	char *path = loaded_library("/libc.so");

	(void)state;
	check_flipped(path, false, 3000);
	check_flipped(path, true, 3000);
	free(path);
	path = compile("gcc", "-O2 -static", "user.c");
	check_flipped(path, false, 2000);
	free(path);
	path = installed("libmimalloc.so.2.0");
	check_flipped(path, false, 1500);
	free(path);
}

/*
 * String tables that end within a name, and notes that end within their header: nothing behind the
 * end is read.
 */
static void test_cut_tables(void **state)
{
	size_t size;
	char *path = compile("gcc", "-O2 -fno-builtin -shared -fPIC", "pool.c");
	uint8_t *bytes = load_file(path, &size);
	Elf64_Ehdr *ehdr = (Elf64_Ehdr *)bytes;
	int fd = memory_file(bytes, size);

	(void)state;
	for (size_t i = 0; i < ehdr->e_shnum; i++) {
		uint64_t at = ehdr->e_shoff + i * sizeof(Elf64_Shdr),
			 off = at + offsetof(Elf64_Shdr, sh_size), full;
		Elf64_Shdr shdr;

		memcpy(&shdr, bytes + at, sizeof(shdr));
		full = shdr.sh_type == SHT_STRTAB ? shdr.sh_size : 0;
		for (uint64_t len = 0; len < full; len++) {
			assert_int_equal(pwrite(fd, &len, sizeof(len), (off_t)off), sizeof(len));
			read_hostile(fd, size);
		}
		assert_int_equal(pwrite(fd, bytes + off, 8, (off_t)off), 8);
	}
	for (size_t i = 0; i < ehdr->e_phnum; i++) {
		uint64_t at = ehdr->e_phoff + i * sizeof(Elf64_Phdr),
			 off = at + offsetof(Elf64_Phdr, p_filesz);
		Elf64_Phdr phdr;

		memcpy(&phdr, bytes + at, sizeof(phdr));
		for (uint64_t len = 0; phdr.p_type == PT_NOTE && len < phdr.p_filesz; len++) {
			assert_int_equal(pwrite(fd, &len, sizeof(len), (off_t)off), sizeof(len));
			read_hostile(fd, size);
		}
		assert_int_equal(pwrite(fd, bytes + off, 8, (off_t)off), 8);
	}
	close(fd);
	free(bytes);
	free(path);
}

/*
 * Headers that claim huge tables, in a sparse file of a terabyte where they do exist: read within
 * bounds.
 */
static void test_sparse(void **state)
{
	size_t size, strings = 0;
	char *path = loaded_library("/libc.so");
	uint8_t *bytes = load_file(path, &size);
	Elf64_Ehdr *ehdr = (Elf64_Ehdr *)bytes;
	Elf64_Shdr shdr;
	int fd;

	(void)state;
	for (size_t i = 0; i < ehdr->e_shnum; i++) {
		uint8_t *at = bytes + ehdr->e_shoff + i * sizeof(shdr);

		memcpy(&shdr, at, sizeof(shdr));
		if (shdr.sh_type == SHT_STRTAB && shdr.sh_flags & SHF_ALLOC) {
			strings = i;
			shdr.sh_size = 1ULL << 39;
		} else if (shdr.sh_type == SHT_PROGBITS || shdr.sh_type == SHT_NOBITS) {
			shdr.sh_type = SHT_SYMTAB;
			shdr.sh_link = (uint32_t)strings;
			shdr.sh_size = 1ULL << 39;
		}
		memcpy(at, &shdr, sizeof(shdr));
	}
	assert_int_not_equal(strings, 0);
	fd = memory_file(bytes, size);
	if (ftruncate(fd, 1LL << 40))
		fail_msg("no sparse file of a terabyte in %s", work_dir);
	read_hostile(fd, 1ULL << 40);
	close(fd);

	/* Extended numbering: the count of sections stands in the first of them. */
	ehdr->e_shoff = 1 << 20;
	ehdr->e_shnum = 0;
	fd = memory_file(bytes, size);
	assert_int_equal(ftruncate(fd, 1LL << 40), 0);
	read_hostile(fd, 1ULL << 40);
	close(fd);
	free(bytes);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_sections), cmocka_unit_test(test_not_elf),
		cmocka_unit_test(test_truncated),	 cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_cut_tables),	 cmocka_unit_test(test_sparse),
	};

	return cmocka_run_group_tests_name("discover broken ELF files", tests, make_work_dir,
					   remove_work_dir);
}
