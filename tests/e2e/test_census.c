/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `leaksweep census` says of the distribution's Python, and to those who ask for the wrong. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/harness.h"

#define PYTHON "/usr/bin/python3"
#define NOBODY 65534

static const char program[] = "import sys\n"
			      "class Session: pass\n"
			      "keep = []\n"
			      "while True:\n"
			      "    for i in range(1000):\n"
			      "        s = Session(); s.user = i + 0.5; keep.append(s)\n"
			      "    keep.append(bytes(5000000))\n"
			      "    print('READY', len(keep), flush=True)\n"
			      "    sys.stdin.readline()\n";

static struct child *start_python(void)
{
	struct child *child;

	if (access(PYTHON, X_OK)) {
		print_message("there is no " PYTHON "\n");
		skip();
	}
	child = child__start(ARGS(PYTHON, "-c", program), NULL);
	free(child__await_line(child, child->out_fd, "READY", TIMEOUT_MS));
	return child;
}

/* Runs it to its end, which must be exit code `code`. */
static struct child *census(const char *const *args, const struct child_opts *opts, int code)
{
	struct child *tool = tool__start(args, opts);
	int status = child__await_exit(tool, TIMEOUT_MS);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail_msg("status 0x%x instead of exit code %d: %s%s", status, code,
			 child__stdout(tool), child__stderr(tool));
	return tool;
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

static int64_t number(struct json_object *object, const char *name)
{
	return json_object_get_int64(field(object, name));
}

static struct json_object *type_of(struct json_object *root, const char *name)
{
	struct json_object *types = field(root, "types");

