/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit/compile.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>

#include "discover/alloc_names.h"
#include "discover/elf_allocs.h"

static const struct elf_allocs_opts no_opts;

static struct elf_allocs read_with(const char *path, const struct elf_allocs_opts *opts)
{
	struct elf_allocs allocs;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	err = elf_allocs__read(fd, opts, &allocs);
	close(fd);
	if (err)
		fail_msg("%s: %s", path, strerror(-err));
	return allocs;
}

static struct elf_allocs read_allocs(const char *path)
{
	return read_with(path, &no_opts);
}

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

static const struct alloc_site *find_site(const struct elf_allocs *allocs, const char *symbol)
{
	for (size_t i = 0; i < allocs->sites.cnt; i++)
		if (strcmp(allocs->sites.items[i].symbol, symbol) == 0)
			return &allocs->sites.items[i];
	return NULL;
}

static const struct alloc_site *site(const struct elf_allocs *allocs, const char *symbol)
{
	const struct alloc_site *found = find_site(allocs, symbol);

	if (!found)
		fail_msg("no site %s", symbol);
	return found;
}

static bool has_skipped(const struct elf_allocs *allocs, const char *part)
{
	for (size_t i = 0; i < allocs->skipped.cnt; i++)
		if (strstr(allocs->skipped.items[i], part))
			return true;
	return false;
}

static size_t read_bytes(const char *path, uint64_t off, uint8_t *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = pread(fd, buf, len, (off_t)off);

	close(fd);
	assert_true(got > 0);
	return (size_t)got;
}

/* What must hold for every site of every file, however broken. */
static void check_sites(const struct elf_allocs *allocs, uint64_t file_size)
{
	assert_int_equal(allocs->sites.cnt == 0, allocs->allocator == NULL);
	assert_true(allocs->build_id_len <= sizeof(allocs->build_id));
	for (size_t i = 0; i < allocs->sites.cnt; i++) {
		const struct alloc_site *at = &allocs->sites.items[i];

		assert_true(at->probe_off >= at->entry_off && at->probe_off < file_size);
		assert_true(at->probe_off - at->entry_off < 64);
		assert_true(at->cost == PROBE_EMULATED || at->cost == PROBE_STEPPED);
		assert_true(at->cost == PROBE_EMULATED || at->probe_off == at->entry_off);
		assert_true(at->symbol[0] && at->why[0] && at->insn[0]);
		assert_non_null(memchr(at->insn, '\0', sizeof(at->insn)));
		assert_true(i == 0 || allocs->sites.items[i - 1].entry_off < at->entry_off);
	}
}

#if defined(__x86_64__)
/* Whether the kernel emulates the instruction (see uprobes in arch/x86), told by its bytes. */
static bool looks_emulated(const uint8_t *code)
{
	return code[0] >> 3 == 10 || (code[0] == 0x41 && code[1] >> 3 == 10) || code[0] >> 4 == 7 ||
	       (code[0] == 0x0f && code[1] >> 4 == 8) || code[0] == 0xe8 || code[0] == 0xe9 || code[0] == 0xeb ||
	       code[0] == 0x90 || (code[0] == 0x66 && code[1] == 0x90);
}
#endif

static void check_bytes(const char *path, const struct elf_allocs *allocs)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	check_sites(allocs, (uint64_t)st.st_size);
#if defined(__x86_64__)
	for (size_t i = 0; i < allocs->sites.cnt; i++) {
		const struct alloc_site *at = &allocs->sites.items[i];
		uint8_t code[16] = {0};

		read_bytes(path, at->probe_off, code, sizeof(code));
		if (looks_emulated(code) != (at->cost == PROBE_EMULATED))
			fail_msg("%s: %s+%llu is %02x %02x, cost %d", path, at->symbol,
				 (unsigned long long)(at->probe_off - at->entry_off), code[0], code[1], (int)at->cost);
	}
#endif
}

