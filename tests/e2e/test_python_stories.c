/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stories that people come with: a program that loses memory in one of the usual ways, looked
 * at from outside. The line that has it is on top, with its bytes, its function and its types.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/python_tests.h"

struct told {
	struct story *story;
	int pid;
	struct report report;
	struct json_object *truth;
};

/* ---- what a mark promises ---- */

static const char *last_part(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? dot + 1 : name;
}

/* Versions before 3.11 do not tell qualified names. */
static bool is_function(const struct told *told, struct json_object *frame, const char *function)
{
	const char *name = text_of(frame, "function");

	return name &&
	       !strcmp(name, told->story->python->minor < 11 ? last_part(function) : function);
}

static bool has_native_above(struct json_object *frames, size_t end, const char *function)
{
	for (size_t i = 0; i < end; i++) {
		struct json_object *frame = json_object_array_get_idx(frames, i);

		if (!strcmp(text_of(frame, "kind"), "native") &&
		    !strcmp(text_of(frame, "function") ?: "", function))
			return true;
	}
	return false;
}

static void check_frames_of_row(const struct told *told, struct json_object *mark,
				struct json_object *row, bool *ret_native)
{
	const char *function = text_of(mark, "function"), *native = text_of(mark, "native");
	struct json_object *frames = field(row, "frames"), *frame;
	size_t i = 0;

	frame = next_python_frame(frames, &i);
	if (!frame || !frame_is(frame, text_of(mark, "file"), number_of(mark, "line")))
		return;
	if (function && !is_function(told, frame, function))
		fail_msg("line %s is of %s, not of %s", text_of(mark, "mark"),
			 text_of(frame, "function") ?: "nobody", function);
	if (native && has_native_above(frames, i, native))
		*ret_native = true;
}

/* The C code that a line calls is between it and what allocates. */
static void check_frames(const struct told *told, struct json_object *mark)
{
	struct json_object *stacks = stacks_of_report(&told->report);
	bool native = false;

	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *row = json_object_array_get_idx(stacks, i);

		if (number_of(row, "pid") == told->pid)
			check_frames_of_row(told, mark, row, &native);
	}
	if (text_of(mark, "native") && !native)
		fail_msg("no stack of line %s leads through %s", text_of(mark, "mark"),
			 text_of(mark, "native"));
}

static void check_limit(struct json_object *mark, const char *name, int64_t got, bool at_least)
{
	struct json_object *limit = field(mark, name);
	int64_t want = json_object_get_int64(limit);

	if (limit && (at_least ? got < want : got > want))
		fail_msg("line %s: %s is %" PRId64 ", and there are %" PRId64,
			 text_of(mark, "mark"), name, want, got);
}

static void add_types(struct json_object *types, struct json_object *row)
{
	struct json_object *shares = field(row, "types");

	for (size_t i = 0; shares && i < json_object_array_length(shares); i++) {
		struct json_object *share = json_object_array_get_idx(shares, i);
		const char *type = text_of(share, "type");
		int64_t count = number_of(types, type) + number_of(share, "count");

		json_object_object_add(types, type, json_object_new_int64(count));
	}
}

static void check_type(const struct told *told, struct json_object *mark)
{
	struct json_object *stacks = stacks_of_report(&told->report),
			   *types = json_object_new_object();
	const char *type = text_of(mark, "type");

	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *row = json_object_array_get_idx(stacks, i), *frame;
		size_t at = 0;

		frame = next_python_frame(field(row, "frames"), &at);
		if (frame && number_of(row, "pid") == told->pid &&
		    frame_is(frame, text_of(mark, "file"), number_of(mark, "line")))
			add_types(types, row);
	}
	if (number_of(types, type) <= 0)
		fail_msg("line %s has no %s: %s", text_of(mark, "mark"), type,
			 json_object_to_json_string(types));
	json_object_put(types);
}

static int mark_pid(const struct told *told, struct json_object *mark)
{
	return field(mark, "pid") ? (int)number_of(mark, "pid") : told->pid;
}