	for (size_t i = 0; i < json_object_array_length(types); i++) {
		struct json_object *type = json_object_array_get_idx(types, i);

		if (!strcmp(text_of(type, "type"), name))
			return type;
	}
	fail_msg("there is no type %s", name);
	return NULL;
}

static void test_json(void **state)
{
	struct child *python = start_python(), *tool;
	char *pid = format("%d", python->pid), *text;
	struct report report;

	(void)state;
	tool = census(ARGS("census", "-p", pid, "--format", "json"), NULL, 0);
	text = child__stdout(tool);
	report = report__parse(text);
	assert_int_equal(number(type_of(report.root, "__main__.Session"), "count"), 1000);
	assert_true(number(type_of(report.root, "bytes"), "malloc_bytes") >= 5000033);
	assert_null(field(type_of(report.root, "bytes"), "bytes_change"));
	assert_int_equal(number(report.root, "types_left_out"), 0);
	assert_int_equal(number(field(report.root, "totals"), "torn"), 0);
	assert_int_equal(number(field(report.root, "process"), "pid"), python->pid);
	free(text);
	free(pid);
}

static void test_table(void **state)
{
	struct child *python = start_python(), *tool;
	char *pid = format("%d", python->pid), *out;

	(void)state;
	tool = census(ARGS("census", "-p", pid, "--top", "0"), NULL, 0);
	out = child__stdout(tool);
	assert_non_null(strstr(out, "  __main__.Session\n"));
	assert_non_null(strstr(out, " bytes\n"));
	assert_null(strstr(out, "more types"));
	free(out);
	tool = census(ARGS("census", "-p", pid, "--top", "2", "--sort", "count"), NULL, 0);
	out = child__stdout(tool);
	assert_non_null(strstr(out, "more types: see --top\n"));
	free(out);
	free(pid);
}

static void test_diff(void **state)
{
	struct child *python = start_python(), *tool;
	char *pid = format("%d", python->pid), *path = format("%s/out", scratch_dir());
	struct json_object *type, *first;
	struct report report;

	(void)state;
	tool = tool__start(ARGS("census", "-p", pid, "--diff", "--interval", "3s", "--format",
				"json", "-o", path),
			   NULL);
	sleep_ms(1500);
	child__poke(python);
	free(child__await_line(python, python->out_fd, "READY 2002", TIMEOUT_MS));
	assert_int_equal(child__await_exit(tool, TIMEOUT_MS), 0);
	report = report__read_file(path);
	assert_int_equal(report.cnt, 1);
	type = type_of(report.root, "__main__.Session");
	assert_int_equal(number(type, "count_change"), 1000);
	assert_int_equal(number(type, "count"), 2000);
	type = type_of(report.root, "bytes");
	assert_true(labs(number(type, "bytes_change") - 5000033) < 10000);
	first = json_object_array_get_idx(field(report.root, "types"), 0);
	assert_string_equal(text_of(first, "type"), "bytes");
	free(path);
	free(pid);
}

/* It says when the process has ended, and that is no failure. */
static void test_interval(void **state)
{
	struct child *python = start_python(), *tool;
	char *pid = format("%d", python->pid), *out;

	(void)state;
	tool = tool__start(ARGS("census", "-p", pid, "--interval", "200ms"), NULL);
	sleep_ms(1500);
	kill(python->pid, SIGKILL);
	child__await_exit(python, TIMEOUT_MS);
	assert_int_equal(child__await_exit(tool, TIMEOUT_MS), 0);
	assert_one_line_of_error(tool, "has ended");
	out = child__stdout(tool);
	assert_non_null(strstr(out, "changes are those of the last"));
	free(out);
	free(pid);
}

static void test_wrong_targets(void **state)
{
	struct child *python = start_python(), *sleeper;
	const struct child_opts nobody = {.uid = NOBODY};
	char *pid;

	(void)state;
	assert_one_line_of_error(census(ARGS("census", "-p", "4194305"), NULL, 1),
				 "there is no process 4194305");
	sleeper = child__start(ARGS("/bin/sleep", "60"), NULL);
	pid = format("%d", sleeper->pid);
	sleep_ms(100);
	assert_one_line_of_error(census(ARGS("census", "-p", pid), NULL, 1), "is no Python");
	free(pid);
	pid = format("%d", python->pid);
	assert_one_line_of_error(census(ARGS("census", "-p", pid), &nobody, 1), "as root");
	assert_one_line_of_error(
		census(ARGS("census", "-p", pid, "-o", "/nowhere/at/all"), NULL, 2),
		"cannot write /nowhere/at/all");
	free(pid);
}

static void test_bad_options(void **state)
{
	static const struct {
		const char *args[6];
		const char *part;
	} cases[] = {
		{{"census"}, "-p PID"},
		{{"census", "-p", "x"}, "'x' is not the number of a process"},
		{{"census", "-p", "0"}, "'0' is not the number of a process"},
		{{"census", "-p", "1", "2"}, "what is '2'"},
		{{"census", "-p", "1", "--sort", "name"}, "'name' is not bytes, count or growth"},
		{{"census", "-p", "1", "--sort", "growth"}, "two moments"},
		{{"census", "-p", "1", "--interval", "0"}, "more than 0"},
		{{"census", "-p", "1", "--interval", "x"}, "--interval"},
		{{"census", "-p", "1", "--format", "xml"}, "'xml' is not table or json"},
		{{"census", "--what"}, "unknown option --what"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_one_line_of_error(census(cases[i].args, NULL, 2), cases[i].part);
}

static void test_output_not_writable(void **state)
{
	const struct child_opts full = {.out_path = "/dev/full"};
	struct child *python = start_python();
	char *pid = format("%d", python->pid);

	(void)state;
	assert_one_line_of_error(census(ARGS("census", "-p", pid), &full, 1), strerror(ENOSPC));
	free(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_json),
		E2E_TEST(test_table),
		E2E_TEST(test_diff),
		E2E_TEST(test_interval),
		E2E_TEST(test_wrong_targets),
		E2E_TEST(test_bad_options),
		E2E_TEST(test_output_not_writable),
	};

	return harness__main("e2e census", tests, sizeof(tests) / sizeof(tests[0]));
}
