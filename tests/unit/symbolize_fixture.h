/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the symbolize tests share: a temporary folder, programs run in it, files compiled at run
 * time. It goes without <fcntl.h> and <sys/stat.h>, because their struct stat cannot meet the enum
 * of include/stats.h.
 */
#ifndef LEAKSWEEP_TESTS_SYMBOLIZE_FIXTURE_H
#define LEAKSWEEP_TESTS_SYMBOLIZE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char *fixture_dir;

static inline char *fmt(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline char *fmt(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	assert_true(vasprintf(&text, format, args) >= 0);
	va_end(args);
	return text;
}

/* Path of a file in the temporary folder; owned by the caller. */
static inline char *in_dir(const char *name)
{
	return fmt("%s/%s", fixture_dir, name);
}

/* Runs a shell command in the temporary folder. Returns its exit status. */
static inline int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int shell(const char *format, ...)
{
	char *argv[] = {"sh", "-c", NULL, NULL}, *command;
	int status;
	va_list args;
	pid_t pid;

	va_start(args, format);
	assert_true(vasprintf(&command, format, args) >= 0);
	va_end(args);
	argv[2] = fmt("cd '%s' && { %s; } 2>/dev/null", fixture_dir, command);
	assert_int_equal(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	free(argv[2]);
	free(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline bool have(const char *program)
{
	return shell("command -v %s >/dev/null", program) == 0;
}

static inline void write_file(const char *name, const char *text)
{
	char *path = in_dir(name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	free(path);
}

static inline int open_file(const char *path)
{
	FILE *file = fopen(path, "re");
	int fd;

	assert_non_null(file);
	fd = dup(fileno(file));
	assert_true(fd >= 0);
	fclose(file);
	return fd;
}

static inline int open_in_dir(const char *name)
{
	char *path = in_dir(name);
	int fd = open_file(path);

	free(path);
	return fd;
}

static inline double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline int fixture_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	fixture_dir = fmt("%s/symbolize.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	return mkdtemp(fixture_dir) ? 0 : -1;
}

static inline int fixture_teardown(void **state)
{
	(void)state;
	shell("rm -rf '%s'", fixture_dir);
	free(fixture_dir);
	return 0;
}

/* A program with every kind of function symbol; `sample.c` in the temporary folder. */
static inline void write_sample(void)
{
	write_file(
		"sample.c",
		"#include <stdlib.h>\n"
		"#include <stdio.h>\n"
		"#define KEEP __attribute__((noinline, used))\n"
		"static KEEP int local_one(int x) { return x * 3 + rand(); }\n"
		"static KEEP int local_two(int x) { if (x > 5) abort(); return local_one(x) + 1; "
		"}\n"
		"KEEP int global_fn(int x) { return local_two(x) ^ 5; }\n"
		"__attribute__((weak)) KEEP int weak_fn(int x) { return global_fn(x) - 2; }\n"
		"extern int alias_fn(int) __attribute__((alias(\"global_fn\")));\n"
		"extern int __hidden_alias(int) __attribute__((alias(\"global_fn\")));\n"
		"static int (*choose(void))(int) { return global_fn; }\n"
		"int chosen_fn(int) __attribute__((ifunc(\"choose\")));\n"
		"__asm__(\".text\\n.p2align 4\\n.type asm_unsized,@function\\nasm_unsized:\\n\"\n"
		"        \"nop\\nnop\\nasm_label:\\nnop\\nret\\n.p2align "
		"4\\nasm_bare:\\nnop\\nret\\n\"\n"
		"        \".p2align 4\\n.globl outer_fn\\n.type "
		"outer_fn,@function\\nouter_fn:\\n\"\n"
		"        \"nop\\nnop\\n.globl inner_fn\\n.type "
		"inner_fn,@function\\ninner_fn:\\nnop\\nnop\\n\"\n"
		"        \".size inner_fn, .-inner_fn\\ninside_label:\\nnop\\nret\\n\"\n"
		"        \".size outer_fn, .-outer_fn\\n\");\n"
		"int main(int argc, char **argv) { (void)argv; return chosen_fn(argc) + "
		"weak_fn(argc); }\n");
}

#endif