static void check_cookie(const struct elf_allocs *allocs, const char *symbol, uint64_t cookie)
{
	assert_int_equal(site(allocs, symbol)->cookie, cookie);
}

/* ---- the table ------------------------------------------------------------------------------------------ */

static void test_table(void **state)
{
	size_t cnt;
	const struct alloc_name *names = alloc_names__all(&cnt);

	(void)state;
	for (size_t i = 0; i < cnt; i++) {
		if (i && strcmp(names[i - 1].name, names[i].name) >= 0)
			fail_msg("%s is out of order", names[i].name);
		assert_true(strlen(names[i].name) <= MAX_ALLOC_NAME);
		assert_ptr_equal(alloc_names__find(names[i].name), &names[i]);
		assert_int_equal(names[i].family == FAMILY_UNSEEN, names[i].cookie == 0);
		if (ALLOC_FN_OP(names[i].cookie) == ALLOC_OP_FREE)
			assert_int_equal(ALLOC_FN_SIZE_ARG(names[i].cookie), 0);
		else if (names[i].cookie)
			assert_int_not_equal(ALLOC_FN_SIZE_ARG(names[i].cookie), 0);
	}
	assert_null(alloc_names__find(""));
	assert_null(alloc_names__find("mallo"));
	assert_null(alloc_names__find("malloc_stats"));
	assert_int_equal(alloc_names__find("reallocarray")->cookie, ALLOC_FN(ALLOC_OP_REALLOC, 3, 2, 1, 0));
	assert_int_equal(alloc_names__find("mi_heap_recalloc_aligned_at")->cookie, ALLOC_FN(ALLOC_OP_REALLOC, 4, 3, 2, 0));
	assert_int_equal(alloc_names__find("mi_heap_calloc")->cookie, ALLOC_FN(ALLOC_OP_ALLOC, 3, 2, 0, 0));
	assert_int_equal(alloc_names__find("tc_deletearray_sized_aligned")->cookie, ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0));
}

/* ---- compiled here -------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
/* One build of data/pool.c: with CET or without, optimised or not, by gcc or clang. */
static void check_pool(const char *path, bool has_cet)
{
	static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
	struct elf_allocs allocs = read_allocs(path);
	const struct alloc_site *loop;

	check_bytes(path, &allocs);
	assert_string_equal(allocs.allocator, "custom");
	assert_true(allocs.is_dynamic);
	check_cookie(&allocs, "malloc", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
	check_cookie(&allocs, "calloc", ALLOC_FN(ALLOC_OP_ALLOC, 2, 1, 0, 0));
	check_cookie(&allocs, "realloc", ALLOC_FN(ALLOC_OP_REALLOC, 2, 0, 1, 0));
	check_cookie(&allocs, "posix_memalign", ALLOC_FN(ALLOC_OP_ALLOC, 3, 0, 0, 1));
	check_cookie(&allocs, "aligned_alloc", ALLOC_FN(ALLOC_OP_ALLOC, 2, 0, 0, 0));
	check_cookie(&allocs, "free", ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0));
	assert_int_equal(allocs.sites.cnt, 6);
	for (size_t i = 0; i < allocs.sites.cnt; i++) {
		const struct alloc_site *at = &allocs.sites.items[i];
		uint8_t code[4];

		read_bytes(path, at->entry_off, code, sizeof(code));
		if ((memcmp(code, endbr64, 4) == 0) != has_cet)
			fail_msg("%s: %s: the compiler did not do as told", path, at->symbol);
		/* endbr64 is stepped: with CET nothing emulated can be at the entry. */
		assert_false(has_cet && at->cost == PROBE_EMULATED && at->probe_off - at->entry_off < 4);
	}
	assert_int_equal(site(&allocs, "free")->cost, PROBE_EMULATED);
	loop = site(&allocs, "aligned_alloc");
	assert_true(loop->cost == PROBE_EMULATED || strncmp(loop->why, "entry: ", 7) == 0);
	elf_allocs__free(&allocs);
}

