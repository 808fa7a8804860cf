/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Python frames: every stack that a program under any version saw by itself when it allocated
 * (stack_marks.py) is in the report, frame for frame, with the right number of blocks and bytes;
 * and no other one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/python_tests.h"

#define MAX_SHOWN 5

/* What is known of one stack; found by its text. */
struct mark {
	int64_t size, count, kept; /* told */
	struct tally got;
	char *text;
};

struct marks {
	struct mark *items;
	size_t cnt;
	struct json_object *index; /* text -> number of the item */
	const char *file;
	int64_t line; /* where the blocks are requested */
	int64_t total;
	int64_t rows, wrong_rows, wrong_blocks;
};

/* ---- text of stacks ---- */

/* "FILE:LINE FUNCTION", one a line, of the Python frames of a row. Owned by the caller. */
static char *text_of_row(struct json_object *frames)
{
	char *text = NULL;
	size_t len, i = 0;
	FILE *out = open_memstream(&text, &len);

	for (struct json_object *frame; (frame = next_python_frame(frames, &i)); i++)
		fprintf(out, "%s:%lld %s\n", text_of(frame, "file") ?: "?",
			(long long)number_of(frame, "line"), text_of(frame, "function") ?: "?");
	assert_int_equal(fclose(out), 0);
	return text;
}

static char *text_of_truth(struct json_object *frames)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (size_t i = 0; i < json_object_array_length(frames); i++) {
		struct json_object *frame = json_object_array_get_idx(frames, i);

		fprintf(out, "%s:%lld %s\n",
			json_object_get_string(json_object_array_get_idx(frame, 0)),
			(long long)json_object_get_int64(json_object_array_get_idx(frame, 1)),
			json_object_get_string(json_object_array_get_idx(frame, 2)));
	}
	assert_int_equal(fclose(out), 0);
	return text;
}

/* ---- reading the truth ---- */

static void add_mark(struct marks *marks, struct json_object *item)
{
	struct json_object *frames = field(item, "frames"),
			   *leaf = json_object_array_get_idx(frames, 0);
	struct mark *mark = &marks->items[marks->cnt];

	*mark = (struct mark){
		.size = number_of(item, "size"),
		.count = number_of(item, "count"),
		.kept = number_of(item, "kept"),
		.text = text_of_truth(frames),
	};
	marks->file = json_object_get_string(json_object_array_get_idx(leaf, 0));
	marks->line = json_object_get_int64(json_object_array_get_idx(leaf, 1));
	marks->total += mark->count;
	json_object_object_add(marks->index, mark->text,
			       json_object_new_int64((int64_t)marks->cnt));
	marks->cnt++;
}

static void marks__read(struct marks *marks, struct json_object *truth)
{
	size_t cnt = json_object_array_length(truth);

	*marks = (struct marks){
		.items = calloc(cnt + 1, sizeof(*marks->items)),
		.index = json_object_new_object(),
	};
	assert_non_null(marks->items);
	for (size_t i = 0; i < cnt; i++) {
		struct json_object *item = json_object_array_get_idx(truth, i);

		if (!strcmp(text_of(item, "truth") ?: "", "stack"))
			add_mark(marks, item);
	}
	assert_true(marks->cnt > 0);
}

static void marks__free(struct marks *marks)
{
	for (size_t i = 0; i < marks->cnt; i++)
		free(marks->items[i].text);
	free(marks->items);
	json_object_put(marks->index);
}

/* ---- comparing ---- */

