/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `leaksweep doctor` says of this host and of processes that are made for it. */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/harness.h"

#define NOBODY 65534

/* Runs it to its end, which must be exit code `code`. */
static struct child *doctor(const char *const *args, const struct child_opts *opts, int code)
{
	struct child *tool = tool__start(args, opts);
	int status = child__await_exit(tool, TIMEOUT_MS);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail_msg("status 0x%x instead of exit code %d: %s%s", status, code,
			 child__stdout(tool), child__stderr(tool));
	return tool;
}

static void assert_stdout_has(struct child *tool, const char *part)
{
	char *out = child__stdout(tool);

	if (!strstr(out, part))
		fail_msg("\"%s\" is not in:\n%s", part, out);
	free(out);
}

static void assert_one_line_of_error(struct child *tool, const char *part)
{
	char *err = child__stderr(tool);
	size_t len = strlen(err);

	if (strncmp(err, "leaksweep: ", 11) || strchr(err, '\n') != err + len - 1 ||
	    !strstr(err, part))
		fail_msg("not one line about \"%s\": %s", part, err);
	free(err);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* Owned. */
static struct json_object *diagnose(const struct child_opts *opts, int code)
{
	struct child *tool = doctor(ARGS("doctor", "--format", "json"), opts, code);
	char *out = child__stdout(tool);
	struct json_object *root = json_tokener_parse(out);

	if (!root)
		fail_msg("not JSON: %.2000s", out);
	free(out);
	return root;
}

static struct json_object *get(struct json_object *object, const char *name)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, name, &value))
		fail_msg("there is no \"%s\" in %.500s", name, json_object_to_json_string(object));
	return value;
}

static const char *get_text(struct json_object *object, const char *name)
{
	return json_object_get_string(get(object, name));
}

static int64_t get_number(struct json_object *object, const char *name)
{
	return json_object_get_int64(get(object, name));
}

/* Returns the first item of an array whose field is `value`, or NULL. */
static struct json_object *find(struct json_object *list, const char *field, const char *value)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *item = json_object_array_get_idx(list, i);
		const char *text = get_text(item, field);

		if (text && !strcmp(text, value))
			return item;
	}
	return NULL;
}

static struct json_object *find_pid(struct json_object *root, pid_t pid)
{
	char *text = format("%d", (int)pid);
	struct json_object *item = find(get(get(root, "processes"), "not_followed"), "pid", text);

	free(text);
	return item;
}

/* ---- the host -------------------------------------------------------------------------------- */

static void test_table(void **state)
{
	static const char *const parts[] = {
		"Privileges\n",
		"Kernel\n",
		"Limits\n",
		"Cgroups\n",
		"Trial\n",
		"\nProbes\n",
		"Allocators in use now",
		"CAP_SYS_ADMIN",
		"release",
		"btf",
		"uprobe-multi",
		"tracefs",
		"bpf jit",
		"kptr_restrict",
		"RLIMIT_MEMLOCK",
		"RLIMIT_NOFILE",
		"tables",
		"hit, emulated",
		"hit, stepped",
		"call and its return",
		"calls of a child were recorded",
		"libc.so.6",
		"\nTracing works here",
	};
	struct child *tool = doctor(ARGS("doctor"), NULL, 0);
	char *err = child__stderr(tool);

	(void)state;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		assert_stdout_has(tool, parts[i]);
	assert_string_equal(err, "");
	free(err);
}

/* Whether qemu makes it up: then a step costs no more than what the kernel emulates. */
static bool has_emulated_cpu(void)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	bool is_emulated = false;
	char *line = NULL;
	size_t cap = 0;

	assert_non_null(file);
	while (!is_emulated && getline(&line, &cap, file) > 0)
		is_emulated = !strncmp(line, "model name", 10) && strstr(line, "QEMU TCG");
	free(line);
	fclose(file);
	return is_emulated;
}

