/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit/allocs.h"

#include <sys/stat.h>

#include "discover/alloc_names.h"

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

static bool has_skip(const struct elf_allocs *allocs, const char *part, bool is_loss)
{
	for (size_t i = 0; i < allocs->skipped.cnt; i++)
		if (strstr(allocs->skipped.items[i].why, part))
			return allocs->skipped.items[i].is_loss == is_loss;
	return false;
}

static bool has_harmless(const struct elf_allocs *allocs, const char *part)
{
	return has_skip(allocs, part, false);
}

static bool has_loss(const struct elf_allocs *allocs, const char *part)
{
	return has_skip(allocs, part, true);
}

static size_t read_bytes(const char *path, uint64_t off, uint8_t *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = pread(fd, buf, len, (off_t)off);

	close(fd);
	assert_true(got > 0);
	return (size_t)got;
}

#if defined(__x86_64__)
/* Whether the kernel emulates the instruction (see uprobes in arch/x86), told by its bytes. */
static bool looks_emulated(const uint8_t *code)
{
	return code[0] >> 3 == 10 || (code[0] == 0x41 && code[1] >> 3 == 10) || code[0] >> 4 == 7 ||
	       (code[0] == 0x0f && code[1] >> 4 == 8) || code[0] == 0xe8 || code[0] == 0xe9 ||
	       code[0] == 0xeb || code[0] == 0x90 || (code[0] == 0x66 && code[1] == 0x90);
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
				 (unsigned long long)(at->probe_off - at->entry_off), code[0],
				 code[1], (int)at->cost);
	}
#endif
}

static void check_cookie(const struct elf_allocs *allocs, const char *symbol, uint64_t cookie)
{
	assert_int_equal(site(allocs, symbol)->cookie, cookie);
}

/* ---- the table ------------------------------------------------------------------------------ */

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
	assert_int_equal(alloc_names__find("reallocarray")->cookie,
			 ALLOC_FN(ALLOC_OP_REALLOC, 3, 2, 1, 0));
	assert_int_equal(alloc_names__find("mi_heap_recalloc_aligned_at")->cookie,
			 ALLOC_FN(ALLOC_OP_REALLOC, 4, 3, 2, 0));
	assert_int_equal(alloc_names__find("mi_heap_calloc")->cookie,
			 ALLOC_FN(ALLOC_OP_ALLOC, 3, 2, 0, 0));
	assert_int_equal(alloc_names__find("tc_deletearray_sized_aligned")->cookie,
			 ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0));
}