static void test_compilers(void **state)
{
	static const char *const compilers[] = {"gcc", "clang"};
	static const char *const levels[] = {"-O0", "-O1", "-O2", "-O3", "-Os"};
	static const char *const protections[] = {"none", "full"};

	(void)state;
	for (int cc = 0; cc < 2; cc++) {
		for (int level = 0; level < 5; level++) {
			for (int cet = 0; cet < 2; cet++) {
				char *flags, *path;

				assert_true(asprintf(&flags, "%s -fcf-protection=%s -fno-builtin -shared -fPIC",
						     levels[level], protections[cet]) > 0);
				path = compile(compilers[cc], flags, "pool.c");
				check_pool(path, cet);
				run_command("strip %s", path);
				check_pool(path, cet);
				free(path);
				free(flags);
			}
		}
	}
}

/* The loop at the start of aligned_alloc: no probe may stand where the loop comes by again. */
static void test_loop_at_entry(void **state)
{
	uint64_t lowest = UINT64_MAX;

	(void)state;
	for (int cc = 0; cc < 2; cc++) {
		char *path = compile(cc ? "clang" : "gcc", "-O2 -fcf-protection=full -fno-builtin -shared -fPIC", "pool.c");
		struct elf_allocs allocs = read_allocs(path);
		const struct alloc_site *at = site(&allocs, "aligned_alloc");
		uint8_t code[96];
		size_t len = read_bytes(path, at->entry_off, code, sizeof(code));

		/* The short backward jumps among its first bytes, by hand. */
		for (size_t i = 4; i + 1 < len && code[i] != 0xc3; i++)
			if ((code[i] >> 4 == 7 || code[i] == 0xeb) && (int8_t)code[i + 1] < 0 &&
			    i + 2 >= (size_t) - (int8_t)code[i + 1]) {
				uint64_t target = i + 2 - (size_t) - (int8_t)code[i + 1];

				lowest = target < lowest ? target : lowest;
			}
		if (at->probe_off != at->entry_off)
			assert_true(at->probe_off - at->entry_off < lowest);
		elf_allocs__free(&allocs);
		free(path);
	}
}
#endif

static void test_operators(void **state)
{
	char *own, *uses, *only;
	struct elf_allocs allocs;

	(void)state;
	/* The file has malloc, too; delete is only a jump to free, which one probe on free sees. */
	own = compile("gcc", "-O2 -fno-builtin -shared -fPIC -Wl,-Bsymbolic -DWITH_OPERATORS", "pool.c");
	allocs = read_allocs(own);
	check_bytes(own, &allocs);
	check_cookie(&allocs, "_Znwm", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
	check_cookie(&allocs, "_ZdlPvm", ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0));
#if defined(__x86_64__)
	assert_null(find_site(&allocs, "_ZdlPv"));
#endif
	elf_allocs__free(&allocs);
	free(own);

	/* The same through the PLT, as libraries are built by default. */
	own = compile("gcc", "-O2 -fno-builtin -shared -fPIC -DWITH_OPERATORS", "pool.c");
	allocs = read_allocs(own);
	check_cookie(&allocs, "_Znwm", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
#if defined(__x86_64__)
	assert_null(find_site(&allocs, "_ZdlPv"));
#endif
	elf_allocs__free(&allocs);
	free(own);

	/* Over an allocator that has no known name and asks no other library. */
	uses = compile("gcc", "-O2 -fno-builtin -shared -fPIC -DWITH_OPERATORS -DPREFIX(name)=pool_##name", "pool.c");
	allocs = read_allocs(uses);
	assert_non_null(find_site(&allocs, "_Znwm"));
	elf_allocs__free(&allocs);
	free(uses);

	/* Over the malloc of another library. */
	only = compile("gcc", "-O2 -fno-builtin -shared -fPIC", "operators.c");
	allocs = read_allocs(only);
	assert_int_equal(allocs.sites.cnt, 0);
	assert_null(allocs.allocator);
	assert_true(has_skipped(&allocs, "operator new and delete end in the malloc of another library"));
	elf_allocs__free(&allocs);
	free(only);
}

static void test_oddities(void **state)
{
	static const struct user_alloc_fn user_fns[] = {
		{"fetch", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0)},
		{"no_such_function", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0)},
	};
	struct elf_allocs_opts opts = {.user_fns = user_fns, .user_fn_cnt = 2};
	char *path = compile("gcc", "-O2 -fno-builtin -shared -fPIC -DWITH_ODDITIES", "pool.c");
	struct elf_allocs allocs = read_with(path, &opts);

	(void)state;
	check_bytes(path, &allocs);
	check_cookie(&allocs, "fetch", user_fns[0].cookie);
	assert_true(has_skipped(&allocs, "valloc is chosen at run time by a resolver"));
	assert_true(has_skipped(&allocs, "memalign is the same code as malloc"));
	assert_null(find_site(&allocs, "memalign"));