static void test_json(void **state)
{
	static const char *const names[] = {
		"user",
		"CAP_SYS_ADMIN",
		"CAP_BPF",
		"CAP_PERFMON",
		"CAP_SYS_PTRACE",
		"CAP_SYS_RESOURCE",
		"release",
		"bpf",
		"btf",
		"perf-link",
		"uprobe-multi",
		"uprobe-session",
		"tracefs",
		"bpf jit",
		"kptr_restrict",
		"RLIMIT_MEMLOCK",
		"RLIMIT_NOFILE",
		"version",
		"programs",
		"malloc and free",
	};
	struct json_object *root = diagnose(NULL, 0), *probes = get(root, "probes"),
			   *trial = get(root, "trial");

	(void)state;
	assert_true(json_object_get_boolean(get(root, "can_trace")));
	assert_int_equal(get_number(get(root, "leaksweep"), "schema"), 1);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct json_object *check = find(get(root, "checks"), "name", names[i]);

		if (!check)
			fail_msg("nothing is said of %s", names[i]);
		if (strcmp(get_text(check, "status"), "ok"))
			assert_non_null(get_text(check, "found"));
	}
	/* The costs are what they are, but not in any order. */
	assert_true(get_number(probes, "emulated_ns") >= 50);
	if (!has_emulated_cpu())
		assert_true(get_number(probes, "emulated_ns") < get_number(probes, "stepped_ns"));
	assert_true(get_number(probes, "emulated_ns") < get_number(probes, "call_return_ns"));
	assert_true(get_number(trial, "pairs") > 0);
	assert_int_equal(get_number(trial, "allocs_seen"), get_number(trial, "pairs"));
	assert_int_equal(get_number(trial, "frees_seen"), get_number(trial, "pairs"));
	assert_true(get_number(trial, "pair_ns") > get_number(trial, "bare_pair_ns"));
	json_object_put(root);
}

/* What the tool may take is what `trace` takes by itself, and the option that changes it. */
static void test_memory_bound(void **state)
{
	struct json_object *root = diagnose(NULL, 0),
			   *check = find(get(root, "checks"), "name", "memory bound");
	unsigned long long mib, kernel, tool;
	const char *found;
	char *option;

	(void)state;
	assert_non_null(check);
	found = get_text(check, "found");
	if (sscanf(found,
		   "at most %llu MiB, when all tables are full: %llu MiB in the kernel and %llu "
		   "MiB",
		   &mib, &kernel, &tool) != 3 ||
	    !strstr(found, "--memory BYTES"))
		fail_msg("it tells no bound, or not how to change it: %s", found);
	assert_in_range(mib, kernel + tool, kernel + tool + 1);
	option = format("(default %lluM)\n      --max-blocks", mib);
	assert_stdout_has(doctor(ARGS("trace", "--help"), NULL, 0), option);
	free(option);
	json_object_put(root);
}

static void test_verbose(void **state)
{
	struct child *tool = doctor(ARGS("doctor", "-v"), NULL, 0);

	(void)state;
	assert_stdout_has(tool, "posix_memalign ");
	assert_stdout_has(tool, " emulated ");
	assert_stdout_has(tool, "entry: ");
}

static void test_not_root(void **state)
{
	const struct child_opts opts = {.uid = NOBODY};
	char *from = tool_path(), *to = format("%s/leaksweep", scratch_dir()), *out;
	struct child *tool;

	(void)state;
	copy_file(from, to);
	tool = child__start(ARGS(to, "doctor"), &opts);
	assert_int_equal(WEXITSTATUS(child__await_exit(tool, TIMEOUT_MS)), 1);
	out = child__stdout(tool);
	if (!strstr(out, "\nTracing does not work here") || !strstr(out, "run it as root") ||
	    !strstr(out, "cannot be tried without more rights"))
		fail_msg("it does not say that root is needed: %s", out);
	free(out);
	free(from);
	free(to);
}

/* ---- processes ------------------------------------------------------------------------------- */

static void test_preloaded_allocator(void **state)
{
	const struct child_opts opts = {.env = ARGS("LD_PRELOAD=libjemalloc.so.2")};
	struct json_object *root, *allocator, *functions;

	(void)state;
	leaker__start(ARGS("alloc", "idle"), &opts);
	leaker__start(ARGS("alloc", "idle"), &opts);
	root = diagnose(NULL, 0);
	allocator = find(get(root, "allocators"), "name", "jemalloc");
	if (!allocator) {
		print_message("skipped: libjemalloc.so.2 is not installed\n");
		json_object_put(root);
		skip();
	}
	assert_true(get_number(allocator, "processes") >= 2);
	functions = get(allocator, "functions");
	assert_int_equal(json_object_array_length(functions),
			 get_number(allocator, "emulated") + get_number(allocator, "stepped"));
	assert_non_null(find(functions, "symbol", "malloc"));
	assert_non_null(find(functions, "symbol", "free"));
	assert_non_null(find(functions, "symbol", "mallocx"));
	assert_true(get_number(allocator, "pair_traps_ns") >=
		    get_number(get(root, "probes"), "call_return_ns"));
	json_object_put(root);
}

