/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocators other than the C library's, and places where they are hard to find. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/harness.h"

static bool maps_file(pid_t pid, const char *name)
{
	char *path = format("/proc/%d/maps", (int)pid), *line = NULL;
	FILE *file = fopen(path, "re");
	bool found = false;
	size_t len = 0;

	free(path);
	if (!file)
		return false;
	while (!found && getline(&line, &len, file) > 0)
		found = strstr(line, name) != NULL;
	free(line);
	fclose(file);
	return found;
}

/* Skips the test when the library is not installed. */
static void need_preload(const char *leaker, const char *library, const struct child_opts *opts)
{
	struct child *child = leaker__start(ARGS(leaker, "idle"), opts);

	if (maps_file(child->pid, library))
		return;
	print_message("skipped: %s is not installed\n", library);
	skip();
}

static void need_leaker(const char *name)
{
	char *path = leaker_path(name);
	bool there = !access(path, X_OK);

	free(path);
	if (there)
		return;
	print_message("skipped: %s could not be built here\n", name);
	skip();
}

static void check_preload(const char *library)
{
	char *env = format("LD_PRELOAD=%s", library);
	const struct child_opts opts = {.env = ARGS(env)};

	need_preload("alloc", library, &opts);
	check_exact(ARGS("alloc", "all"), NO_ARGS, &opts);
	check_exact(ARGS("threads", "handoff"), NO_ARGS, &opts);
	free(env);
}

static void test_jemalloc(void **state)
{
	(void)state;
	check_preload("libjemalloc.so.2");
}

static void test_jemallocs_own_calls(void **state)
{
	const struct child_opts opts = {.env = ARGS("LD_PRELOAD=libjemalloc.so.2")};

	(void)state;
	need_preload("alloc", "libjemalloc.so.2", &opts);
	check_exact(ARGS("jemalloc_x"), NO_ARGS, &opts);
}

static void test_tcmalloc(void **state)
{
	(void)state;
	check_preload("libtcmalloc_minimal.so.4");
}

static void test_mimalloc(void **state)
{
	(void)state;
	check_preload("libmimalloc.so.2");
}

/* C++ on an allocator that implements operator new itself. */
static void check_new(const char *library)
{
	char *env = format("LD_PRELOAD=%s", library);
	const struct child_opts opts = {.env = ARGS(env)};
	struct run run;

	need_preload("alloc", library, &opts);
	run = run__trace(ARGS("new_delete"), NO_ARGS, &opts);
	assert_expect(&run.report, expects__of(&run.expects, 0));
	assert_int_equal(report__loss(&run.report, "unknown_frees"), 0);
	free(env);
}

static void test_operator_new_of_jemalloc(void **state)
{
	(void)state;
	check_new("libjemalloc.so.2");
}

static void test_operator_new_of_tcmalloc(void **state)
{
	(void)state;
	check_new("libtcmalloc_minimal.so.4");
}

static void test_operator_new_of_mimalloc(void **state)
{
	(void)state;
	check_new("libmimalloc.so.2");
}

static void check_program(const char *name)
{
	need_leaker(name);
	check_exact(ARGS(name, "all"), NO_ARGS, NULL);
}

static void test_static_executable(void **state)
{
	struct run run;

	(void)state;
	check_program("alloc-static");
	run = run__command(ARGS("alloc-static", "malloc"), NO_ARGS, NULL);
	assert_expect_functions(&run.report, expects__of(&run.expects, 0));
}

static void test_static_pie_executable(void **state)
{
	(void)state;
	check_program("alloc-static-pie");
}

/* musl's functions call each other: aligned_alloc in malloc, posix_memalign in aligned_alloc,
 * calloc in malloc. */
static void test_musl(void **state)
{
	(void)state;
	check_program("alloc-musl");
}

static void test_static_musl(void **state)
{
	(void)state;
	check_program("alloc-musl-static");
}

static void test_functions_named_by_the_user(void **state)
{
	char *library = leaker_path("libsecond.so");

	(void)state;
	check_exact(ARGS("plugin", "loaded", library),
		    ARGS("--alloc-fn", "my_alloc:size=1", "--free-fn", "my_free"), NULL);
	free(library);
}

