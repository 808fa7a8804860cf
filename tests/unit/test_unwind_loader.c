/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Many tables at once, from the cache and from a compiler that may fail in every way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "cache_fixture.h"
#include "program_fixture.h"
#include "unwind/loader_parts.h"

#define CACHE_BYTES (64U << 20)

/* ---- a compiler that does what the first byte of the code says ---- */

static int fake_compile(int fd, struct unwind_table *ret)
{
	volatile bool again = true;
	uint8_t code[8];

	if (pread(fd, code, sizeof(code), CODE_AT) != sizeof(code))
		return -EBADMSG;
	switch (code[0]) {
	case 'C':
		raise(SIGSEGV);
		break;
	case 'L':
		while (again)
			;
		break;
	case 'M':
		if (mmap(NULL, 1U << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		    MAP_FAILED)
			return -ENOMEM;
		break;
	case 'E':
		return -EFBIG;
	case 'S':
		usleep(300000);
		break;
	}
	*ret = small_table(8, code[1]);
	if (code[0] == 'I')
		ret->rows[3].pc = 0;
	if (code[0] == '0') {
		unwind_table__free(ret);
		ret->counts = (struct unwind_counts){0};
	}
	return 0;
}

static const struct sandbox_limits brief = {
	.cpu_ns = 200000000, .memory_bytes = 256U << 20, .output_bytes = 1U << 20};

static struct table_loader *new_loader(const char *dir)
{
	static const struct loader_parts parts = {
		.compile = fake_compile, .limits = &brief, .build = "test"};
	struct table_loader *loader;
	int cache_err = 1;

	loader = table_loader__new_with(&parts, dir, CACHE_BYTES, &cache_err);
	assert_non_null(loader);
	assert_int_equal(cache_err, 0);
	return loader;
}

/* ---- requests ---- */

static void free_requests(struct table_request *requests, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		if (!requests[i].err)
			unwind_table__free(&requests[i].table);
		close(requests[i].fd);
		requests[i] = (struct table_request){0};
	}
}

/* Loads one program's table and tells whether it came from the cache. */
static bool load_one(struct table_loader *loader, const char *code)
{
	struct unwind_table want = small_table(8, code[1]);
	struct table_request request = {.fd = make_program(code, 100)};
	bool from_cache;

	assert_int_equal(table_loader__load(loader, &request, 1), 0);
	assert_int_equal(request.err, 0);
	assert_same_table(&request.table, &want);
	from_cache = request.from_cache;
	unwind_table__free(&want);
	free_requests(&request, 1);
	return from_cache;
}

static void test_outcomes(void **state)
{
	static const struct {
		const char *code;
		int err;
	} cases[] = {{"xA", 0},	    {"C", -EPIPE}, {"L", -ETIME}, {"M", -ENOMEM}, {"E", -EFBIG},
		     {"I", -EPIPE}, {"0", 0},	   {"xB", 0},	  {"xA", 0}};
	enum { CASES = sizeof(cases) / sizeof(cases[0]) };
	struct table_request requests[CASES + 2] = {0};
	struct fixture *f = *state;
	struct table_loader *loader;

	for (int round = 0; round < 3; round++) {
		/* Round 2 is without a cache. */
		loader = new_loader(round < 2 ? f->dir : NULL);
		for (size_t i = 0; i < CASES; i++)
			requests[i].fd = make_program(cases[i].code, 100 + 7 * (i % 4) * (i < 8));
		requests[CASES].fd = open("/dev/null", O_RDONLY);
		requests[CASES + 1].fd = memfd_create("empty", MFD_CLOEXEC);
		assert_int_equal(table_loader__load(loader, requests, CASES + 2), 0);
		for (size_t i = 0; i < CASES; i++) {
			assert_int_equal(requests[i].err, cases[i].err);
			assert_int_equal(requests[i].from_cache, round == 1 && !cases[i].err);
		}
		assert_int_equal(requests[0].table.rows[1].cfa, 'A' + 1);
		assert_int_equal(requests[6].table.row_cnt, 0);
		assert_int_equal(requests[7].table.rows[1].cfa, 'B' + 1);
		assert_int_equal(requests[8].table.rows[1].cfa, 'A' + 1);
		assert_int_equal(requests[CASES].err, -ENOEXEC);
		assert_int_equal(requests[CASES + 1].err, -ENOEXEC);
		free_requests(requests, CASES + 2);
		table_loader__free(loader);
	}
	assert_int_equal(count_files(f->dir, ".rows", NULL), 3);
}