/* One that is seen to be there and not followed is told without being asked. */
static void test_lost_allocator(void **state)
{
	char *library = leaker_path("libsecond.so"), *out, *line, *lost;
	struct json_object *root, *allocator;

	(void)state;
	leaker__start(ARGS("plugin", "loaded", library), NULL);
	root = diagnose(NULL, 0);
	allocator = find(get(root, "allocators"), "path", library);
	assert_non_null(allocator);
	assert_string_equal(get_text(allocator, "name"), "jemalloc");
	assert_int_equal(json_object_array_length(get(allocator, "functions")), 0);
	assert_int_equal(json_object_array_length(get(allocator, "lost")), 1);
	json_object_put(root);
	out = child__stdout(doctor(ARGS("doctor"), NULL, 0));
	line = strstr(out, library);
	lost = line ? strstr(line, "LOST: a jemalloc with the prefix zz_ is in the file") : NULL;
	if (!lost || lost - strchr(line, '\n') > 8)
		fail_msg("the loss is not told below its file: %s", out);
	free(out);
	free(library);
}

static void test_static_program(void **state)
{
	struct child *leaker = leaker__start(ARGS("alloc-static", "idle"), NULL);
	char *path = leaker_path("alloc-static");
	struct json_object *root = diagnose(NULL, 0),
			   *allocator = find(get(root, "allocators"), "path", path);

	(void)state;
	assert_non_null(allocator);
	assert_int_equal(get_number(allocator, "processes"), 1);
	assert_non_null(find(get(allocator, "functions"), "symbol", "malloc"));
	assert_null(find_pid(root, leaker->pid));
	json_object_put(root);
	free(path);
}

/* As `strip` leaves it: without section headers nobody finds a symbol. */
static void strip_file(const char *path)
{
	FILE *file = fopen(path, "r+e");
	Elf64_Ehdr ehdr;

	assert_non_null(file);
	assert_int_equal(fread(&ehdr, sizeof(ehdr), 1, file), 1);
	ehdr.e_shoff = 0;
	ehdr.e_shnum = ehdr.e_shstrndx = 0;
	rewind(file);
	assert_int_equal(fwrite(&ehdr, sizeof(ehdr), 1, file), 1);
	assert_int_equal(fclose(file), 0);
}

static void assert_not_followed(struct json_object *root, pid_t pid, const char *reason_part)
{
	struct json_object *item = find_pid(root, pid);

	if (!item)
		fail_msg("process %d is not named", (int)pid);
	if (!strstr(get_text(item, "reason"), reason_part))
		fail_msg("\"%s\" is not the reason: %s", reason_part, get_text(item, "reason"));
}

/* Of the process that is large by its memory, not by its PID, the reader hears first. */
static void test_unfollowed_by_memory(void **state)
{
	char *from = leaker_path("alloc-static"), *to = format("%s/stripped", scratch_dir());
	struct json_object *root, *list, *small, *large;
	struct child *first, *second;
	uint64_t last_bytes = UINT64_MAX;

	(void)state;
	copy_file(from, to);
	strip_file(to);
	first = leaker__start(ARGS(to, "idle"), NULL);
	second = leaker__start(ARGS(to, "resident"), NULL);
	leaker__go(second);
	root = diagnose(NULL, 0);
	small = find_pid(root, first->pid);
	large = find_pid(root, second->pid);
	assert_true(small && large);
	assert_true(get_number(small, "rss_bytes") > 0);
	assert_in_range(get_number(large, "rss_bytes") - get_number(small, "rss_bytes"), 64 << 20,
			66 << 20);
	list = get(get(root, "processes"), "not_followed");
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		uint64_t bytes = get_number(json_object_array_get_idx(list, i), "rss_bytes");

		assert_true(bytes <= last_bytes);
		last_bytes = bytes;
	}
	json_object_put(root);
	free(from);
	free(to);
}

