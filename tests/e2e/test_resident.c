/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is free and stays resident: malloc's heaps are told from a leak, and as large as the
 * kernel says.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/resident.h"

#define SENTENCE "resident memory is kept by the allocator, not leaked"
/* What tests/leakers/retained.c frees, with glibc's 8 bytes before each block of 1000. */
#define FREED_BYTES ((210000LL - 106) * 1008)

/* Traces tests/leakers/retained.c in reports at intervals, before and after it frees. */
static char *trace(const char *mode, const char *format_name, int *ret_pid, int64_t *ret_rss)
{
	struct child *leaker = leaker__start(ARGS("retained", mode), NULL), *tool;
	char *pid = format("%d", (int)leaker->pid);

	*ret_pid = leaker->pid;
	tool = tool__start(ARGS("trace", "--interval", "1s", "--format", format_name, "-p", pid),
			   NULL);
	tool__await_tracing(tool);
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "FILLED", TIMEOUT_MS));
	await_reports(tool);
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "DONE", TIMEOUT_MS));
	await_reports(tool);
	*ret_rss = rollup_bytes(leaker->pid);
	tool__stop(tool);
	leaker__finish(leaker);
	free(pid);
	return child__stdout(tool);
}

/* The last report's part of the output. */
static const char *last_report(const char *text)
{
	const char *at = strstr(text, "leaksweep trace: final");

	if (!at)
		fail_msg("no final report in:\n%s", text);
	return at;
}

static void check_sentence(const char *mode)
{
	int64_t rss;
	const char *last;
	char *text;
	int pid;

	text = trace(mode, "table", &pid, &rss);
	last = last_report(text);
	if (!strstr(last, SENTENCE ": at least "))
		fail_msg("the report does not say that memory is kept:\n%s", last);
	assert_null(strstr(last, "pymalloc"));
	if (!strstr(last, "malloc_trim"))
		fail_msg("the report does not say what helps:\n%s", last);
	assert_int_equal(strstr(last, "MALLOC_ARENA_MAX") != NULL, !strcmp(mode, "threads"));
	assert_near("resident", size_behind(last, "\nresident  "), rss);
	assert_near("kept", size_behind(last, SENTENCE ": at least "), FREED_BYTES);
	free(text);
}

static void test_main_heap(void **state)
{
	(void)state;
	check_sentence("free");
}

static void test_thread_heaps(void **state)
{
	(void)state;
	check_sentence("threads");
}

static void test_leak(void **state)
{
	char *text;
	int64_t rss;
	int pid;

	(void)state;
	text = trace("leak", "table", &pid, &rss);
	if (strstr(text, SENTENCE))
		fail_msg("a leak is said to be kept memory:\n%s", text);
	assert_near("resident", size_behind(last_report(text), "\nresident  "), rss);
	free(text);
}

static void test_numbers(void **state)
{
	struct json_object *resident, *retained;
	struct report report;
	char *text;
	int64_t rss;
	int pid;

	(void)state;
	text = trace("threads", "json", &pid, &rss);
	report = report__parse(text);
	resident = assert_resident(&report, pid, rss);
	retained = field(resident, "retained");
	assert_non_null(retained);
	assert_int_equal(resident_number(retained, "pymalloc_bytes"), 0);
	assert_near("retained", resident_number(retained, "heaps_bytes"),
		    resident_number(resident, "heaps_bytes"));
	assert_string_equal(text_of(resident, "heaps_kept"), "at_least");
	assert_true(resident_number(resident, "heaps_bytes") > 200 * MIB);
	assert_true(resident_number(resident, "thread_heaps") >= 3);
	free(text);
}

/* Of a process that was traced from its first instruction on, all that malloc keeps is known. */
static void test_command(void **state)
{
	char *path = format("%s/report", scratch_dir()), *leaker = leaker_path("retained");
	struct json_object *resident;
	struct report report;
	struct child *tool;
	int pid;

	(void)state;
	tool = tool__start(ARGS("trace", "--interval", "1s", "--format", "json", "-o", path, "--",
				leaker, "free"),
			   NULL);
	free(child__await_line(tool, tool->out_fd, "READY", TIMEOUT_MS));
	child__poke(tool);
	free(child__await_line(tool, tool->out_fd, "FILLED", TIMEOUT_MS));
	report = report__await_file(path);
	pid = (int)json_object_get_int(
		field(json_object_array_get_idx(field(report.root, "processes"), 0), "pid"));
	resident = assert_resident(&report, pid, rollup_bytes(pid));
	assert_string_equal(text_of(resident, "heaps_kept"), "whole");
	assert_true(resident_number(resident, "heaps_kept_bytes") < 2 * MIB);
	child__poke(tool);
	free(child__await_line(tool, tool->out_fd, "DONE", TIMEOUT_MS));
	report = report__await_file(path);
	resident = assert_resident(&report, pid, rollup_bytes(pid));
	assert_string_equal(text_of(resident, "heaps_kept"), "whole");
	assert_near("kept", resident_number(resident, "heaps_kept_bytes"), FREED_BYTES);
	assert_true(resident_number(resident, "heaps_live_bytes") < MIB);
	assert_non_null(field(resident, "retained"));
	child__poke(tool);
	assert_int_equal(child__await_exit(tool, TIMEOUT_MS), 0);
	free(leaker);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_main_heap), E2E_TEST(test_thread_heaps), E2E_TEST(test_leak),
		E2E_TEST(test_numbers),	  E2E_TEST(test_command),
	};

	return harness__main("resident", tests, sizeof(tests) / sizeof(tests[0]));
}