#if defined(__x86_64__)
	assert_true(has_skipped(&allocs, "cfree begins with an instruction that cannot be probed"));
	assert_int_equal(site(&allocs, "pvalloc")->cost, PROBE_EMULATED);	/* its symbol has no size */
	assert_int_equal(site(&allocs, "pvalloc")->probe_off - site(&allocs, "pvalloc")->entry_off, 3);
#endif
	elf_allocs__free(&allocs);

	/* Not named by the user: not followed. */
	allocs = read_allocs(path);
	assert_null(find_site(&allocs, "fetch"));
	elf_allocs__free(&allocs);
	free(path);
}

static void test_prefix(void **state)
{
	struct elf_allocs_opts opts = {.prefix = "je_"};
	char *path = compile("gcc", "-O2 -fno-builtin -shared -fPIC -DPREFIX(name)=je_##name", "pool.c");
	struct elf_allocs allocs = read_allocs(path);

	(void)state;
	assert_int_equal(allocs.sites.cnt, 0);
	elf_allocs__free(&allocs);
	allocs = read_with(path, &opts);
	assert_int_equal(allocs.sites.cnt, 6);
	check_cookie(&allocs, "je_posix_memalign", ALLOC_FN(ALLOC_OP_ALLOC, 3, 0, 0, 1));
	assert_string_equal(allocs.allocator, "custom");
	elf_allocs__free(&allocs);
	free(path);

	path = compile("gcc", "-O2 -fno-builtin -shared -fPIC -DPREFIX(name)=my_##name -Dmy_malloc=my_mallocx", "pool.c");
	allocs = read_allocs(path);
	assert_true(has_skipped(&allocs, "a jemalloc with the prefix my_"));
	elf_allocs__free(&allocs);
	opts.prefix = "my_";
	allocs = read_with(path, &opts);
	assert_string_equal(allocs.allocator, "jemalloc");
	check_cookie(&allocs, "my_mallocx", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
	elf_allocs__free(&allocs);
	free(path);
}

static void test_imbalance(void **state)
{
	char *path = compile("gcc", "-O2 -fno-builtin -shared -fPIC -Dfree=release", "pool.c");
	struct elf_allocs allocs = read_allocs(path);

	(void)state;
	assert_int_equal(allocs.sites.cnt, 5);
	assert_true(has_skipped(&allocs, "allocate but none that frees"));
	elf_allocs__free(&allocs);
	free(path);
	path = compile("gcc", "-O2 -fno-builtin -shared -fPIC -DPREFIX(name)=own_##name -Down_free=free", "pool.c");
	allocs = read_allocs(path);
	assert_int_equal(allocs.sites.cnt, 1);
	assert_true(has_skipped(&allocs, "free but none that allocates"));
	elf_allocs__free(&allocs);
	free(path);
}

/* ---- static programs ------------------------------------------------------------------------------------ */

static void check_static(const char *cc, const char *allocator)
{
	char *path = compile(cc, "-O2 -static", "user.c");
	struct elf_allocs allocs = read_allocs(path);

	check_bytes(path, &allocs);
	assert_string_equal(allocs.allocator, allocator);
	assert_false(allocs.is_dynamic);
	check_cookie(&allocs, "malloc", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
	check_cookie(&allocs, "free", ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0));
	check_cookie(&allocs, "realloc", ALLOC_FN(ALLOC_OP_REALLOC, 2, 0, 1, 0));
	check_cookie(&allocs, "calloc", ALLOC_FN(ALLOC_OP_ALLOC, 2, 1, 0, 0));
	elf_allocs__free(&allocs);

	run_command("strip %s", path);
	allocs = read_allocs(path);
	assert_int_equal(allocs.sites.cnt, 0);
	assert_false(allocs.is_dynamic);
	elf_allocs__free(&allocs);
	free(path);
}

static void test_static(void **state)
{
	char *path;
	struct elf_allocs allocs;

	(void)state;
	check_static("gcc", "glibc");
	check_static("clang", "glibc");
	check_static("musl-gcc", "musl");
	/* An allocator of one's own in a program without any libc. */
	path = compile("gcc", "-O2 -fno-builtin -static -nostdlib -no-pie -e malloc", "bare.c");
	allocs = read_allocs(path);
	assert_string_equal(allocs.allocator, "static");
	assert_int_equal(allocs.sites.cnt, 2);
	elf_allocs__free(&allocs);
	free(path);
}

/* ---- what the distribution installs --------------------------------------------------------------------- */

struct path_search {
	const char *name;
	char *path;
};

static int match_library(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct path_search *search = arg;

	(void)size;
	if (strstr(info->dlpi_name, search->name))
		search->path = strdup(info->dlpi_name);
	return search->path != NULL;
}

/* The owned path of a library of this process, e.g. "libc.so". */
static char *loaded_library(const char *name)
{
	struct path_search search = {.name = name};

	dl_iterate_phdr(match_library, &search);
	assert_non_null(search.path);
	return search.path;
}

/* Another library beside libc: NAME in the same folder or in its sibling below /usr. */
static char *installed(const char *name)
{
	char *libc = loaded_library("/libc.so"), *path = NULL;
	int dir_len = (int)(strrchr(libc, '/') - libc);

	assert_true(asprintf(&path, "%.*s/%s", dir_len, libc, name) > 0);
	if (access(path, R_OK) != 0) {
		free(path);
		assert_true(asprintf(&path, "/usr%.*s/%s", dir_len, libc, name) > 0);
	}
	if (access(path, R_OK) != 0)
		fail_msg("%s is not installed", name);
	free(libc);
	return path;
}

static void test_running_libc(void **state)
{
	static const char *const needed[] = {"malloc", "calloc", "realloc", "free", "posix_memalign", "reallocarray",
					     "valloc", "pvalloc"};
	char *path = loaded_library("/libc.so");
	struct elf_allocs allocs = read_allocs(path);
	const struct alloc_site *at;

	(void)state;
	check_bytes(path, &allocs);
	assert_string_equal(allocs.allocator, "glibc");
	assert_true(allocs.is_dynamic);
	assert_true(allocs.build_id_len >= 16);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		site(&allocs, needed[i]);
	assert_true(find_site(&allocs, "memalign") || find_site(&allocs, "aligned_alloc"));
	assert_null(find_site(&allocs, "__libc_malloc"));
	assert_null(find_site(&allocs, "cfree"));
	for (size_t i = 0; i < allocs.sites.cnt; i++) {
		at = &allocs.sites.items[i];
		if (at->cost == PROBE_STEPPED && strncmp(at->why, "entry: ", 7) != 0)
			fail_msg("%s is stepped without a reason", at->symbol);
	}
	assert_int_equal(site(&allocs, "malloc")->cost, PROBE_EMULATED);
	at = site(&allocs, "free");
	assert_int_equal(at->cost, PROBE_EMULATED);
#if defined(__x86_64__)
	{
		static const uint8_t test_rdi[] = {0x48, 0x85, 0xff};
		uint8_t code[7];
		size_t skip = 0;

		/* glibc 2.36: test %rdi,%rdi; je. The test is stepped, the je is not. */
		read_bytes(path, at->entry_off, code, sizeof(code));
		if (code[0] == 0xf3)
			skip = 4;
		if (memcmp(code + skip, test_rdi, sizeof(test_rdi)) == 0) {
			assert_int_equal(at->probe_off - at->entry_off, skip + 3);
			assert_string_equal(at->insn, "je");
		}
	}
#endif
	elf_allocs__free(&allocs);
	free(path);
}

static void test_dynamic_linker(void **state)
{
	char *path = loaded_library("/ld-linux");
	struct elf_allocs allocs = read_allocs(path);

	(void)state;
	assert_int_equal(allocs.sites.cnt, 0);
	assert_null(allocs.allocator);
	elf_allocs__free(&allocs);
	free(path);
}

static void test_jemalloc(void **state)
{
	char *path = installed("libjemalloc.so.2");
	struct elf_allocs allocs = read_allocs(path);

	(void)state;
	check_bytes(path, &allocs);
	assert_string_equal(allocs.allocator, "jemalloc");
	check_cookie(&allocs, "mallocx", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
	check_cookie(&allocs, "rallocx", ALLOC_FN(ALLOC_OP_REALLOC, 2, 0, 1, 0));
	check_cookie(&allocs, "xallocx", ALLOC_FN(ALLOC_OP_RESIZE, 2, 0, 1, 0));
	check_cookie(&allocs, "dallocx", ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0));
	check_cookie(&allocs, "sdallocx", ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0));
	check_cookie(&allocs, "_Znwm", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
	check_cookie(&allocs, "malloc", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
	site(&allocs, "free");
#if defined(__x86_64__)
	assert_null(find_site(&allocs, "_Znam"));	/* jmp _Znwm */
	assert_null(find_site(&allocs, "_ZdlPv"));	/* jmp free@plt */
	assert_int_equal(site(&allocs, "malloc")->cost, PROBE_EMULATED);
	assert_int_equal(site(&allocs, "free")->cost, PROBE_EMULATED);
#endif
	elf_allocs__free(&allocs);
	free(path);
}

static void test_tcmalloc(void **state)
{
	char *path = installed("libtcmalloc_minimal.so.4");
	struct elf_allocs allocs = read_allocs(path);

	(void)state;
	check_bytes(path, &allocs);
	assert_string_equal(allocs.allocator, "tcmalloc");
	assert_null(find_site(&allocs, "tc_malloc"));	/* another name of malloc */
	assert_null(find_site(&allocs, "tc_delete"));
	assert_null(find_site(&allocs, "_ZdlPv"));	/* the same code as free */
	check_cookie(&allocs, "free", ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0));
	check_cookie(&allocs, "_Znwm", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
	check_cookie(&allocs, "_ZdlPvm", ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0));
	check_cookie(&allocs, "posix_memalign", ALLOC_FN(ALLOC_OP_ALLOC, 3, 0, 0, 1));
	elf_allocs__free(&allocs);
	free(path);
}

static void test_mimalloc(void **state)
{
	char *path = installed("libmimalloc.so.2.0");
	struct elf_allocs allocs = read_allocs(path);

	(void)state;
	check_bytes(path, &allocs);
	assert_string_equal(allocs.allocator, "mimalloc");
	check_cookie(&allocs, "malloc", ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0));
	check_cookie(&allocs, "free", ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0));
	check_cookie(&allocs, "mi_heap_realloc", ALLOC_FN(ALLOC_OP_REALLOC, 3, 0, 2, 0));
	check_cookie(&allocs, "mi_rezalloc", ALLOC_FN(ALLOC_OP_REALLOC, 2, 0, 1, 0));
	check_cookie(&allocs, "mi_posix_memalign", ALLOC_FN(ALLOC_OP_ALLOC, 3, 0, 0, 1));
	assert_null(find_site(&allocs, "mi_free"));
	assert_true(has_skipped(&allocs, "mi_heap_destroy"));