static void test_stripped_static_program(void **state)
{
	char *from = leaker_path("alloc-static"), *to = format("%s/stripped", scratch_dir());
	struct json_object *root;
	struct child *leaker;

	(void)state;
	copy_file(from, to);
	strip_file(to);
	leaker = leaker__start(ARGS(to, "idle"), NULL);
	root = diagnose(NULL, 0);
	assert_not_followed(root, leaker->pid, "no allocator functions");
	assert_string_equal(get_text(find_pid(root, leaker->pid), "exe"), to);
	json_object_put(root);
	free(from);
	free(to);
}

static void test_32_bit_program(void **state)
{
	char *path = leaker_path("tiny32"), *out;
	struct json_object *root;
	struct child *child;

	(void)state;
	if (access(path, X_OK)) {
		print_message("skipped: no 32-bit program was built here\n");
		skip();
	}
	child = child__start(ARGS(path), NULL);
	sleep_ms(200);
	out = child__stdout(child);
	if (strcmp(out, "READY\n")) {
		print_message("skipped: this kernel does not run 32-bit programs\n");
		skip();
	}
	root = diagnose(NULL, 0);
	assert_not_followed(root, child->pid, "32-bit");
	json_object_put(root);
	free(out);
	free(path);
}

/* A name that would move the cursor and end the line arrives as text. */
static void test_hostile_path(void **state)
{
	char *from = leaker_path("alloc-static"), *to = format("%s/a\033[2J\nb\xff", scratch_dir()),
	     *out;
	struct child *tool;

	(void)state;
	copy_file(from, to);
	leaker__start(ARGS(to, "idle"), NULL);
	tool = doctor(ARGS("doctor"), NULL, 0);
	out = child__stdout(tool);
	assert_null(strchr(out, '\033'));
	assert_non_null(strstr(out, "/a\\x1b[2J"));
	free(out);
	json_object_put(diagnose(NULL, 0));
	free(from);
	free(to);
}

/* ---- bad situations -------------------------------------------------------------------------- */

static void check_usage_error(const char *const *args, const char *part)
{
	struct child *tool = doctor(args, NULL, 2);
	char *out = child__stdout(tool);

	assert_one_line_of_error(tool, part);
	assert_string_equal(out, "");
	free(out);
}

static void test_bad_options(void **state)
{
	(void)state;
	check_usage_error(ARGS("doctor", "--no-such-option"), "--no-such-option");
	check_usage_error(ARGS("doctor", "-x"), "-x");
	check_usage_error(ARGS("doctor", "--format"), "--format");
	check_usage_error(ARGS("doctor", "--format", "folded"), "folded");
	check_usage_error(ARGS("doctor", "1234"), "1234");
}

static void test_help(void **state)
{
	(void)state;
	assert_stdout_has(doctor(ARGS("doctor", "--help"), NULL, 0), "--format");
	assert_stdout_has(doctor(ARGS("doctor", "-h"), NULL, 0), "usage: leaksweep doctor");
}

static void test_output_not_writable(void **state)
{
	const struct child_opts opts = {.out_path = "/dev/full"};
	struct child *tool;

	(void)state;
	tool = doctor(ARGS("doctor"), &opts, 1);
	assert_one_line_of_error(tool, strerror(ENOSPC));
	tool = doctor(ARGS("doctor", "--format", "json"), &opts, 1);
	assert_one_line_of_error(tool, strerror(ENOSPC));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_table),
		E2E_TEST(test_json),
		E2E_TEST(test_memory_bound),
		E2E_TEST(test_verbose),
		E2E_TEST(test_not_root),
		E2E_TEST(test_preloaded_allocator),
		E2E_TEST(test_lost_allocator),
		E2E_TEST(test_static_program),
		E2E_TEST(test_unfollowed_by_memory),
		E2E_TEST(test_stripped_static_program),
		E2E_TEST(test_32_bit_program),
		E2E_TEST(test_hostile_path),
		E2E_TEST(test_bad_options),
		E2E_TEST(test_help),
		E2E_TEST(test_output_not_writable),
	};

	return harness__main("e2e doctor", tests, sizeof(tests) / sizeof(tests[0]));
}
