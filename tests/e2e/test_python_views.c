/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The views that people know from tracemalloc and memory_profiler, of a running program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/python_tests.h"

#define SESSIONS 2000 /* of "step 2" */

/* A report of two steps of the cache in this form. */
static char *view(const struct python *python, const char *option, const char *value,
		  char **ret_file)
{
	struct story *story = story__start(python, "story_cache", NULL);
	char *pid = format("%d", (int)story->child->pid), *text;
	struct child *tool;

	story__do(story, "step 1");
	tool = tool__start(ARGS("trace", option, value, "-p", pid), NULL);
	tool__await_tracing(tool);
	story__do(story, "step 2");
	tool__stop(tool);
	text = child__stdout(tool);
	*ret_file = strdup(story->file);
	story__end(story);
	free(pid);
	return text;
}

/* The line of a text that begins with `begin`, owned by the caller. */
static char *line_of(const char *text, const char *begin)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, begin, strlen(begin)))
			return strndup(line, strcspn(line, "\n"));
	}
	fail_msg("no line begins with \"%s\" in:\n%.3000s", begin, text);
	return NULL;
}

/* The number of the line of the file that ends with `# mark`; *ret_text is the line. */
static int marked_line(const char *file, const char *mark, char **ret_text)
{
	char *line = NULL, *end = format("# %s\n", mark);
	FILE *source = fopen(file, "re");
	int number = 0, found = 0;
	size_t cap = 0;

	assert_non_null(source);
	while (!found && getline(&line, &cap, source) > 0) {
		number++;
		if (strlen(line) > strlen(end) && !strcmp(line + strlen(line) - strlen(end), end))
			found = number;
	}
	fclose(source);
	free(end);
	assert_true(found);
	line[strcspn(line, "\n")] = '\0';
	*ret_text = line;
	return found;
}

/* tracemalloc's list: a line of the program has so many blocks of so many bytes. */
static void test_lines(void **state)
{
	char *file, *text = view(*state, "--format", "lines", &file), *source, *begin, *line;

	begin = format("%s:%d: ", file, marked_line(file, "BASKET", &source));
	line = line_of(text, begin);
	if (!strstr(line, "size=218.8 KiB, count=2000, average=112 B"))
		fail_msg("not %d blocks of 112 bytes: %s", SESSIONS, line);
	free(line);
	free(source);
	free(begin);
	free(file);
	free(text);
}

/* memory_profiler's table: each line of the source with what it holds. */
static void test_annotate(void **state)
{
	char *file, *text = view(*state, "--annotate", "story_cache.py", &file), *source, *begin,
		    *line;

	begin = format("%6d ", marked_line(file, "BASKET", &source));
	line = line_of(text, begin);
	if (!strstr(line, " 219K 2.00k ") || !strstr(line, source))
		fail_msg("\"%s\" is told as: %s", source, line);
	free(line);
	line = line_of(text, "itself ");
	assert_non_null(strstr(text, file));
	free(line);
	free(begin);
	free(source);
	begin = format("%6d ", marked_line(file, "INSERT", &source));
	line = line_of(text, begin);
	if (!strstr(line, " 2.00k ") || !strstr(line, source))
		fail_msg("\"%s\" is told as: %s", source, line);
	free(line);
	free(begin);
	free(source);
	free(file);
	free(text);
}

int main(void)
{
	static const struct python_test tests[] = {
		{"tracemalloc's list", test_lines},
		{"annotated source", test_annotate},
	};

	return python_tests__main("python_views", tests, sizeof(tests) / sizeof(tests[0]));
}