static void check_mark(const struct told *told, struct json_object *mark)
{
	const char *file = text_of(mark, "file");
	bool anywhere = json_object_get_boolean(field(mark, "any_depth"));
	int64_t line = number_of(mark, "line");
	struct line_sum sum =
		report__line(&told->report, mark_pid(told, mark), file, line, anywhere);
	struct tally all = line_sum__all(&sum), deep;

	print_message("  %-12s %" PRId64 " blocks, %" PRId64 " bytes live; %" PRId64
		      " bytes made\n",
		      text_of(mark, "mark"), all.live_count, all.live_bytes, all.alloc_bytes);
	check_limit(mark, "min_count", all.live_count, true);
	check_limit(mark, "min_bytes", all.live_bytes, true);
	check_limit(mark, "max_bytes", all.live_bytes, false);
	check_limit(mark, "min_alloc_bytes", all.alloc_bytes, true);
	check_limit(mark, "max_alloc_bytes", all.alloc_bytes, false);
	sum = report__line(&told->report, mark_pid(told, mark), file, line, true);
	deep = line_sum__all(&sum);
	check_limit(mark, "deep_count", deep.live_count, true);
	check_limit(mark, "deep_bytes", deep.live_bytes, true);
	check_frames(told, mark);
	if (field(mark, "type") && number_of(mark, "min_count") && all.live_count &&
	    mark_pid(told, mark) == told->pid)
		check_type(told, mark);
}

static struct json_object *find_mark(const struct told *told, const char *name)
{
	for (size_t i = 0; i < json_object_array_length(told->truth); i++) {
		struct json_object *item = json_object_array_get_idx(told->truth, i);

		if (!strcmp(text_of(item, "truth") ?: "", "mark") &&
		    !strcmp(text_of(item, "mark"), name))
			return item;
	}
	fail_msg("the program told nothing of %s", name);
	return NULL;
}

static void check_marks(const struct told *told)
{
	for (size_t i = 0; i < json_object_array_length(told->truth); i++) {
		struct json_object *item = json_object_array_get_idx(told->truth, i);

		if (!strcmp(text_of(item, "truth") ?: "", "mark"))
			check_mark(told, item);
	}
}

/* Sums live bytes of objects and malloc by "FILE:LINE" of the first Python frame. */
static struct json_object *sum_lines(const struct told *told)
{
	struct json_object *stacks = stacks_of_report(&told->report),
			   *lines = json_object_new_object();

	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *row = json_object_array_get_idx(stacks, i), *frame;
		size_t at = 0;
		char *key;

		frame = next_python_frame(field(row, "frames"), &at);
		if (!frame || number_of(row, "pid") != told->pid ||
		    !strcmp(text_of(row, "layer"), "mmap"))
			continue;
		key = format("%s:%" PRId64, text_of(frame, "file") ?: "?",
			     number_of(frame, "line"));
		json_object_object_add(lines, key,
				       json_object_new_int64(number_of(lines, key) +
							     number_of(row, "live_bytes")));
		free(key);
	}
	return lines;
}

/* No line has more memory than that one, but for what may be a tie. */
static void check_top_line(const struct told *told, const char *name)
{
	struct json_object *mark = find_mark(told, name), *lines = sum_lines(told);
	char *key = format("%s:%" PRId64, text_of(mark, "file"), number_of(mark, "line"));
	int64_t bytes = number_of(lines, key);

	json_object_object_foreach(lines, line, value)
	{
		if (json_object_get_int64(value) > bytes + bytes / 100)
			fail_msg("not line %s is on top (%" PRId64 " bytes), but %s (%" PRId64 ")",
				 name, bytes, line, json_object_get_int64(value));
	}
	json_object_put(lines);
	free(key);
}

/* Nor has any group by lines; a library's own function is the line of what it allocates. */
static void check_top(const struct told *told, const char *name)
{
	struct json_object *mark = find_mark(told, name), *groups, *top;
	const char *native = text_of(mark, "native");

	check_top_line(told, name);
	groups = field(told->report.root, "groups");
	top = groups ? json_object_array_get_idx(groups, 0) : NULL;
	if (!top)
		fail_msg("the report has no lines");
	if (native ? strcmp(text_of(top, "function") ?: "", native) != 0
		   : !frame_is(top, text_of(mark, "file"), number_of(mark, "line")))
		fail_msg("not line %s is on top, but %s (%" PRId64 " bytes)", name,
			 text_of(top, "key"), number_of(top, "live_bytes"));
}

