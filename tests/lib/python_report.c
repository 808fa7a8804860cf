/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a report says of Python, beside what the program itself says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/python_tests.h"

#define MAX_SHOWN 15

int64_t number_of(struct json_object *object, const char *name)
{
	struct json_object *value = field(object, name);

	return value ? json_object_get_int64(value) : 0;
}

struct json_object *stacks_of_report(const struct report *report)
{
	struct json_object *stacks = field(report->root, "stacks");

	if (!stacks)
		fail_msg("the report has no \"stacks\"");
	return stacks;
}

struct json_object *next_python_frame(struct json_object *frames, size_t *i)
{
	for (; *i < json_object_array_length(frames); (*i)++) {
		struct json_object *frame = json_object_array_get_idx(frames, *i);
		const char *kind = text_of(frame, "kind");

		if (kind && !strcmp(kind, "python"))
			return frame;
	}
	return NULL;
}

bool frame_is(struct json_object *frame, const char *file, int64_t line)
{
	const char *path = text_of(frame, "file");

	return path && number_of(frame, "line") == line && !strcmp(path, file);
}

static bool has_line(struct json_object *frames, const char *file, int64_t line, bool anywhere)
{
	size_t i = 0;

	for (struct json_object *frame; (frame = next_python_frame(frames, &i)); i++) {
		if (frame_is(frame, file, line))
			return true;
		if (!anywhere)
			return false;
	}
	return false;
}

struct line_sum report__line(const struct report *report, int pid, const char *file, int64_t line,
			     bool anywhere)
{
	struct json_object *stacks = stacks_of_report(report);
	struct line_sum sum = {0};

	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *stack = json_object_array_get_idx(stacks, i);
		const char *layer = text_of(stack, "layer");

		if (number_of(stack, "pid") != pid ||
		    !has_line(field(stack, "frames"), file, line, anywhere))
			continue;
		if (!strcmp(layer, "python"))
			add_tally(&sum.python, read_tally(stack));
		else if (!strcmp(layer, "malloc"))
			add_tally(&sum.malloc, read_tally(stack));
	}
	return sum;
}

struct tally line_sum__all(const struct line_sum *sum)
{
	struct tally all = sum->python;

	add_tally(&all, sum->malloc);
	return all;
}

struct json_object *report__python(const struct report *report, int pid)
{
	struct json_object *proc = report__process(report, pid), *python;

	if (!proc)
		fail_msg("process %d is not in the report", pid);
	python = field(field(proc, "coverage"), "python");
	if (!python || !text_of(python, "version"))
		fail_msg("process %d has no coverage of Python: %.500s", pid,
			 json_object_to_json_string(field(proc, "coverage")));
	return python;
}

/*
 * What a probe reads must be in memory. Now and then a page is not, for a moment: in a forked child
 * (1 of some 6000 stacks, on 3.12 and 3.13), or while the kernel moves it (1 of 58 000, in a guest
 * of 2 GiB). The stack is cut there, and told as lost.
 */
#define MAX_UNREADABLE 2

static void assert_no_losses(const struct report *report)
{
	static const char *const names[] = {
		"map_full",   "stacks_lost",	 "python_stacks_lost", "python_stacks_broken",
		"codes_lost", "objects_unsized", "events_lost",	       "pending_full",
		"costs_full",
	};
	int64_t unreadable = report__loss(report, "python_stacks_unreadable");
	bool bad = unreadable > MAX_UNREADABLE;

	if (bad)
		print_error("python_stacks_unreadable is %lld\n", (long long)unreadable);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int64_t cnt = report__loss(report, names[i]);

		if (cnt)
			print_error("%s is %lld\n", names[i], (long long)cnt);
		bad |= cnt != 0;
	}
	if (bad)
		fail_msg("something was lost");
}

void assert_python_frames(const struct report *report, int pid)
{
	struct json_object *python = report__python(report, pid);

	if (strcmp(text_of(field(python, "frames"), "status") ?: "", "probed") ||
	    number_of(python, "merge_violations"))
		fail_msg("frames of process %d are not covered: %s", pid,
			 json_object_to_json_string(python));
	assert_no_losses(report);
}

void assert_python_covered(const struct report *report, int pid)
{
	struct json_object *python = report__python(report, pid);
	double percent = json_object_get_double(field(python, "coverage_percent"));

	if (strcmp(text_of(python, "status") ?: "", "probed") || percent < 100 ||
	    number_of(python, "missed_count") || number_of(python, "merge_violations"))
		fail_msg("python of process %d is not covered: %s", pid,
			 json_object_to_json_string(python));
	if (!number_of(python, "live_count") || !number_of(python, "alloc_sites"))
		fail_msg("its objects were not looked at: %s", json_object_to_json_string(python));
	assert_no_losses(report);
}

/* ---- lines ---- */

struct compared {
	int lines, different;
	struct slack slack;
	const char *file;
};

static bool lines_differ(struct compared *compared, int64_t line, const char *what,
			 struct tally got, int64_t count, int64_t bytes)
{
	if (llabs(got.live_count - count) <= compared->slack.blocks &&
	    llabs(got.live_bytes - bytes) <= compared->slack.bytes)
		return false;
	if (compared->different < MAX_SHOWN)
		print_error("%s:%lld %s: %lld blocks, %lld bytes; tracemalloc says %lld, %lld\n",
			    strrchr(compared->file, '/') + 1, (long long)line, what,
			    (long long)got.live_count, (long long)got.live_bytes, (long long)count,
			    (long long)bytes);
	return true;
}