static void indent(const char *text)
{
	for (int lines = 0; *text && lines < 12; lines++) {
		size_t len = strcspn(text, "\n");

		print_error("      %.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
	if (*text)
		print_error("      ...\n");
}

/* The truth that shares most with a stack, from the leaf on. */
static const struct mark *closest(const struct marks *marks, const char *text)
{
	const struct mark *best = &marks->items[0];
	size_t best_len = 0;

	for (size_t i = 0; i < marks->cnt; i++) {
		const char *other = marks->items[i].text;
		size_t len = 0;

		while (text[len] && text[len] == other[len])
			len++;
		if (len > best_len) {
			best_len = len;
			best = &marks->items[i];
		}
	}
	return best;
}

static void add_wrong_row(struct marks *marks, struct json_object *row, const char *text)
{
	marks->wrong_blocks += number_of(row, "alloc_count");
	if (marks->wrong_rows++ >= MAX_SHOWN)
		return;
	print_error("    nobody saw this stack (%s, %lld blocks, %lld bytes):\n",
		    text_of(row, "unwind"), (long long)number_of(row, "alloc_count"),
		    (long long)number_of(row, "alloc_bytes"));
	indent(text);
	print_error("    closest:\n");
	indent(closest(marks, text)->text);
}

static void add_row(struct marks *marks, struct json_object *row)
{
	struct json_object *frames = field(row, "frames"), *leaf, *index;
	size_t first = 0;
	char *text;

	leaf = next_python_frame(frames, &first);
	if (!leaf || !frame_is(leaf, marks->file, marks->line))
		return;
	marks->rows++;
	text = text_of_row(frames);
	index = field(marks->index, text);
	if (index)
		add_tally(&marks->items[json_object_get_int64(index)].got, read_tally(row));
	else
		add_wrong_row(marks, row, text);
	free(text);
}

static void add_rows(struct marks *marks, const struct report *report, int pid)
{
	struct json_object *stacks = stacks_of_report(report);

	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *row = json_object_array_get_idx(stacks, i);

		if (number_of(row, "pid") == pid && !strcmp(text_of(row, "layer"), "malloc"))
			add_row(marks, row);
	}
}

/* The header of bytes objects, and their last 0. */
#define BYTES_HEADER 33

static bool is_wrong(const struct mark *mark)
{
	int64_t size = mark->size + BYTES_HEADER;

	return mark->got.alloc_count != mark->count ||
	       mark->got.alloc_bytes != mark->count * size || mark->got.live_count != mark->kept ||
	       mark->got.live_bytes != mark->kept * size;
}

static size_t count_wrong_marks(const struct marks *marks)
{
	size_t wrong = 0;

	for (size_t i = 0; i < marks->cnt; i++) {
		const struct mark *mark = &marks->items[i];

		if (!is_wrong(mark) || wrong++ >= MAX_SHOWN)
			continue;
		print_error("    %lld of %lld blocks found (live %lld of %lld, bytes %+lld):\n",
			    (long long)mark->got.alloc_count, (long long)mark->count,
			    (long long)mark->got.live_count, (long long)mark->kept,
			    (long long)(mark->got.alloc_bytes -
					mark->got.alloc_count * (mark->size + BYTES_HEADER)));
		indent(mark->text);
	}
	return wrong;
}

static void assert_marks_told(const struct report *report, int pid, const struct python *python,
			      struct json_object *truth)
{
	struct marks marks;
	size_t wrong;

	marks__read(&marks, truth);
	add_rows(&marks, report, pid);
	wrong = count_wrong_marks(&marks);
	print_message("%s: %lld blocks, %zu stacks, %lld rows; wrong: %zu stacks, %lld rows with "
		      "%lld blocks\n",
		      python->name, (long long)marks.total, marks.cnt, (long long)marks.rows, wrong,
		      (long long)marks.wrong_rows, (long long)marks.wrong_blocks);
	if (wrong || marks.wrong_rows)
		fail_msg("stacks differ from what the program saw");
	marks__free(&marks);
}

static void assert_marks(const struct report *report, struct story *story)
{
	assert_marks_told(report, story->child->pid, story->python, story__truth(story));
}

/* ---- tests ---- */

static struct report trace_marks(struct story *story, const char *const *commands,
				 const char *const *tool_args)
{
	struct child *tool = story__trace(story, tool_args);

	story__do_all(story, commands);
	return trace__end(tool);
}

/* Does it, compares, and checks that nothing was lost. */
static void check_marks(const struct python *python, const char *const *commands,
			const char *const *tool_args)
{
	struct story *story = story__start(python, "stack_marks", native_args());
	struct report report;

	report = trace_marks(story, commands, tool_args);
	assert_marks(&report, story);
	assert_python_frames(&report, story->child->pid);
	story__end(story);
}

/* Every way to be called, once by one: generators, tasks, callbacks from C, code that is freed ...
 */
static void test_every_scene(void **state)
{
	check_marks(*state, ARGS("play 2", "kept 1"), NO_ARGS);
}

/* Scenes within scenes; MARKS=1000000 for a long run. */
static void test_random_scenes(void **state)
{
	const char *marks = getenv("MARKS"), *some = python_is_full(*state) ? "20000" : "4000";
	char *command = format("random %s", marks && *marks ? marks : some);

	check_marks(*state, ARGS(command), ARGS("--no-python-objects", "--max-stacks", "1000000"));
	free(command);
}

/* What has run already knows its functions; what is attached later must learn them. */
static void test_attached_later(void **state)
{
	struct story *story = story__start(*state, "stack_marks", native_args());
	struct report report;

	story__do(story, "play 1");
	trace_marks(story, ARGS("play 1"), NO_ARGS);
	story__do(story, "forget");
	report = trace_marks(story, ARGS("play 1", "kept 1"), ARGS("--python-frees"));
	assert_marks(&report, story);
	assert_python_covered(&report, story->child->pid);
	story__end(story);
}

/* Deeper than can be kept: the frames that are there are right, and it says that others are not. */
static void test_deep_recursion(void **state)
{
	struct story *story = story__start(*state, "stack_marks", native_args());
	struct report report = trace_marks(story, ARGS("deep 900"), NO_ARGS);
	struct json_object *stacks = stacks_of_report(&report);
	size_t found = 0;
	struct marks marks;

	marks__read(&marks, story__truth(story));
	assert_int_equal(marks.cnt, 1);
	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *row = json_object_array_get_idx(stacks, i), *leaf;
		size_t first = 0, lines = 0;
		char *text;

		leaf = next_python_frame(field(row, "frames"), &first);
		if (!leaf || strcmp(text_of(row, "layer"), "malloc") ||
		    !frame_is(leaf, marks.file, marks.line))
			continue;
		found++;
		text = text_of_row(field(row, "frames"));
		for (const char *at = text; *at; at++)
			lines += *at == '\n';
		print_message("%zu frames of 902 kept, unwind \"%s\"\n", lines,
			      text_of(row, "unwind"));
		if (strncmp(text, marks.items[0].text, strlen(text)))
			fail_msg("the frames of a deep recursion are wrong: %.600s", text);
		assert_in_range(lines, 200, 902);
		if (lines < 902)
			assert_true(report__loss(&report, "python_stacks_truncated") > 0);
		assert_int_equal(number_of(row, "alloc_count"), 1);
		free(text);
	}
	assert_int_equal(found, 1);
	marks__free(&marks);
	story__end(story);
}

