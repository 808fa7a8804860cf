/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#include "cache_fixture.h"
#include "unwind/cache.h"
#include "util/new_file.h"

#define MEBIBYTE (1U << 20)

static struct table_key make_key(uint8_t first)
{
	static const uint8_t build_id[] = {0xab, 0x01};
	struct table_key key = {.build_id = build_id, .build_id_len = 2, .fingerprint = {first}};

	return key;
}

static struct table_cache *open_cache(const char *dir, uint64_t max_bytes)
{
	struct table_cache *cache;

	assert_int_equal(table_cache__open(dir, max_bytes, &cache), 0);
	return cache;
}

static void put_one(struct table_cache *cache, uint8_t first, uint32_t row_cnt, int want)
{
	struct unwind_table table = small_table(row_cnt, first);
	struct table_key key = make_key(first);

	assert_int_equal(table_cache__put(cache, &key, &table), want);
	unwind_table__free(&table);
}

static void get_one(struct table_cache *cache, uint8_t first, uint32_t row_cnt, int want)
{
	struct unwind_table table = small_table(row_cnt, first), got;
	struct table_key key = make_key(first);

	assert_int_equal(table_cache__get(cache, &key, &got), want);
	if (!want) {
		assert_same_table(&table, &got);
		unwind_table__free(&got);
	}
	unwind_table__free(&table);
}