/* ---- compiled here -------------------------------------------------------------------------- */

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
		assert_false(has_cet && at->cost == PROBE_EMULATED &&
			     at->probe_off - at->entry_off < 4);
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

				assert_true(
					asprintf(&flags,
						 "%s -fcf-protection=%s -fno-builtin -shared -fPIC",
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
		char *path =
			compile(cc ? "clang" : "gcc",
				"-O2 -fcf-protection=full -fno-builtin -shared -fPIC", "pool.c");
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
	own = compile("gcc", "-O2 -fno-builtin -shared -fPIC -Wl,-Bsymbolic -DWITH_OPERATORS",
		      "pool.c");
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
	uses = compile("gcc",
		       "-O2 -fno-builtin -shared -fPIC -DWITH_OPERATORS -DPREFIX(name)=pool_##name",
		       "pool.c");
	allocs = read_allocs(uses);
	assert_non_null(find_site(&allocs, "_Znwm"));
	elf_allocs__free(&allocs);
	free(uses);

	/* Over the malloc of another library. */
	only = compile("gcc", "-O2 -fno-builtin -shared -fPIC", "operators.c");
	allocs = read_allocs(only);
	assert_int_equal(allocs.sites.cnt, 0);
	assert_null(allocs.allocator);
	assert_true(has_harmless(&allocs,
				 "operator new and delete end in the malloc of another library"));
	assert_true(has_harmless(&allocs, "reallocarray ends in the malloc of another library"));
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
	assert_true(has_loss(&allocs, "valloc is chosen at run time by a resolver"));
	assert_true(has_loss(&allocs, "memalign is the same code as malloc"));
	assert_null(find_site(&allocs, "memalign"));
#if defined(__x86_64__)
	assert_true(has_loss(&allocs, "cfree begins with an instruction that cannot be probed"));
	assert_int_equal(site(&allocs, "pvalloc")->cost,
			 PROBE_EMULATED); /* its symbol has no size */
	assert_int_equal(site(&allocs, "pvalloc")->probe_off - site(&allocs, "pvalloc")->entry_off,
			 3);
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
	char *path =
		compile("gcc", "-O2 -fno-builtin -shared -fPIC -DPREFIX(name)=je_##name", "pool.c");
	struct elf_allocs allocs = read_allocs(path);
	size_t loss_cnt;

	(void)state;
	assert_int_equal(allocs.sites.cnt, 0);
	elf_allocs__free(&allocs);
	allocs = read_with(path, &opts);
	assert_int_equal(allocs.sites.cnt, 6);
	check_cookie(&allocs, "je_posix_memalign", ALLOC_FN(ALLOC_OP_ALLOC, 3, 0, 0, 1));
	assert_string_equal(allocs.allocator, "custom");
	elf_allocs__free(&allocs);
	free(path);

	path = compile(
		"gcc",
		"-O2 -fno-builtin -shared -fPIC -DPREFIX(name)=my_##name -Dmy_malloc=my_mallocx",
		"pool.c");
	allocs = read_allocs(path);
	assert_int_equal(allocs.sites.cnt, 0);
	assert_string_equal(allocs.allocator, "jemalloc");
	assert_string_equal(elf_allocs__loss(&allocs, &loss_cnt),
			    "a jemalloc with the prefix my_ is in the file: not followed without "
			    "--alloc-prefix my_");
	assert_int_equal(loss_cnt, 1);
	assert_null(elf_allocs__loss(&(struct elf_allocs){0}, &loss_cnt));
	assert_int_equal(loss_cnt, 0);
	elf_allocs__free(&allocs);
	opts.prefix = "my_";
	allocs = read_with(path, &opts);
	assert_string_equal(allocs.allocator, "jemalloc");
	assert_null(elf_allocs__loss(&allocs, NULL));
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
	assert_true(has_harmless(&allocs, "allocate but none that frees"));
	elf_allocs__free(&allocs);
	free(path);
	path = compile("gcc",
		       "-O2 -fno-builtin -shared -fPIC -DPREFIX(name)=own_##name -Down_free=free",
		       "pool.c");
	allocs = read_allocs(path);
	assert_int_equal(allocs.sites.cnt, 1);
	assert_true(has_harmless(&allocs, "free but none that allocates"));
	elf_allocs__free(&allocs);
	free(path);
}

/* ---- static programs ------------------------------------------------------------------------ */

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

/* ---- what the distribution installs --------------------------------------------------------- */

static void test_running_libc(void **state)
{
	static const char *const needed[] = {"malloc", "calloc",	 "realloc",
					     "free",   "posix_memalign", "reallocarray",
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
	assert_null(find_site(&allocs, "_Znam"));  /* jmp _Znwm */
	assert_null(find_site(&allocs, "_ZdlPv")); /* jmp free@plt */
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
	assert_null(find_site(&allocs, "tc_malloc")); /* another name of malloc */
	assert_null(find_site(&allocs, "tc_delete"));
	assert_null(find_site(&allocs, "_ZdlPv")); /* the same code as free */
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
	assert_true(has_loss(&allocs, "mi_heap_destroy"));
#if defined(__x86_64__)
	assert_null(find_site(&allocs, "posix_memalign")); /* jmp mi_posix_memalign@plt */
	assert_null(find_site(&allocs, "vfree"));
#endif
	elf_allocs__free(&allocs);
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
	};

	return cmocka_run_group_tests_name("discover elf_allocs", tests, make_work_dir,
					   remove_work_dir);
}