/* A verdict is compared where the tool has one. */
static void check_verdict(const struct told *told, const char *name, const char *verdict)
{
	struct json_object *mark = find_mark(told, name),
			   *groups = field(told->report.root, "groups");

	for (size_t i = 0; groups && i < json_object_array_length(groups); i++) {
		struct json_object *group = json_object_array_get_idx(groups, i);
		const char *got = text_of(group, "verdict");

		if (!frame_is(group, text_of(mark, "file"), number_of(mark, "line")))
			continue;
		if (!got || !strcmp(got, "unknown"))
			print_message("  %s: no verdict yet, should be %s\n", name, verdict);
		else
			assert_string_equal(got, verdict);
		return;
	}
}

/* ---- a story ---- */

#define LINES_ARGS ARGS("--group-by", "line")

static struct told tell_with(const struct python *python, const char *program,
			     const char *const *args, const char *const *before,
			     const char *const *commands, const char *const *tool_args)
{
	struct told told = {.story = story__start(python, program, args)};
	struct child *tool;

	told.pid = told.story->child->pid;
	story__do_all(told.story, before);
	tool = story__trace(told.story, tool_args);
	story__do_all(told.story, commands);
	told.report = trace__end(tool);
	told.truth = story__truth(told.story);
	print_message("%s, %s\n", program, python->name);
	check_marks(&told);
	assert_python_covered(&told.report, told.pid);
	return told;
}

static struct told tell(const struct python *python, const char *program,
			const char *const *commands)
{
	return tell_with(python, program, NULL, NO_ARGS, commands, LINES_ARGS);
}

/* What of a line came from a free list, at most. */
#define LISTED ((struct slack){.blocks = 4, .bytes = 832})

/* The same again in a process that has tracemalloc on: its lines are ours. */
static void check_twin(const struct python *python, const char *program,
		       const char *const *commands, const struct told *told)
{
	struct story *twin = story__start(python, program, NULL);

	story__do(twin, "tracemalloc");
	story__do_all(twin, commands);
	assert_python_lines(&told->report, told->pid, story__truth(twin), twin->file, true, LISTED);
	story__end(twin);
}

static void check_story(const struct python *python, const char *program,
			const char *const *commands, const char *top)
{
	struct told told = tell(python, program, commands);

	check_top(&told, top);
	check_twin(python, program, commands, &told);
	story__end(told.story);
}

static void test_huge(void **state)
{
	check_story(*state, "story_huge", ARGS("step 2"), "LIST");
}

/* Who asked for how much in vain, and what refused it. */
static void test_memory_error(void **state)
{
	struct told told = tell(*state, "story_huge", ARGS("refuse 3"));
	struct json_object *mark = find_mark(&told, "REFUSED"),
			   *failures = field(told.report.root, "failures");
	bool found = false;

	assert_int_equal(number_of(mark, "errors"), 3);
	if (!failures) {
		print_message("the report does not tell failures\n");
		skip();
	}
	for (size_t i = 0; i < json_object_array_length(failures); i++) {
		struct json_object *failure = json_object_array_get_idx(failures, i), *frame;
		size_t at = 0;

		print_message("  %s: %s bytes, %s times: %s\n", text_of(failure, "kind"),
			      text_of(failure, "bytes"), text_of(failure, "count"),
			      text_of(failure, "limit"));
		frame = next_python_frame(field(failure, "frames"), &at);
		if (frame && frame_is(frame, text_of(mark, "file"), number_of(mark, "line")) &&
		    number_of(failure, "bytes") == number_of(mark, "asked"))
			found = true;
	}
	if (!found)
		fail_msg("nobody is told to have asked for %s bytes", text_of(mark, "asked"));
	story__end(told.story);
}

static void test_chunks(void **state)
{
	check_story(*state, "story_chunks", ARGS("step 3"), "LIST");
}

static void test_cache(void **state)
{
	struct told told = tell(*state, "story_cache", ARGS("step 1", "step 1", "step 1"));

	check_top(&told, "BASKET");
	check_verdict(&told, "INSERT", "growing");
	check_twin(*state, "story_cache", ARGS("step 1", "step 1", "step 1"), &told);
	story__end(told.story);
}

static void test_lru(void **state)
{
	struct told told = tell(*state, "story_lru", ARGS("step 1", "step 1", "step 1"));

	check_verdict(&told, "RENDER", "bounded");
	check_verdict(&told, "REMEMBER", "bounded");
	check_twin(*state, "story_lru", ARGS("step 1", "step 1", "step 1"), &told);
	story__end(told.story);
}

static void test_cycles(void **state)
{
	struct told told;

	check_story(*state, "story_cycles", ARGS("step 3"), "PAYLOAD");
	told = tell(*state, "story_cycles", ARGS("step 3", "collect"));
	story__end(told.story);
}

