/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every MemoryError of a traced Python is reported: who, where in Python, how much, which limit. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/python_tests.h"

struct error_run {
	struct child *program, *tool;
	struct json_object *truth; /* owned */
	struct report report;
	char *status; /* owned: what the tool has said meanwhile */
};

/* Runs a mode of memory_error.py under the tool, to its end. */
static struct error_run error_run(const struct python *python, const char *mode)
{
	char *path = realpath("tests/python/memory_error.py", NULL), *pid, *line, *out;
	struct error_run run;

	assert_non_null(path);
	run.program = child__start(ARGS(python->path, path, mode), NULL);
	free(child__await_line(run.program, run.program->out_fd, "READY", TIMEOUT_MS));
	pid = format("%d", (int)run.program->pid);
	run.tool = tool__start(ARGS("trace", "--format", "json", "--top", "0", "-p", pid), NULL);
	tool__await_tracing(run.tool);
	child__poke(run.program);
	line = child__await_line(run.program, run.program->out_fd, "TRUTH", LONG_MS);
	run.truth = json_tokener_parse(line + strlen("TRUTH "));
	assert_non_null(run.truth);
	tool__stop(run.tool);
	out = child__stdout(run.tool);
	run.report = report__parse(out);
	run.status = child__stderr(run.tool);
	child__poke(run.program);
	assert_int_equal(child__await_exit(run.program, TIMEOUT_MS), 0);
	free(line);
	free(out);
	free(pid);
	free(path);
	return run;
}

static void error_run__free(struct error_run *run)
{
	json_object_put(run->truth);
	free(run->status);
}

/* Returns the MemoryError whose first Python frame is where the traceback ends. */
static struct json_object *find_error(const struct error_run *run)
{
	struct json_object *list = field(run->report.root, "failures"), *found = NULL;

	if (!list)
		fail_msg("the report has no failures; the tool said: %s", run->status);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *failure = json_object_array_get_idx(list, i), *frame;
		size_t at = 0;

		if (strcmp(text_of(failure, "kind"), "memory_error"))
			continue;
		frame = next_python_frame(field(failure, "frames"), &at);
		if (frame &&
		    frame_is(frame, text_of(run->truth, "file"), number_of(run->truth, "line")))
			found = failure;
	}
	if (!found)
		fail_msg("no MemoryError at %s:%d in %s", text_of(run->truth, "file"),
			 (int)number_of(run->truth, "line"), json_object_to_json_string(list));
	return found;
}

/* Finds the error, its place and the limit; returns it. */
static struct json_object *check_error(const struct error_run *run)
{
	struct json_object *error = find_error(run);
	const char *why = text_of(error, "limit");
	char *limit = format("ulimit -v %d KiB: ", (int)number_of(run->truth, "limit_kib"));
	char *who = format("[%d]: MemoryError", (int)run->program->pid);

	assert_int_equal(number_of(error, "pid"), run->program->pid);
	if (!why || strncmp(why, limit, strlen(limit)))
		fail_msg("the limit is told as %s, not %s...", why, limit);
	if (!strstr(run->status, who) || !strstr(run->status, limit))
		fail_msg("the status does not tell of it: %s", run->status);
	free(who);
	free(limit);
	return error;
}

static void check_huge(void **state, const char *mode)
{
	struct error_run run = error_run(*state, mode);
	struct json_object *error = check_error(&run);

	/* 8000000000 bytes */
	assert_int_equal(number_of(run.truth, "bytes"), 8000000000);
	assert_non_null(strstr(text_of(error, "limit"), " in use, 7.5 GiB asked for"));
	assert_non_null(strstr(run.status, ": MemoryError, asked for 7.5 GiB; ulimit -v "));
	assert_null(strstr(run.status, ": allocation refused"));
	error_run__free(&run);
}

static void test_huge_list(void **state)
{
	check_huge(state, "list");
}

static void test_huge_list_in_a_thread(void **state)
{
	check_huge(state, "thread");
}

static void test_readlines(void **state)
{
	struct error_run run = error_run(*state, "readlines");

	check_error(&run);
	error_run__free(&run);
}

static void test_growing_list(void **state)
{
	struct error_run run = error_run(*state, "grow");

	check_error(&run);
	error_run__free(&run);
}

/* Python raises it by itself: no limit is to be blamed. */
static void test_size_beyond_python(void **state)
{
	struct error_run run = error_run(*state, "overflow");
	struct json_object *error = find_error(&run);

	assert_null(field(error, "limit"));
	assert_null(field(error, "bytes"));
	error_run__free(&run);
}

int main(void)
{
	const struct python_test tests[] = {
		{"huge list", test_huge_list},
		{"huge list in a thread", test_huge_list_in_a_thread},
		{"readlines", test_readlines},
		{"growing list", test_growing_list},
		{"size beyond Python's own", test_size_beyond_python},
	};

	return python_tests__main("test_python_failures", tests, sizeof(tests) / sizeof(tests[0]));
}