/* More than there are CPUs, many of them equal. */
static void test_many(void **state)
{
	enum { REQUESTS = 100, KINDS = 30 };
	struct table_request requests[REQUESTS] = {0};
	struct fixture *f = *state;
	struct table_loader *loader = new_loader(f->dir);
	char code[3] = "x";

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < REQUESTS; i++) {
			code[1] = (char)(1 + i % KINDS);
			requests[i].fd = make_program(code, 100 + i % KINDS * 100);
		}
		assert_int_equal(table_loader__load(loader, requests, REQUESTS), 0);
		for (size_t i = 0; i < REQUESTS; i++) {
			assert_int_equal(requests[i].err, 0);
			assert_int_equal(requests[i].from_cache, round);
			assert_int_equal(requests[i].table.rows[0].cfa, 1 + i % KINDS);
		}
		free_requests(requests, REQUESTS);
	}
	assert_int_equal(count_files(f->dir, ".rows", NULL), KINDS);
	assert_int_equal(table_loader__load(loader, NULL, 0), 0);
	table_loader__free(loader);
}

static void test_distrusts_the_cache(void **state)
{
	struct fixture *f = *state;
	struct table_loader *loader = new_loader(f->dir);
	char *name = NULL, *path, *secret = path_in(f->dir, "key");
	struct stat st;
	int fd;

	assert_false(load_one(loader, "xA"));
	assert_true(load_one(loader, "xA"));
	assert_int_equal(count_files(f->dir, ".rows", &name), 1);
	path = path_in(f->dir, name);
	assert_int_equal(stat(path, &st), 0);
	/* Changed. */
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "!", 1, st.st_size - 20), 1);
	close(fd);
	assert_false(load_one(loader, "xA"));
	assert_true(load_one(loader, "xA"));
	/* Cut off. */
	assert_int_equal(truncate(path, st.st_size - 1), 0);
	assert_false(load_one(loader, "xA"));
	assert_true(load_one(loader, "xA"));
	table_loader__free(loader);
	/* Another secret: other fingerprints. */
	assert_int_equal(unlink(secret), 0);
	loader = new_loader(f->dir);
	assert_false(load_one(loader, "xA"));
	assert_true(load_one(loader, "xA"));
	table_loader__free(loader);
	free(name);
	free(path);
	free(secret);
}

static void test_other_build(void **state)
{
	struct loader_parts parts = {.compile = fake_compile, .limits = &brief, .build = "other"};
	struct fixture *f = *state;
	struct table_loader *loader = new_loader(f->dir);
	int cache_err;

	assert_false(load_one(loader, "xA"));
	table_loader__free(loader);
	loader = table_loader__new_with(&parts, f->dir, CACHE_BYTES, &cache_err);
	assert_false(load_one(loader, "xA"));
	assert_true(load_one(loader, "xA"));
	table_loader__free(loader);
	parts.build = NULL; /* this very program */
	for (int i = 0; i < 2; i++) {
		loader = table_loader__new_with(&parts, f->dir, CACHE_BYTES, &cache_err);
		assert_int_equal(load_one(loader, "xA"), i);
		table_loader__free(loader);
	}
}

static void test_unusable_cache(void **state)
{
	struct loader_parts parts = {.compile = fake_compile, .limits = &brief, .build = "test"};
	struct fixture *f = *state;
	struct table_loader *loader = new_loader(f->dir);
	int cache_err = 0;

	table_loader__free(loader);
	assert_int_equal(chmod(f->dir, 0777), 0);
	loader = table_loader__new_with(&parts, f->dir, CACHE_BYTES, &cache_err);
	assert_non_null(loader);
	assert_int_equal(cache_err, -EPERM);
	assert_false(load_one(loader, "xA"));
	assert_false(load_one(loader, "xA"));
	assert_int_equal(count_files(f->dir, ".rows", NULL), 0);
	table_loader__free(loader);
	assert_int_equal(chmod(f->dir, 0700), 0);
	if (geteuid())
		return;
	assert_int_equal(chown(f->dir, 65534, 65534), 0);
	loader = table_loader__new_with(&parts, f->dir, CACHE_BYTES, &cache_err);
	assert_int_equal(cache_err, -EPERM);
	assert_false(load_one(loader, "xA"));
	table_loader__free(loader);
}

