/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What Python's object allocator keeps is told from a leak, and as large as the kernel and the
 * interpreter say.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/python_tests.h"
#include "lib/resident.h"

#define SENTENCE "resident memory is kept by the allocator, not leaked"

static char *trace(const struct python *python, const char *format_name, const char *first,
		   const char *second, int *ret_pid, int64_t *ret_rss)
{
	struct story *story = story__start(python, "story_fragments", NULL);
	char *pid = format("%d", (int)story->child->pid), *text;
	struct child *tool;

	*ret_pid = story->child->pid;
	tool = tool__start(ARGS("trace", "--interval", "1s", "--format", format_name, "-p", pid),
			   NULL);
	tool__await_tracing(tool);
	story__do(story, first);
	await_reports(tool);
	story__do(story, second);
	await_reports(tool);
	*ret_rss = rollup_bytes(story->child->pid);
	tool__stop(tool);
	text = child__stdout(tool);
	story__end(story);
	free(pid);
	return text;
}

static void test_sentence(void **state)
{
	const char *last;
	int64_t rss;
	char *text;
	int pid;

	text = trace(*state, "table", "fill 2", "drop 1", &pid, &rss);
	last = strstr(text, "leaksweep trace: final");
	assert_non_null(last);
	if (!strstr(last, SENTENCE) || !strstr(last, "by pymalloc's arenas"))
		fail_msg("the report does not say that memory is kept:\n%s", last);
	assert_near("resident", size_behind(last, "\nresident  "), rss);
	assert_true(size_behind(last, SENTENCE ": ") > 180 * MIB);
	free(text);
}

static void test_numbers(void **state)
{
	struct json_object *resident, *retained;
	struct report report;
	int64_t rss;
	char *text;
	int pid;

	text = trace(*state, "json", "fill 2", "drop 1", &pid, &rss);
	report = report__parse(text);
	resident = assert_resident(&report, pid, rss);
	retained = field(resident, "retained");
	assert_non_null(retained);
	assert_int_equal(resident_number(retained, "pymalloc_bytes"),
			 resident_number(resident, "objects_kept_bytes"));
	assert_int_equal(resident_number(resident, "objects_bytes"),
			 resident_number(report__python(&report, pid), "live_bytes"));
	assert_true(resident_number(resident, "objects_kept_bytes") > 180 * MIB);
	free(text);
}

static void test_leak(void **state)
{
	int64_t rss;
	char *text;
	int pid;

	text = trace(*state, "table", "fill 1", "fill 1", &pid, &rss);
	if (strstr(text, SENTENCE))
		fail_msg("a leak is said to be kept memory:\n%s", text);
	assert_near("resident", size_behind(text, "\nresident  "), rss);
	free(text);
}

int main(void)
{
	const struct python_test tests[] = {
		{"kept by pymalloc", test_sentence, .is_long = true},
		{"parts of resident memory", test_numbers},
		{"a leak is not kept memory", test_leak, .is_long = true},
	};

	return python_tests__main("python resident", tests, sizeof(tests) / sizeof(tests[0]));
}