/* From the first instruction on: the interpreter is not there yet when it is attached. */
static void test_command(void **state)
{
	const struct python *python = *state;
	struct story story = {.python = python};
	char *report_path = format("%s/report.json", scratch_dir()), *program;
	struct report report;
	struct json_object *told;
	int pid;

	program = realpath("tests/python/stack_marks.py", NULL);
	story.child = tool__start(ARGS("trace", "--format", "json", "--top", "0",
				       "--no-python-objects", "-o", report_path, "--", python->path,
				       "-B", program, native_args()[0]),
				  NULL);
	story__send(&story, "play 1");
	story__send(&story, "kept 1");
	story__await(&story);
	told = story__truth(&story);
	pid = (int)number_of(json_object_array_get_idx(story__told(&story), 0), "pid");
	story__send(&story, "end");
	if (child__await_exit(story.child, LONG_MS))
		fail_msg("the tool ended with status 0x%x: %.2000s", story.child->status,
			 child__stderr(story.child));
	report = report__read_file(report_path);
	assert_marks_told(&report, pid, python, told);
	free(program);
	free(report_path);
}

int main(void)
{
	static const struct python_test tests[] = {
		{"every way to be called", test_every_scene},
		{"scenes within scenes", test_random_scenes},
		{"attached later, frees watched", test_attached_later},
		{"deep recursion", test_deep_recursion},
		{"a command", test_command},
	};

	return python_tests__main("python_frames", tests, sizeof(tests) / sizeof(tests[0]));
}