static void test_slots(void **state)
{
	check_story(*state, "story_slots", ARGS("step 2"), "LOOSE");
}

static void test_concat(void **state)
{
	check_story(*state, "story_concat", ARGS("step 3"), "CONCATENATE");
}

static void test_extension(void **state)
{
	struct told told = tell_with(*state, "story_extension", native_args(), NO_ARGS,
				     ARGS("step 3"), LINES_ARGS);

	if (!native_args()[1])
		print_message("leaky_module.so is not there: only ctypes was tried\n");
	check_top(&told, "CTYPES");
	story__end(told.story);
}

/* What was freed stays with the allocator: little is live, and the tool says who keeps the rest. */
static void test_retained(void **state)
{
	struct told told = tell(*state, "story_retained", ARGS("fill 1", "drop 1"));
	struct json_object *python = report__python(&told.report, told.pid);

	print_message("  live %s, kept by pymalloc %s\n", text_of(python, "live_bytes"),
		      text_of(python, "pool_free_bytes") ?: "(not told)");
	if (field(python, "pool_free_bytes"))
		assert_true(number_of(python, "pool_free_bytes") > 8 << 20);
	check_twin(*state, "story_retained", ARGS("fill 1", "drop 1"), &told);
	story__end(told.story);
}

static void test_recursion(void **state)
{
	struct told told = tell(*state, "story_recursion", ARGS("step 3"));

	story__end(told.story);
}

static void test_unclosed(void **state)
{
	check_story(*state, "story_unclosed", ARGS("step 2"), "OPEN");
}

static void test_numpy(void **state)
{
	struct told told = tell(*state, "story_numpy", ARGS("step 1", "step 2"));

	check_top(&told, "WIDEN");
	story__end(told.story);
}

static void test_threads(void **state)
{
	struct told told = tell(*state, "story_threads", ARGS("step 2"));

	check_top_line(&told, "WORK"); /* the threads' own stacks are larger */
	story__end(told.story);
}

static void test_asyncio(void **state)
{
	struct told told = tell(*state, "story_asyncio", ARGS("step 2"));

	check_top(&told, "FETCH");
	story__end(told.story);
}

static void assert_children_covered(const struct told *told)
{
	for (size_t i = 0; i < json_object_array_length(told->truth); i++) {
		struct json_object *item = json_object_array_get_idx(told->truth, i);

		if (!strcmp(text_of(item, "truth") ?: "", "mark") && field(item, "pid"))
			assert_python_covered(&told->report, (int)number_of(item, "pid"));
	}
}

/* Children that are forked while it is traced, and children that were there before. */
static void test_fork(void **state)
{
	struct told told =
		tell(*state, "story_fork", ARGS("load 1", "fork 2", "work 2", "drop 1", "pool 1"));

	assert_children_covered(&told);
	story__end(told.story);
	told = tell(*state, "story_fork", ARGS("fork 1", "load 2", "work 1"));
	story__end(told.story);
}

/* Nobody has named it, and it was there before. */
static void test_whole_host(void **state)
{
	struct told told = {.story = story__start(*state, "story_cache", NULL)};
	struct child *tool = trace__start(ARGS("-a"));

	told.pid = told.story->child->pid;
	story__do(told.story, "step 3");
	told.report = trace__end(tool);
	told.truth = story__truth(told.story);
	check_marks(&told);
	check_top_line(&told, "BASKET");
	story__end(told.story);
}

int main(void)
{
	static const struct python_test tests[] = {
		{"1 one huge allocation", test_huge},
		{"1 MemoryError", test_memory_error},
		{"2 whole or in chunks", test_chunks},
		{"3 unbounded cache", test_cache},
		{"4 bounded cache", test_lru},
		{"5 reference cycles", test_cycles},
		{"6 dicts and slots", test_slots},
		{"7 bytes put together", test_concat},
		{"8 C that never frees", test_extension},
		{"9 retained by the allocator", test_retained},
		{"10 runaway recursion", test_recursion},
		{"11 unclosed files", test_unclosed},
		{"12 NumPy", test_numpy, true},
		{"13 threads", test_threads},
		{"13 asyncio", test_asyncio},
		{"13 forked workers", test_fork},
		{"3 on the whole host", test_whole_host, true},
	};

	return python_tests__main("python_stories", tests, sizeof(tests) / sizeof(tests[0]));
}