static void test_concurrent_loaders(void **state)
{
	struct fixture *f = *state;
	char code[3] = "x";
	pid_t pids[4];
	int status;

	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		struct table_loader *loader = new_loader(f->dir);

		for (int j = 0; j < 20; j++) {
			code[1] = (char)(1 + (j * 7 + i) % 20);
			load_one(loader, code);
		}
		table_loader__free(loader);
		_exit(0);
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(count_files(f->dir, ".rows", NULL), 20);
}

static void *change_file(void *arg)
{
	usleep(100000);
	assert_int_equal(pwrite(*(int *)arg, "xZ", 2, CODE_AT), 2);
	return NULL;
}

/* A file that changes while others are compiled gets nothing and spoils nothing. */
static void test_changing_file(void **state)
{
	struct table_request requests[4] = {0};
	struct fixture *f = *state;
	struct table_loader *loader = new_loader(f->dir);
	cpu_set_t before, one;
	pthread_t thread;
	int cpu = 0;

	/* One at a time: the large slow one first. */
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	while (!CPU_ISSET(cpu, &before))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	requests[0].fd = make_program("xA", 100);
	requests[1].fd = make_program("S", 100000);
	requests[2].fd = make_program("xA", 100);
	requests[3].fd = make_program("xA", 100);
	assert_int_equal(pthread_create(&thread, NULL, change_file, &requests[0].fd), 0);
	assert_int_equal(table_loader__load(loader, requests, 4), 0);
	pthread_join(thread, NULL);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(requests[0].err, -ESTALE);
	for (int i = 1; i < 4; i++)
		assert_int_equal(requests[i].err, 0);
	assert_int_equal(requests[2].table.rows[0].cfa, 'A');
	assert_int_equal(requests[3].table.rows[0].cfa, 'A');
	free_requests(requests, 4);
	assert_true(load_one(loader, "xA"));
	assert_false(load_one(loader, "xZ"));
	table_loader__free(loader);
}

/* ---- the real compiler ---- */

static void test_real_files(void **state)
{
	static const char *const paths[] = {
		"/proc/self/exe",
		"/lib/x86_64-linux-gnu/libc.so.6",
		"/lib64/ld-linux-x86-64.so.2",
		"/lib/x86_64-linux-gnu/libstdc++.so.6",
		"/usr/bin/python3.11",
		"/lib/ld-musl-x86_64.so.1",
	};
	enum { PATHS = sizeof(paths) / sizeof(paths[0]) };
	struct table_request requests[PATHS] = {0};
	struct fixture *f = *state;
	struct table_loader *loader;
	struct unwind_table want;
	size_t cnt = 0;
	int cache_err;

	for (size_t i = 0; i < PATHS; i++) {
		requests[cnt].fd = open(paths[i], O_RDONLY | O_CLOEXEC);
		cnt += requests[cnt].fd >= 0;
	}
	for (int round = 0; round < 2; round++) {
		loader = table_loader__new(f->dir, CACHE_BYTES, &cache_err);
		assert_int_equal(cache_err, 0);
		assert_int_equal(table_loader__load(loader, requests, cnt), 0);
		for (size_t i = 0; i < cnt; i++) {
			assert_int_equal(requests[i].err, 0);
			assert_int_equal(requests[i].from_cache, round);
			/* All of the file says the same as what was shown of it. */
			assert_int_equal(unwind_table__compile(requests[i].fd, &want), 0);
			assert_same_table(&requests[i].table, &want);
			unwind_table__free(&want);
			if (!round)
				unwind_table__free(&requests[i].table);
		}
		table_loader__free(loader);
	}
	free_requests(requests, cnt);
}

static void test_default_dir(void **state)
{
	char *dir;

	(void)state;
	setenv("XDG_CACHE_HOME", "/x", 1);
	dir = table_loader__default_dir();
	assert_string_equal(dir, "/x/leaksweep");
	free(dir);
	setenv("XDG_CACHE_HOME", "relative", 1);
	setenv("HOME", "/h", 1);
	dir = table_loader__default_dir();
	assert_string_equal(dir, geteuid() ? "/h/.cache/leaksweep" : "/var/cache/leaksweep");
	free(dir);
	unsetenv("XDG_CACHE_HOME");
	unsetenv("HOME");
	dir = table_loader__default_dir();
	if (geteuid())
		assert_null(dir);
	else
		assert_string_equal(dir, "/var/cache/leaksweep");
	free(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_dir, teardown_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_outcomes),
		TEST(test_many),
		TEST(test_distrusts_the_cache),
		TEST(test_other_build),
		TEST(test_unusable_cache),
		TEST(test_concurrent_loaders),
		TEST(test_changing_file),
		TEST(test_real_files),
		cmocka_unit_test(test_default_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