#if defined(__x86_64__)
	assert_null(find_site(&allocs, "posix_memalign"));	/* jmp mi_posix_memalign@plt */
	assert_null(find_site(&allocs, "vfree"));
#endif
	elf_allocs__free(&allocs);
	free(path);
}

/* ---- files without sections, broken files --------------------------------------------------------------- */

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
		if (shdr.sh_type != SHT_DYNSYM && shdr.sh_type != SHT_STRTAB && shdr.sh_type != SHT_SYMTAB &&
		    shdr.sh_type != SHT_DYNAMIC && shdr.sh_type != SHT_GNU_HASH && shdr.sh_type != SHT_NOTE &&
		    shdr.sh_type != SHT_RELA)
			continue;
		ret[cnt][0] = shdr.sh_offset;
		ret[cnt++][1] = shdr.sh_size < 65536 ? shdr.sh_size : 65536;
	}
	(void)size;
	return cnt;
}

/* Overwrites one place after another (1 to 8 bytes, more than one at times), reads, and puts it right again. */
static void check_flipped(const char *path, bool drop_sections, int rounds)
{
	static const uint64_t nasty[] = {0, 1, UINT64_MAX, INT64_MAX, 1ULL << 63, 0x7fffffff, 0xffffffff, 0xfffffffffffff000};
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
			uint64_t value = next_random(&seed) % 2 ? nasty[next_random(&seed) % 8] : next_random(&seed);
			size_t len = (size_t)1 << next_random(&seed) % 4;

			offs[i] = range[1] && round % 8 ? range[0] + next_random(&seed) % range[1] :
							  next_random(&seed) % size;
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

/* String tables that end within a name, and notes that end within their header: nothing behind the end is read. */
static void test_cut_tables(void **state)
{
	size_t size;
	char *path = compile("gcc", "-O2 -fno-builtin -shared -fPIC", "pool.c");
	uint8_t *bytes = load_file(path, &size);
	Elf64_Ehdr *ehdr = (Elf64_Ehdr *)bytes;
	int fd = memory_file(bytes, size);

	(void)state;
	for (size_t i = 0; i < ehdr->e_shnum; i++) {
		uint64_t at = ehdr->e_shoff + i * sizeof(Elf64_Shdr), off = at + offsetof(Elf64_Shdr, sh_size), full;
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
		uint64_t at = ehdr->e_phoff + i * sizeof(Elf64_Phdr), off = at + offsetof(Elf64_Phdr, p_filesz);
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

/* Headers that claim huge tables, in a sparse file of a terabyte where they do exist: read within bounds. */
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
		cmocka_unit_test(test_table),
#if defined(__x86_64__)
		cmocka_unit_test(test_compilers),
		cmocka_unit_test(test_loop_at_entry),
#endif
		cmocka_unit_test(test_operators),
		cmocka_unit_test(test_oddities),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_imbalance),
		cmocka_unit_test(test_static),
		cmocka_unit_test(test_running_libc),
		cmocka_unit_test(test_dynamic_linker),
		cmocka_unit_test(test_jemalloc),
		cmocka_unit_test(test_tcmalloc),
		cmocka_unit_test(test_mimalloc),
		cmocka_unit_test(test_without_sections),
		cmocka_unit_test(test_not_elf),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_cut_tables),
		cmocka_unit_test(test_sparse),
	};

	return cmocka_run_group_tests_name("discover elf_allocs", tests, make_work_dir, remove_work_dir);
}