static void test_prefixed_build(void **state)
{
	char *library = leaker_path("libsecond.so");

	(void)state;
	check_exact(ARGS("plugin", "loaded", library), ARGS("--alloc-prefix", "zz_"), NULL);
	free(library);
}

/* What a report tells of the allocator in one file. */
static struct json_object *coverage_of(const struct run *run, const char *path)
{
	struct json_object *process = report__process(&run->report, run->leaker->pid), *list, *item;

	list = field(field(process, "coverage"), "allocators");
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		item = json_object_array_get_idx(list, i);
		if (!strcmp(text_of(item, "path") ?: "", path))
			return item;
	}
	fail_msg("the report does not tell of %s: %s", path, json_object_to_json_string(list));
	return NULL;
}

/* One that is seen to be there and not followed is told as such, beside a libc that is. */
static void test_prefixed_build_without_its_prefix(void **state)
{
	char *library = leaker_path("libsecond.so");
	const char *reason = "a jemalloc with the prefix zz_ is in the file: not followed without "
			     "--alloc-prefix zz_";
	struct json_object *item;
	struct run run;

	(void)state;
	run = run__trace(ARGS("plugin", "loaded", library), NO_ARGS, NULL);
	item = coverage_of(&run, library);
	assert_string_equal(text_of(item, "name"), "jemalloc");
	assert_string_equal(text_of(item, "status"), "skipped");
	assert_string_equal(text_of(item, "reason"), reason);

	/* A part of the file is followed. */
	run = run__trace(ARGS("plugin", "loaded", library),
			 ARGS("--alloc-fn", "my_alloc:size=1", "--free-fn", "my_free"), NULL);
	item = coverage_of(&run, library);
	assert_string_equal(text_of(item, "status"), "partial");
	assert_string_equal(text_of(item, "reason"), reason);

	run = run__trace(ARGS("plugin", "loaded", library), ARGS("--alloc-prefix", "zz_"), NULL);
	item = coverage_of(&run, library);
	assert_string_equal(text_of(item, "status"), "probed");
	assert_string_equal(text_of(item, "reason"), "");
	free(library);
}

/* The library comes after the trace began; dlopen's own blocks are in the process's total. */
static void test_library_opened_later(void **state)
{
	char *library = leaker_path("libsecond.so");
	struct run run =
		run__trace(ARGS("plugin", "open", library),
			   ARGS("--alloc-fn", "my_alloc:size=1", "--free-fn", "my_free"), NULL);

	(void)state;
	assert_expect_functions(&run.report, expects__of(&run.expects, 0));
	free(library);
}

static void test_second_malloc_in_its_own_namespace(void **state)
{
	char *library = leaker_path("libownmalloc.so");

	(void)state;
	check_exact(ARGS("plugin", "namespace", library), NO_ARGS, NULL);
	free(library);
}

/* ---- files that are not where their path says
 * ------------------------------------------------------------ */

static void test_deleted_executable(void **state)
{
	char *from = leaker_path("alloc-static"), *to = format("%s/gone", scratch_dir());
	struct child *leaker, *tool;
	struct report report;
	struct expects expects;
	char *pid, *out;

	(void)state;
	copy_file(from, to);
	leaker = leaker__start(ARGS(to, "all"), NULL);
	assert_int_equal(unlink(to), 0);
	pid = format("%d", (int)leaker->pid);
	tool = tool__start(ARGS("trace", "--format", "json", "--top", "0", "-p", pid), NULL);
	tool__await_tracing(tool);
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "DONE", TIMEOUT_MS));
	tool__stop(tool);
	out = child__stdout(tool);
	report = report__parse(out);
	expects = expects__read(leaker);
	assert_expect(&report, expects__of(&expects, 0));
	leaker__finish(leaker);
	free(out);
	free(pid);
	free(from);
	free(to);
}