static void test_put_and_get(void **state)
{
	struct fixture *f = *state;
	struct table_cache *cache = open_cache(f->dir, MEBIBYTE);
	uint8_t secret[SIPHASH_BYTES];
	char *name = NULL, *path;
	struct stat st;

	get_one(cache, 1, 100, -ENOENT);
	put_one(cache, 1, 100, 0);
	put_one(cache, 2, 0, 0);
	put_one(cache, 1, 100, 0); /* again */
	get_one(cache, 1, 100, 0);
	get_one(cache, 2, 0, 0);
	assert_int_equal(count_files(f->dir, "", NULL), 3);
	assert_int_equal(count_files(f->dir, "-02000000000000000000000000000000.rows", NULL), 1);
	assert_int_equal(count_files(f->dir, "-01000000000000000000000000000000.rows", &name), 1);
	assert_string_equal(name, "ab01-01000000000000000000000000000000.rows");
	path = path_in(f->dir, name);
	assert_int_equal(stat(f->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	memcpy(secret, table_cache__fingerprint_key(cache), sizeof(secret));
	table_cache__free(cache);
	cache = open_cache(f->dir, MEBIBYTE);
	assert_memory_equal(table_cache__fingerprint_key(cache), secret, sizeof(secret));
	get_one(cache, 1, 100, 0);
	assert_int_equal(unlink(path), 0);
	get_one(cache, 1, 100, -ENOENT);
	get_one(cache, 2, 0, 0);
	table_cache__free(cache);
	free(path);
	free(name);
}

/* Every byte of an entry matters; a bad one is gone when it was seen. */
static void test_tampered(void **state)
{
	struct fixture *f = *state;
	struct table_cache *cache = open_cache(f->dir, MEBIBYTE);
	char *name = NULL, *path;
	struct stat st;
	uint8_t byte;
	int fd;

	put_one(cache, 1, 20, 0);
	count_files(f->dir, ".rows", &name);
	path = path_in(f->dir, name);
	assert_int_equal(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		put_one(cache, 1, 20, 0);
		fd = open(path, O_RDWR);
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= (uint8_t)(1U << at % 8);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		close(fd);
		get_one(cache, 1, 20, -EBADMSG);
		assert_int_equal(access(path, F_OK), -1);
		get_one(cache, 1, 20, -ENOENT);
	}
	/* Too short, too long. */
	for (off_t size = 0; size < st.st_size + 3; size++) {
		put_one(cache, 1, 20, 0);
		assert_int_equal(truncate(path, size), 0);
		get_one(cache, 1, 20, size == st.st_size ? 0 : -EBADMSG);
	}
	table_cache__free(cache);
	free(path);
	free(name);
}

/* An entry of another name, another directory's key, or no file at all. */
static void test_foreign(void **state)
{
	struct fixture *f = *state;
	struct table_cache *cache = open_cache(f->dir, MEBIBYTE);
	char *one = path_in(f->dir, "ab01-01000000000000000000000000000000.rows");
	char *two = path_in(f->dir, "ab01-02000000000000000000000000000000.rows");
	char *secret = path_in(f->dir, "key");

	put_one(cache, 1, 20, 0);
	assert_int_equal(rename(one, two), 0);
	get_one(cache, 2, 20, -EBADMSG);
	put_one(cache, 1, 20, 0);
	assert_int_equal(symlink(one, two), 0);
	get_one(cache, 2, 20, -EBADMSG);
	assert_int_equal(mkfifo(two, 0600), 0);
	get_one(cache, 2, 20, -EBADMSG);
	assert_int_equal(mkdir(two, 0700), 0);
	get_one(cache, 2, 20, -EBADMSG);
	put_one(cache, 2, 20, 0); /* there is something of that name: no error, no table */
	get_one(cache, 2, 20, -EBADMSG);
	table_cache__free(cache);
	assert_int_equal(unlink(secret), 0);
	cache = open_cache(f->dir, MEBIBYTE);
	get_one(cache, 1, 20, -EBADMSG);
	put_one(cache, 1, 20, 0);
	get_one(cache, 1, 20, 0);
	table_cache__free(cache);
	free(one);
	free(two);
	free(secret);
}

static void test_bad_keys(void **state)
{
	struct fixture *f = *state;
	struct table_cache *cache = open_cache(f->dir, MEBIBYTE);
	char *secret = path_in(f->dir, "key");
	struct stat st;

	for (int i = 0; i < 6; i++) {
		put_one(cache, 1, 20, 0);
		get_one(cache, 1, 20, 0);
		table_cache__free(cache);
		if (i == 0)
			assert_int_equal(truncate(secret, 15), 0);
		else if (i == 1)
			assert_int_equal(truncate(secret, 17), 0);
		else if (i == 2)
			assert_int_equal(chmod(secret, 0644), 0);
		else
			assert_int_equal(unlink(secret), 0);
		if (i == 4)
			assert_int_equal(symlink("/dev/zero", secret), 0);
		if (i == 5)
			assert_int_equal(mkfifo(secret, 0600), 0);
		cache = open_cache(f->dir, MEBIBYTE);
		get_one(cache, 1, 20, -EBADMSG);
		assert_int_equal(lstat(secret, &st), 0);
		assert_true(S_ISREG(st.st_mode));
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(st.st_size, 16);
	}
	table_cache__free(cache);
	/* Nothing can be done about a directory. */
	assert_int_equal(unlink(secret), 0);
	assert_int_equal(mkdir(secret, 0700), 0);
	assert_true(table_cache__open(f->dir, MEBIBYTE, &cache) < 0);
	free(secret);
}

static void test_whose_directory(void **state)
{
	struct fixture *f = *state;
	char *file = path_in(f->root, "file"), *link = path_in(f->root, "link");
	char *below = path_in(file, "x");
	struct table_cache *cache = NULL;

	table_cache__free(open_cache(f->dir, MEBIBYTE));
	assert_int_equal(symlink(f->dir, link), 0);
	assert_int_equal(table_cache__open(link, MEBIBYTE, &cache), -ENOTDIR);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(table_cache__open(file, MEBIBYTE, &cache), -ENOTDIR);
	assert_int_equal(table_cache__open(below, MEBIBYTE, &cache), -ENOTDIR);
	assert_int_equal(table_cache__open("", MEBIBYTE, &cache), -ENOENT);
	assert_int_equal(chmod(f->dir, 0755), 0);
	table_cache__free(open_cache(f->dir, MEBIBYTE));
	assert_int_equal(chmod(f->dir, 0720), 0);
	assert_int_equal(table_cache__open(f->dir, MEBIBYTE, &cache), -EPERM);
	assert_int_equal(chmod(f->dir, 0702), 0);
	assert_int_equal(table_cache__open(f->dir, MEBIBYTE, &cache), -EPERM);
	assert_int_equal(chmod(f->dir, 0700), 0);
	if (!geteuid()) {
		assert_int_equal(chown(f->dir, 65534, 65534), 0);
		assert_int_equal(table_cache__open(f->dir, MEBIBYTE, &cache), -EPERM);
	}
	free(file);
	free(link);
	free(below);
}

static void set_age(const char *dir, uint8_t first, time_t age)
{
	struct timespec times[2] = {{.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};
	char name[64], *path;

	snprintf(name, sizeof(name), "ab01-%02x000000000000000000000000000000.rows", first);
	path = path_in(dir, name);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	free(path);
}

/* Ten entries of two blocks each where eight may stay; use makes young. */
static void test_bounded(void **state)
{
	struct fixture *f = *state;
	struct table_cache *cache = open_cache(f->dir, 10 * 8192);
	char *odd = path_in(f->dir, "notes.txt"), *odd_dir = path_in(f->dir, "x.rows");

	close(open(odd, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(mkdir(odd_dir, 0700), 0);
	put_one(cache, 99, 10000, -EFBIG);
	for (uint8_t i = 1; i <= 10; i++) {
		put_one(cache, i, 600, 0);
		set_age(f->dir, i, 1000 - i);
	}
	assert_int_equal(count_files(f->dir, ".rows", NULL), 11);
	get_one(cache, 2, 600, 0);
	put_one(cache, 11, 600, 0);
	/* 1, 3, 4 were the oldest: down to seven eighths. */
	get_one(cache, 1, 600, -ENOENT);
	get_one(cache, 3, 600, -ENOENT);
	get_one(cache, 4, 600, -ENOENT);
	for (uint8_t i = 2; i <= 11; i++)
		if (i != 3 && i != 4)
			get_one(cache, i, 600, 0);
	table_cache__free(cache);
	/* A smaller bound at the next start. */
	set_age(f->dir, 7, 5000);
	cache = open_cache(f->dir, 7 * 8192);
	get_one(cache, 7, 600, -ENOENT);
	assert_int_equal(count_files(f->dir, ".rows", NULL), 7);
	put_one(cache, 20, 600, 0);
	table_cache__free(cache);
	table_cache__free(open_cache(f->dir, 0));
	assert_int_equal(count_files(f->dir, ".rows", NULL), 1);
	assert_int_equal(access(odd, F_OK), 0);
	assert_int_equal(access(odd_dir, F_OK), 0);
	free(odd);
	free(odd_dir);
}

/* Temporary names of the dead go, those of the living stay. */
static void test_left_behind(void **state)
{
	struct fixture *f = *state;
	struct table_cache *cache = open_cache(f->dir, MEBIBYTE);
	int dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY);
	struct new_file alive, named;
	char *dead = path_in(f->dir, ".new-0123456789abcdef");
	char *other = path_in(f->dir, ".new-0123456789abcdeg");

	close(open(dead, O_CREAT | O_WRONLY, 0600));
	close(open(other, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(new_file__create_named(dir_fd, &alive), 0);
	assert_true(new_file__is_temporary(alive.name));
	table_cache__free(cache);
	cache = open_cache(f->dir, MEBIBYTE);
	assert_int_equal(access(dead, F_OK), -1);
	assert_int_equal(access(other, F_OK), 0);
	assert_int_equal(new_file__publish(&alive, "whole"), 0);
	new_file__close(&alive);
	assert_int_equal(count_files(f->dir, "whole", NULL), 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(i ? new_file__create(dir_fd, &named)
				   : new_file__create_named(dir_fd, &named),
				 0);
		assert_int_equal(new_file__publish(&named, "whole"), -EEXIST);
		new_file__close(&named);
		assert_int_equal(count_files(f->dir, "", NULL), 3); /* key, whole, other */
	}
	close(dir_fd);
	table_cache__free(cache);
	free(dead);
	free(other);
}

/* Runs `body` in a child with a file system of 256 KiB over the cache's directory. */
static void with_small_disk(void **state, void (*body)(struct fixture *f, int step))
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	table_cache__free(open_cache(f->dir, MEBIBYTE));
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", f->dir, "tmpfs", 0, "size=256k,mode=0700"))
			_exit(77);
		body(f, 0);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void fill_disk(struct fixture *f, int step)
{
	struct unwind_table table = small_table(20000, 1), small = small_table(600, 2), got;
	struct table_key key = make_key(1), small_key = make_key(2);
	struct table_cache *cache;
	int err = 0;

	(void)step;
	if (table_cache__open(f->dir, MEBIBYTE, &cache) ||
	    table_cache__put(cache, &small_key, &small))
		_exit(1);
	for (uint8_t i = 10; i < 20 && !err; i++) {
		key.fingerprint[0] = i;
		err = table_cache__put(cache, &key, &table);
	}
	if (err != -ENOSPC || table_cache__get(cache, &key, &got) != -ENOENT ||
	    table_cache__get(cache, &small_key, &got) || count_files(f->dir, ".rows", NULL) != 2)
		_exit(2);
	if (mount(NULL, f->dir, NULL, MS_REMOUNT | MS_RDONLY, NULL))
		_exit(77);
	unwind_table__free(&got);
	if (table_cache__put(cache, &key, &table) != -EROFS ||
	    table_cache__get(cache, &small_key, &got))
		_exit(3);
	table_cache__free(cache);
	/* What is there can be read from a file system that cannot be written. */
	if (table_cache__open(f->dir, 1000, &cache) || table_cache__get(cache, &small_key, &got))
		_exit(4);
}

static void test_disk_full_or_read_only(void **state)
{
	with_small_disk(state, fill_disk);
}

#define PROCESSES 6

static void write_and_read(const char *dir, unsigned int seed)
{
	struct unwind_table want, got;
	struct table_cache *cache;
	int err;

	srand(seed);
	if (table_cache__open(dir, 12 * 8192, &cache))
		_exit(1);
	for (int i = 0; i < 300; i++) {
		struct table_key key = make_key((uint8_t)(rand() % 20));

		want = small_table(600, key.fingerprint[0]);
		err = table_cache__get(cache, &key, &got);
		if (!err && memcmp(got.rows, want.rows, want.row_cnt * sizeof(*want.rows)) != 0)
			_exit(2);
		if (!err)
			unwind_table__free(&got);
		else if (err != -ENOENT || table_cache__put(cache, &key, &want))
			_exit(3);
		unwind_table__free(&want);
	}
	table_cache__free(cache);
	_exit(0);
}

/* From the first start on: all make the directory and the key at once. */
static void test_concurrent_processes(void **state)
{
	struct fixture *f = *state;
	struct table_cache *cache;
	pid_t pids[PROCESSES];
	int status;

	for (unsigned int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (!pids[i])
			write_and_read(f->dir, i);
	}
	for (unsigned int i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	cache = open_cache(f->dir, 12 * 8192);
	assert_in_range(count_files(f->dir, ".rows", NULL), 1, 12);
	assert_int_equal(count_files(f->dir, "", NULL), count_files(f->dir, ".rows", NULL) + 1);
	table_cache__free(cache);
}

static void remove_tables(const char *dir)
{
	char *name = NULL, *path;

	while (count_files(dir, ".rows", &name)) {
		path = path_in(dir, name);
		assert_int_equal(unlink(path), 0);
		free(path);
		free(name);
		name = NULL;
	}
}

/* A writer that is killed leaves nothing that looks like an entry. */
static void test_killed_writer(void **state)
{
	struct fixture *f = *state;
	struct table_cache *cache = open_cache(f->dir, 64 * MEBIBYTE);
	pid_t pid;

	for (unsigned int i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			for (uint8_t j = 0;; j++)
				put_one(cache, j, 60000, 0);
		}
		usleep(500 + i * 300);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		for (unsigned int j = 0; j < 256; j++) {
			struct table_key key = make_key((uint8_t)j);
			struct unwind_table got;
			int err = table_cache__get(cache, &key, &got);

			if (!err)
				unwind_table__free(&got);
			assert_true(!err || err == -ENOENT);
		}
		remove_tables(f->dir);
	}
	table_cache__free(cache);
	table_cache__free(open_cache(f->dir, MEBIBYTE));
	assert_int_equal(count_files(f->dir, "", NULL), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_dir, teardown_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_put_and_get),
		TEST(test_tampered),
		TEST(test_foreign),
		TEST(test_bad_keys),
		TEST(test_whose_directory),
		TEST(test_bounded),
		TEST(test_left_behind),
		TEST(test_disk_full_or_read_only),
		TEST(test_concurrent_processes),
		TEST(test_killed_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
