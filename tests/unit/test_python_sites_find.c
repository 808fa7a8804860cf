/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The analysis in a child, what is kept of it, and what hostile files and hostile answers do. */
#include "unit/compile.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "include/python.h"
#include "python/site_cache.h"
#include "python/site_code.h"
#include "python/site_file.h"
#include "python/sites.h"
#include "util/regular_file.h"

static const uint8_t key[SIPHASH_BYTES] = {1, 2, 3}, fingerprint[SIPHASH_BYTES] = {4};

/* ---- helpers --------------------------------------------------------------------------------- */

static char *library; /* the small allocator and objects over it, compiled */

static int setup(void **state)
{
	if (make_work_dir(state))
		return -1;
	library = compile("gcc", "-shared -fPIC -O2 -DINLINED", "recycle.c");
	return 0;
}

static int teardown(void **state)
{
	free(library);
	return remove_work_dir(state);
}

static char *new_path(const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", work_dir, name) > 0);
	return path;
}

static struct python_sites analyse(int fd)
{
	struct python_sites sites;

	assert_int_equal(python_sites__analyse(fd, &sites), 0);
	return sites;
}

static void assert_same(const struct python_sites *a, const struct python_sites *b)
{
	assert_int_equal(a->sites.cnt, b->sites.cnt);
	for (size_t i = 0; i < a->sites.cnt; i++) {
		const struct python_site *x = &a->sites.items[i], *y = &b->sites.items[i];

		assert_int_equal(x->off, y->off);
		assert_int_equal(x->cookie, y->cookie);
		assert_int_equal(x->kind, y->kind);
		assert_int_equal(x->is_stepped, y->is_stepped);
	}
	assert_int_equal(a->alloc_cnt, b->alloc_cnt);
	assert_int_equal(a->free_cnt, b->free_cnt);
	assert_int_equal(a->new_pool_cnt, b->new_pool_cnt);
	assert_int_equal(a->new_init_cnt, b->new_init_cnt);
	assert_int_equal(a->renew_cnt, b->renew_cnt);
	assert_int_equal(a->stepped_cnt, b->stepped_cnt);
	assert_int_equal(a->refill_calls, b->refill_calls);
	assert_int_equal(a->verdict, b->verdict);
	assert_int_equal(a->pool_shift, b->pool_shift);
	assert_int_equal(a->alignment, b->alignment);
}

/* A copy of the library that can be changed, in memory. */
static int copy_library(void)
{
	int from = regular_file__open(library), to = memfd_create("copy", MFD_CLOEXEC);
	char buf[4096];
	ssize_t got;

	assert_true(from >= 0 && to >= 0);
	while ((got = read(from, buf, sizeof(buf))) > 0)
		assert_int_equal(write(to, buf, (size_t)got), got);
	close(from);
	return to;
}

/* Returns the owned path of the one file of sites in the directory. */
static char *kept_file(const char *dir)
{
	char *pattern, *path;
	glob_t found;

	assert_true(asprintf(&pattern, "%s/*.sites", dir) > 0);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	assert_int_equal(found.gl_pathc, 1);
	path = strdup(found.gl_pathv[0]);
	globfree(&found);
	free(pattern);
	return path;
}

static bool is_kept(const char *dir)
{
	char *pattern;
	glob_t found;
	int err;

	assert_true(asprintf(&pattern, "%s/*.sites", dir) > 0);
	err = glob(pattern, 0, NULL, &found);
	if (!err)
		globfree(&found);
	free(pattern);
	return !err;
}

/* ---- the cache ------------------------------------------------------------------------------- */

static void find_and_compare(int fd, const char *dir)
{
	struct python_sites wanted = analyse(fd), sites;

	assert_int_equal(python_sites__find(fd, dir, &sites), 0);
	assert_same(&wanted, &sites);
	python_sites__free(&wanted);
	python_sites__free(&sites);
}

static bool was_used(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mtim.tv_sec > 1000;
}