/*
 * Whether the line has the right blocks, some small ones of malloc among them: what the interpreter
 * takes by PyMem_RawMalloc, a lock for one, is malloc's at any size, and tracemalloc does not tell.
 */
static bool has_raw_blocks(const struct line_sum *got, struct json_object *truth,
			   struct slack slack)
{
	int64_t raw = got->malloc.live_count - number_of(truth, "large_count"),
		bytes = got->python.live_bytes + got->malloc.live_bytes,
		want = number_of(truth, "rounded_bytes"),
		count = got->python.live_count + got->malloc.live_count;

	return raw > slack.blocks && llabs(count - number_of(truth, "count")) <= slack.blocks &&
	       bytes <= want + slack.bytes && bytes > want - 16 * raw - slack.bytes;
}

/*
 * Whether there is one block more, of a table of pymalloc's own, which is malloc's and which
 * tracemalloc does not count: its list of arenas, 48 bytes each, which is doubled when all are in
 * use; or, from 3.10 on, a node of the tree that tells which addresses are arenas (obmalloc.c,
 * arena_map_get): 256 times 8 bytes when an arena lies where none was near, by chance.
 */
static bool has_table(struct tally got, int64_t count, int64_t bytes)
{
	if (got.live_count != count + 1)
		return false;
	for (int64_t size = 32 * 48; size <= 4096 * 48; size *= 2)
		if (got.live_bytes == bytes + size)
			return true;
	return got.live_bytes == bytes + 256 * 8;
}

/* The stacks that made up the line. */
static void show_line(const struct report *report, int pid, const char *file, int64_t line)
{
	struct json_object *stacks = stacks_of_report(report);

	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *stack = json_object_array_get_idx(stacks, i);

		if (number_of(stack, "pid") == pid && number_of(stack, "live_count") &&
		    has_line(field(stack, "frames"), file, line, false))
			print_error("  %.2000s\n", json_object_to_json_string(stack));
	}
}

static void compare_line(struct compared *compared, const struct report *report, int pid,
			 struct json_object *truth, bool malloc_too)
{
	int64_t line = number_of(truth, "line");
	struct line_sum got = report__line(report, pid, compared->file, line, false);
	bool bad;

	if (malloc_too && has_raw_blocks(&got, truth, compared->slack)) {
		compared->lines++;
		return;
	}
	bad = lines_differ(compared, line, "objects", got.python, number_of(truth, "small_count"),
			   number_of(truth, "small_rounded"));
	if (malloc_too && !has_table(got.malloc, number_of(truth, "large_count"),
				     number_of(truth, "large_bytes")))
		bad |= lines_differ(compared, line, "larger", got.malloc,
				    number_of(truth, "large_count"),
				    number_of(truth, "large_bytes"));
	if (bad && compared->different < MAX_SHOWN)
		show_line(report, pid, compared->file, line);
	compared->lines++;
	compared->different += bad;
}

static bool is_told(struct json_object *truth, const char *file, int64_t line)
{
	for (size_t i = 0; i < json_object_array_length(truth); i++) {
		struct json_object *item = json_object_array_get_idx(truth, i);

		if (!strcmp(text_of(item, "truth") ?: "", "line") && frame_is(item, file, line))
			return true;
	}
	return false;
}

/* Lines that only the report has must have nothing live. */
static void compare_untold(struct compared *compared, const struct report *report, int pid,
			   struct json_object *truth, bool malloc_too)
{
	struct json_object *stacks = stacks_of_report(report);

	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *stack = json_object_array_get_idx(stacks, i);
		const char *layer = text_of(stack, "layer");
		struct tally got = read_tally(stack);
		struct json_object *frame;
		size_t at = 0;

		if (number_of(stack, "pid") != pid || !got.live_count ||
		    (strcmp(layer, "python") && (!malloc_too || strcmp(layer, "malloc"))))
			continue;
		frame = next_python_frame(field(stack, "frames"), &at);
		if (!frame || !frame_is(frame, compared->file, number_of(frame, "line")) ||
		    is_told(truth, compared->file, number_of(frame, "line")))
			continue;
		compared->different +=
			lines_differ(compared, number_of(frame, "line"), layer, got, 0, 0);
	}
}

void assert_python_lines(const struct report *report, int pid, struct json_object *truth,
			 const char *file, bool malloc_too, struct slack slack)
{
	struct compared compared = {.file = file, .slack = slack};

	for (size_t i = 0; i < json_object_array_length(truth); i++) {
		struct json_object *item = json_object_array_get_idx(truth, i);

		if (!strcmp(text_of(item, "truth") ?: "", "line") &&
		    frame_is(item, file, number_of(item, "line")))
			compare_line(&compared, report, pid, item, malloc_too);
	}
	compare_untold(&compared, report, pid, truth, malloc_too);
	if (!compared.lines)
		fail_msg("tracemalloc told no lines of %s", file);
	if (compared.different)
		fail_msg("%d of %d lines of %s differ", compared.different, compared.lines, file);
	print_message("%d lines of %s are equal\n", compared.lines, strrchr(file, '/') + 1);
}