/* Returns the path of the file with this name that process `pid` maps, owned. */
static char *mapped_path(pid_t pid, const char *name)
{
	char *path = format("/proc/%d/maps", (int)pid), *line = NULL, *found = NULL;
	FILE *file = fopen(path, "re");
	size_t len = 0;

	assert_non_null(file);
	while (!found && getline(&line, &len, file) > 0) {
		char *start = strchr(line, '/');

		if (!start || !strstr(start, name))
			continue;
		start[strcspn(start, "\n")] = '\0';
		found = strdup(start);
	}
	free(line);
	fclose(file);
	free(path);
	assert_non_null(found);
	return found;
}

/* A C library of its own, deleted like one that was upgraded under a running process. */
static void test_deleted_library(void **state)
{
	struct child *probe = leaker__start(ARGS("alloc", "idle"), NULL);
	char *libc = mapped_path(probe->pid, "libc.so"),
	     *to = format("%s/libc.so.6", scratch_dir());
	char *env, *dir = strdup(to);
	struct child_opts opts = {0};
	struct run run;

	(void)state;
	*strrchr(dir, '/') = '\0';
	env = format("LD_LIBRARY_PATH=%s", dir);
	opts.env = ARGS(env);
	copy_file(libc, to);
	run.leaker = leaker__start(ARGS("alloc", "all"), &opts);
	assert_true(maps_file(run.leaker->pid, dir));
	assert_int_equal(unlink(to), 0);
	free(env);
	env = format("%d", (int)run.leaker->pid);
	run.tool = tool__start(ARGS("trace", "--format", "json", "--top", "0", "-p", env), NULL);
	tool__await_tracing(run.tool);
	run__go(&run);
	run__end(&run);
	assert_expect(&run.report, expects__of(&run.expects, 0));
	free(env);
	free(dir);
	free(to);
	free(libc);
}

/* Copies a file to the same path under `root`. */
static void copy_into(const char *root, const char *path)
{
	char *to = format("%s%s", root, path);

	for (char *slash = strchr(to + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(to, 0755);
		*slash = '/';
	}
	copy_file(path, to);
	free(to);
}

/* A container in small: its own root, its own copy of the C library, a mount namespace nobody else
 * is in. */
static void test_another_mount_namespace(void **state)
{
	struct child *probe = leaker__start(ARGS("alloc", "idle"), NULL);
	char *libc = mapped_path(probe->pid, "libc.so"),
	     *loader = mapped_path(probe->pid, "/ld-linux");
	char *program = leaker_path("alloc"), *interp;
	const char *root = scratch_dir();
	const struct child_opts opts = {.root = root};

	(void)state;
	copy_into(root, program);
	copy_into(root, libc);
	copy_into(root, loader);
	/* The interpreter is found by the name in the program, which may go through a link that the
	 * root lacks. */
	interp = realpath("/lib64/ld-linux-x86-64.so.2", NULL);
	if (interp)
		copy_into(root, "/lib64/ld-linux-x86-64.so.2");
	else
		copy_into(root, "/lib/ld-linux-aarch64.so.1");
	check_exact(ARGS("alloc", "all"), NO_ARGS, &opts);
	free(interp);
	free(program);
	free(libc);
	free(loader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_jemalloc),
		E2E_TEST(test_jemallocs_own_calls),
		E2E_TEST(test_tcmalloc),
		E2E_TEST(test_mimalloc),
		E2E_TEST(test_operator_new_of_jemalloc),
		E2E_TEST(test_operator_new_of_tcmalloc),
		E2E_TEST(test_operator_new_of_mimalloc),
		E2E_TEST(test_static_executable),
		E2E_TEST(test_static_pie_executable),
		E2E_TEST(test_musl),
		E2E_TEST(test_static_musl),
		E2E_TEST(test_functions_named_by_the_user),
		E2E_TEST(test_prefixed_build),
		E2E_TEST(test_prefixed_build_without_its_prefix),
		E2E_TEST(test_library_opened_later),
		E2E_TEST(test_second_malloc_in_its_own_namespace),
		E2E_TEST(test_deleted_executable),
		E2E_TEST(test_deleted_library),
		E2E_TEST(test_another_mount_namespace),
	};

	return harness__main("e2e allocators", tests, sizeof(tests) / sizeof(tests[0]));
}