static void make_old(const char *path)
{
	const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_cache(void **state)
{
	int fd = copy_library();
	char *dir = new_path("cache"), *path;
	ino_t first;
	struct stat st;

	(void)state;
	find_and_compare(fd, NULL);
	find_and_compare(fd, dir);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	path = kept_file(dir);
	assert_int_equal(stat(path, &st), 0);
	first = st.st_ino;
	assert_int_equal(st.st_mode & 07777, 0600);
	make_old(path);
	find_and_compare(fd, dir);
	assert_true(was_used(path));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_ino, first);
	free(path);
	free(dir);
	close(fd);
}

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

/* Whatever happened to what was kept, it is made anew. */
static void test_damaged_cache(void **state)
{
	int fd = copy_library();
	char *dir = new_path("damaged"), *path;
	struct stat st;

	(void)state;
	find_and_compare(fd, dir);
	path = kept_file(dir);
	assert_int_equal(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at += 37) {
		flip(path, at);
		make_old(path);
		find_and_compare(fd, dir);
		assert_true(was_used(path));
	}
	assert_int_equal(truncate(path, st.st_size - 1), 0);
	find_and_compare(fd, dir);
	assert_int_equal(truncate(path, 0), 0);
	find_and_compare(fd, dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	find_and_compare(fd, dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	find_and_compare(fd, dir);
	free(path);
	free(dir);
	close(fd);
}

/* A result belongs to one content. */
static void test_changed_file(void **state)
{
	int fd = copy_library();
	char *dir = new_path("changed"), *first, *second;
	struct elf_image image;
	uint64_t off = 0;
	uint8_t byte = 0x90;

	(void)state;
	find_and_compare(fd, dir);
	first = kept_file(dir);
	assert_int_equal(elf_image__open(&image, fd, EM_X86_64), 0);
	for (size_t i = 0; i < image.segments.list.cnt; i++)
		if (image.segments.list.items[i].executable)
			off = image.segments.list.items[i].off + image.segments.list.items[i].size -
			      1;
	elf_image__close(&image);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
	second = new_path("changed/old");
	assert_int_equal(rename(first, second), 0);
	find_and_compare(fd, dir);
	free(first);
	first = kept_file(dir);
	/* Under the name of the other, it is not believed. */
	assert_int_equal(rename(second, first), 0);
	make_old(first);
	find_and_compare(fd, dir);
	assert_true(was_used(first));
	free(first);
	free(second);
	free(dir);
	close(fd);
}

/* Where others can write nothing is kept, and nothing is believed. */
static void test_unsafe_cache(void **state)
{
	char *dir = new_path("unsafe"), *file = new_path("file");
	int fd = copy_library();

	(void)state;
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	find_and_compare(fd, dir);
	assert_false(is_kept(dir));
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	find_and_compare(fd, file);
	find_and_compare(fd, "");
	free(dir);
	free(file);
	close(fd);
}

/* ---- what may be believed -------------------------------------------------------------------- */

struct subject {
	struct python_sites sites;
	struct elf_image image;
	int fd;
};

static struct subject make_subject(void)
{
	struct subject subject = {.fd = copy_library()};

	subject.sites = analyse(subject.fd);
	assert_int_equal(elf_image__open(&subject.image, subject.fd, EM_X86_64), 0);
	assert_true(subject.sites.sites.cnt > 4);
	return subject;
}

static void free_subject(struct subject *subject)
{
	python_sites__free(&subject->sites);
	elf_image__close(&subject->image);
	close(subject->fd);
}

#define REFUSED(change)                                                                            \
	do {                                                                                       \
		struct subject subject = make_subject();                                           \
		struct python_sites *s = &subject.sites;                                           \
		struct python_site *item = s->sites.items;                                         \
                                                                                                   \
		assert_true(python_sites__is_valid(s, &subject.image));                            \
		(void)item;                                                                        \
		change;                                                                            \
		assert_false(python_sites__is_valid(s, &subject.image));                           \
		free_subject(&subject);                                                            \
	} while (0)

static void test_validity(void **state)
{
	(void)state;
	REFUSED(item[0].off = item[1].off);
	REFUSED(item[0].off = 0);
	REFUSED(item[s->sites.cnt - 1].off = UINT64_MAX);
	REFUSED(item[s->sites.cnt - 1].off = subject.image.size - 1);
	REFUSED(item[0].is_stepped = !item[0].is_stepped; s->stepped_cnt = 0);
	REFUSED(item[0].kind = 0);
	REFUSED(item[0].kind = SITE_FREE + 1);
	REFUSED(item[0].kind = 255);
	REFUSED(item[0].cookie ^= 1ULL << 8);
	REFUSED(item[0].cookie ^= 1ULL << 16);
	REFUSED(item[0].cookie ^= 1ULL << 24);
	REFUSED(item[0].cookie ^= 1ULL << 5);
	REFUSED(item[0].cookie ^= 1ULL << 6);
	REFUSED(s->alloc_cnt++);
	REFUSED(s->free_cnt++);
	REFUSED(s->new_pool_cnt--);
	REFUSED(s->stepped_cnt++);
	REFUSED(s->refill_calls = s->alloc_cnt + 1U);
	REFUSED(s->pool_shift = 0);
	REFUSED(s->alignment = 0);
	REFUSED(s->alignment = 24);
	REFUSED(s->verdict = 0);
	REFUSED(s->verdict = SITES_NONE);
	REFUSED(s->sites.cnt = 0);
	REFUSED(s->sites.cnt--);
}

static void test_file_format(void **state)
{
	struct subject subject = make_subject();
	struct python_sites sites;
	uint8_t other[SIPHASH_BYTES] = {9};
	int fd = memfd_create("sites", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(site_file__write(fd, key, fingerprint, &subject.sites), 0);
	assert_int_equal(site_file__read(fd, key, fingerprint, &sites), 0);
	assert_same(&subject.sites, &sites);
	python_sites__free(&sites);
	assert_int_equal(site_file__read(fd, other, fingerprint, &sites), -EBADMSG);
	assert_int_equal(site_file__read(fd, key, other, &sites), -EBADMSG);
	assert_int_equal(ftruncate(fd, MAX_SITE_FILE + 1), 0);
	assert_int_equal(site_file__read(fd, key, fingerprint, &sites), -EBADMSG);
	close(fd);
	free_subject(&subject);
}

/* ---- hostile files --------------------------------------------------------------------------- */

static void test_no_file(void **state)
{
	struct python_sites sites;
	int fd = memfd_create("empty", MFD_CLOEXEC), dir = open("/", O_RDONLY | O_CLOEXEC);
	uint16_t machine = EM_AARCH64;

	(void)state;
	assert_int_equal(python_sites__find(fd, NULL, &sites), -ENOEXEC);
	assert_int_equal(python_sites__find(dir, NULL, &sites), -ENOEXEC);
	close(fd);
	close(dir);
	fd = copy_library();
	assert_int_equal(pwrite(fd, &machine, sizeof(machine), offsetof(Elf64_Ehdr, e_machine)),
			 sizeof(machine));
	assert_int_equal(python_sites__find(fd, NULL, &sites), -ENOTSUP);
	close(fd);
}

/* However the file is damaged, the answer is an error or sites that may be probed. */
static void check_damaged(int fd)
{
	struct python_sites sites;
	struct elf_image image;

	if (python_sites__analyse(fd, &sites))
		return;
	assert_int_equal(elf_image__open(&image, fd, EM_X86_64), 0);
	assert_true(python_sites__is_valid(&sites, &image));
	elf_image__close(&image);
	python_sites__free(&sites);
}

static void test_damaged_files(void **state)
{
	uint32_t seed = 7;

	(void)state;
	for (int round = 0; round < 300; round++) {
		int fd = copy_library();
		struct stat st;
		off_t range;

		assert_int_equal(fstat(fd, &st), 0);
		/* The headers half of the time; the code lies in the second page. */
		range = round % 2 ? 1024 : st.st_size;
		for (int i = 0; i < 12; i++) {
			uint8_t byte;

			seed = seed * 1664525 + 1013904223;
			byte = (uint8_t)(seed >> 24);
			assert_int_equal(pwrite(fd, &byte, 1, (off_t)(seed >> 4) % range), 1);
		}
		if (round % 5 == 0)
			assert_int_equal(ftruncate(fd, (off_t)(seed >> 3) % st.st_size), 0);
		check_damaged(fd);
		close(fd);
	}
}

/* A program of one segment with the code; `claimed` bytes of it, and so many more like it. */
static int make_code(const uint8_t *code, size_t len, uint64_t claimed, uint16_t segment_cnt)
{
	Elf64_Ehdr ehdr = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, 1},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_phoff = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = segment_cnt,
	};
	Elf64_Phdr phdr = {
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_X,
		.p_offset = 1 << 16,
		.p_filesz = claimed,
	};
	int fd = memfd_create("code", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)(phdr.p_offset + claimed)), 0);
	assert_int_equal(pwrite(fd, &ehdr, sizeof(ehdr), 0), sizeof(ehdr));
	for (uint16_t i = 0; i < segment_cnt; i++) {
		phdr.p_vaddr = (1ULL << 16) + i * claimed;
		assert_int_equal(
			pwrite(fd, &phdr, sizeof(phdr), (off_t)(sizeof(ehdr) + i * sizeof(phdr))),
			sizeof(phdr));
	}
	for (uint64_t at = 0; at + len <= claimed; at += len)
		assert_int_equal(pwrite(fd, code, len, (off_t)(phdr.p_offset + at)), len);
	return fd;
}

