/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compiles test inputs at run time into a folder that ends with the test. A missing compiler fails
 * the test.
 */
#ifndef LEAKSWEEP_TESTS_UNIT_COMPILE_H
#define LEAKSWEEP_TESTS_UNIT_COMPILE_H

#include <ftw.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define DATA "tests/unit/data/"

extern char **environ;

static char *work_dir;

static inline int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline int make_work_dir(void **state)
{
	const char *base = getenv("TMPDIR");

	(void)state;
	if (asprintf(&work_dir, "%s/leaksweep-unit-XXXXXX", base ? base : "/tmp") < 0)
		return -1;
	return mkdtemp(work_dir) ? 0 : -1;
}

static inline int remove_work_dir(void **state)
{
	(void)state;
	nftw(work_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(work_dir);
	return 0;
}

/* Runs a command of words separated by single blanks and waits for it; it must succeed. */
static inline void run_command(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static inline void run_command(const char *fmt, ...)
{
	char *argv[64] = {0}, *text, *save = NULL;
	size_t argc = 0;
	va_list args;
	int status;
	pid_t pid;

	va_start(args, fmt);
	assert_true(vasprintf(&text, fmt, args) > 0);
	va_end(args);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		assert_true(argc < 63);
		argv[argc++] = word;
	}
	status = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (status)
		fail_msg("%s: %s", argv[0], strerror(status));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s failed", argv[0]);
	free(text);
}

/*
 * Compiles tests/unit/data/SOURCE with the given compiler and flags. Returns the owned path of the
 * result.
 */
static inline char *compile(const char *cc, const char *flags, const char *source)
{
	static unsigned int serial;
	char *path;

	assert_true(asprintf(&path, "%s/%u", work_dir, serial++) > 0);
	run_command("%s %s -o %s " DATA "%s", cc, flags, path, source);
	return path;
}

#endif