/* An allocation, and a jump to what follows. */
static const uint8_t alloc_code[] = {
	0x48, 0x8b, 0x47, 0x08, /* mov 0x8(%rdi),%rax */
	0x83, 0x07, 0x01,	/* addl $1,(%rdi) */
	0x48, 0x8b, 0x10,	/* mov (%rax),%rdx */
	0x48, 0x89, 0x57, 0x08, /* mov %rdx,0x8(%rdi) */
	0x48, 0x85, 0xd2,	/* test %rdx,%rdx */
	0x74, 0x00,		/* je */
	0xeb, 0x00,		/* jmp */
};

static void test_too_much(void **state)
{
	struct python_sites sites;
	int fd;

	(void)state;
	/* More than can be sites. */
	fd = make_code(alloc_code, sizeof(alloc_code), 400000, 1);
	assert_int_equal(python_sites__find(fd, NULL, &sites), -EBADMSG);
	close(fd);
	/* The same bytes at many addresses: one meaning. */
	fd = make_code(alloc_code, sizeof(alloc_code), sizeof(alloc_code) * 20, 100);
	assert_int_equal(python_sites__find(fd, NULL, &sites), 0);
	assert_int_equal(sites.verdict, SITES_NONE);
	close(fd);
	/* More than is looked at, all of it a hole. */
	fd = make_code(NULL, MAX_SITE_CODE + 1UL, MAX_SITE_CODE, 2);
	assert_int_equal(python_sites__find(fd, NULL, &sites), -EFBIG);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cache),	     cmocka_unit_test(test_damaged_cache),
		cmocka_unit_test(test_changed_file), cmocka_unit_test(test_unsafe_cache),
		cmocka_unit_test(test_validity),     cmocka_unit_test(test_file_format),
		cmocka_unit_test(test_no_file),	     cmocka_unit_test(test_damaged_files),
		cmocka_unit_test(test_too_much),
	};

#if !defined(__x86_64__)
	printf("skipped: the analyser knows x86-64\n");
	return 0;
#endif
	return cmocka_run_group_tests(tests, setup, teardown);
}
