/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects that Python's own allocator gives out: blocks and bytes line by line equal those of
 * tracemalloc, the pools agree with what was seen, under every version.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/python_tests.h"

#define NEXT_ORDER 4 /* blocks that reading an order takes, for a moment */
#define SMALL_BYTES 512

/* The last "allocated_blocks" that a program told. */
static int64_t told_blocks(struct story *story)
{
	struct json_object *told;
	int64_t blocks = -1;

	story__do(story, "blocks");
	told = story__told(story);
	for (size_t i = 0; i < json_object_array_length(told); i++) {
		struct json_object *item = json_object_array_get_idx(told, i);

		if (!strcmp(text_of(item, "truth") ?: "", "blocks"))
			blocks = number_of(item, "allocated_blocks");
	}
	return blocks;
}

static void print_coverage(const struct python *python, const struct report *report, int pid)
{
	print_message("%s: %s\n", python->name,
		      json_object_to_json_string(report__python(report, pid)));
}

/* What another process that runs the same and has tracemalloc on says of it. */
static struct json_object *truth_of_twin(const struct python *python, const char *const *before,
					 const char *const *commands, char **ret_file)
{
	struct story *twin = story__start(python, "objects", NULL);
	struct json_object *truth;

	story__do_all(twin, before);
	story__do(twin, "tracemalloc");
	story__do_all(twin, commands);
	truth = story__truth(twin);
	*ret_file = strdup(twin->file);
	story__end(twin);
	return truth;
}

/* ---- lines ---- */

/* tracemalloc watches at the same time; what it takes itself is malloc's. */
static void test_same_run(void **state)
{
	struct story *story = story__start(*state, "objects", NULL);
	int pid = story->child->pid;
	struct report report;
	struct child *tool;

	story__do(story, "keep 5"); /* what is imported on the way */
	story__do(story, "tracemalloc");
	tool = story__trace(story, NO_ARGS);
	story__do(story, "keep 400");
	report = trace__end(tool);
	assert_python_lines(&report, pid, story__truth(story), story->file, false, NO_SLACK);
	assert_python_covered(&report, pid);
	story__end(story);
}

/*
 * Until 3.10 a function keeps the frame of its first call for the next ones; tracemalloc moves that
 * block to the line of the last call, the tool does not (src/python/site_renew.h).
 */
static struct slack frame_slack(const struct python *python)
{
	return python->minor <= 10 ? (struct slack){.blocks = 1, .bytes = 512} : NO_SLACK;
}

/* Nothing but the tool watches; another process tells what should be. */
static void check_lines(const struct python *python, const char *const *before,
			const char *const *commands, const char *const *tool_args)
{
	struct story *story = story__start(python, "objects", NULL);
	int pid = story->child->pid;
	struct json_object *truth;
	struct report report;
	struct child *tool;
	char *file;

	story__do_all(story, before);
	tool = story__trace(story, tool_args);
	story__do_all(story, commands);
	report = trace__end(tool);
	print_coverage(python, &report, pid);
	truth = truth_of_twin(python, before, commands, &file);
	assert_python_lines(&report, pid, truth, file, true, frame_slack(python));
	assert_python_covered(&report, pid);
	story__end(story);
	free(file);
}

static void test_unwatched(void **state)
{
	check_lines(*state, ARGS("keep 5"), ARGS("keep 400"), NO_ARGS);
}

static void test_freed_and_reused(void **state)
{
	check_lines(*state, ARGS("keep 5"),
		    ARGS("keep 200", "churn 300", "drop", "keep 200", "churn 100"), NO_ARGS);
}

static void test_frees_watched(void **state)
{
	check_lines(*state, ARGS("keep 5"),
		    ARGS("keep 200", "churn 300", "drop", "keep 200", "churn 100"),
		    ARGS("--python-frees"));
}

/* In mid-life: half of what was there before goes while it is traced. */
static void test_mid_life(void **state)
{
	check_lines(*state, ARGS("keep 500"), ARGS("drop", "keep 300"), NO_ARGS);
	check_lines(*state, ARGS("keep 500"), ARGS("drop", "keep 300"), ARGS("--python-frees"));
}

/* ---- sums ---- */

static struct tally layer_of(const struct report *report, int pid, const char *layer)
{
	return report__sum(report, pid, layer, NULL);
}

static void assert_near(const char *what, int64_t got, int64_t want, int64_t slack)
{
	print_message("%s: %" PRId64 ", should be %" PRId64 "\n", what, got, want);
	if (got < want - slack || got > want + slack)
		fail_msg("%s is %" PRId64 ", should be %" PRId64 " within %" PRId64, what, got,
			 want, slack);
}

/* What the interpreter itself counts: blocks of both allocators that objects have. */
static void check_block_counts(const struct python *python, const char *const *tool_args)
{
	struct story *story = story__start(python, "objects", NULL);
	int pid = story->child->pid;
	int64_t before, after, old_before;
	struct tally objects, larger;
	struct json_object *coverage;
	struct report report;
	struct child *tool;

	story__do(story, "keep 100");
	tool = story__trace(story, tool_args);
	report = trace__end(tool);
	coverage = report__python(&report, pid);
	old_before = number_of(coverage, "live_count");
	assert_near("blocks older than an empty trace", number_of(coverage, "old_count"),
		    old_before, 0);
	before = told_blocks(story);
	tool = story__trace(story, tool_args);
	story__do(story, "keep 1000");
	report = trace__end(tool);
	after = told_blocks(story);
	print_coverage(python, &report, pid);
	coverage = report__python(&report, pid);
	objects = layer_of(&report, pid, "python");
	larger = layer_of(&report, pid, "malloc");
	assert_near("blocks in pools", number_of(coverage, "live_count"),
		    number_of(coverage, "old_count") + number_of(coverage, "seen_count"), 0);
	/* The program goes on to read its next order while the pools are looked at. */
	assert_near("blocks seen", number_of(coverage, "seen_count"), objects.live_count,
		    NEXT_ORDER);
	assert_near("bytes seen", number_of(coverage, "seen_bytes"), objects.live_bytes,
		    NEXT_ORDER * SMALL_BYTES);
	assert_near("new blocks",
		    number_of(coverage, "live_count") - old_before + larger.live_count,
		    after - before, 100 + (after - before) / 1000);
	assert_python_covered(&report, pid);
	story__end(story);
}

static void test_block_counts(void **state)
{
	check_block_counts(*state, NO_ARGS);
	check_block_counts(*state, ARGS("--python-frees"));
}

/* What a program told last under this name. */
static char *told_name(struct story *story)
{
	struct json_object *told = story__told(story);
	const char *name = NULL;

	for (size_t i = 0; i < json_object_array_length(told); i++) {
		struct json_object *item = json_object_array_get_idx(told, i);

		if (!strcmp(text_of(item, "truth") ?: "", "kind"))
			name = text_of(item, "name");
	}
	return strdup(name ?: "");
}

/* The blocks of a moment: by the pools, of these older than the last trace, by the interpreter. */
struct census {
	int64_t pools, old, interpreter;
};

/*
 * One kind of objects by itself: every block that the interpreter and the pools know of was seen to
 * be made, every free of one that was not is of one from before. Returns false behind the last
 * kind.
 */
static bool check_kind(struct story *story, int index, struct census *before)
{
	struct child *tool = story__trace(story, ARGS("--python-frees"));
	char *command = format("only %d", index), *name;
	int pid = story->child->pid;
	struct json_object *coverage;
	struct report report;
	struct census after;
	int64_t seen, larger, unknown;

	story__do(story, command);
	report = trace__end(tool);
	name = told_name(story);
	coverage = report__python(&report, pid);
	seen = number_of(coverage, "seen_count");
	after.pools = number_of(coverage, "live_count");
	after.old = number_of(coverage, "old_count");
	after.interpreter = told_blocks(story);
	larger = layer_of(&report, pid, "malloc").live_count;
	unknown = report__loss(&report, "objects_unknown");
	if (*name && before->pools) {
		print_message("%-16s seen %6" PRId64 ", pools %+7" PRId64 ", interpreter %+7" PRId64
			      ", larger %5" PRId64 "; %" PRId64 " frees of older blocks\n",
			      name, seen, after.pools - before->pools,
			      after.interpreter - before->interpreter, larger, unknown);
		assert_int_equal(after.pools, after.old + seen);
		assert_in_range(llabs(seen - layer_of(&report, pid, "python").live_count), 0,
				NEXT_ORDER);
		assert_int_equal(report__loss(&report, "replaced"), 0);
		assert_in_range(llabs(before->pools - after.old - unknown), 0, 40);
		assert_in_range(llabs(after.interpreter - before->interpreter - larger -
				      (after.pools - before->pools)),
				0, 40);
		assert_python_covered(&report, pid);
	}
	*before = after;
	free(command);
	index = *name;
	free(name);
	return index;
}

static void test_kinds(void **state)
{
	struct story *story = story__start(*state, "objects", NULL);
	struct census before = {0};

	story__do(story, "keep 5");
	check_kind(story, 0, &before); /* the first one is not looked at */
	for (int i = 0; check_kind(story, i, &before);)
		i++;
	story__end(story);
}

/* Frees of everything are seen: what was made and dropped is told as freed. */
static void test_every_free(void **state)
{
	struct story *story = story__start(*state, "objects", NULL);
	int pid = story->child->pid;
	struct report report;
	struct child *tool;
	struct tally sum;

	story__do(story, "keep 5");
	story__do(story, "churn 5");
	tool = story__trace(story, ARGS("--python-frees"));
	story__do(story, "churn 1000");
	story__do(story, "churn 1000");
	report = trace__end(tool);
	print_coverage(*state, &report, pid);
	sum = layer_of(&report, pid, "python");
	print_message("made %" PRId64 ", freed %" PRId64 ", live %" PRId64
		      "; unknown frees %" PRId64 "\n",
		      sum.alloc_count, sum.free_count, sum.live_count,
		      report__loss(&report, "objects_unknown"));
	assert_true(sum.alloc_count > 50000);
	assert_true(sum.live_count < 1000);
	assert_true(json_object_get_boolean(field(report__python(&report, pid), "has_frees")));
	assert_true(number_of(report__python(&report, pid), "free_sites") > 0);
	/* What was there before may be freed; there is little of it. */
	assert_true(report__loss(&report, "objects_unknown") < 1000);
	assert_python_covered(&report, pid);
	story__end(story);
}

/* ---- types ---- */

/* The live bytes that a process's stacks give to a type, of objects or of what malloc gave out. */
static int64_t type_bytes(const struct report *report, int pid, const char *layer, const char *type)
{
	struct json_object *stacks = stacks_of_report(report);
	int64_t bytes = 0;

	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *row = json_object_array_get_idx(stacks, i), *shares;

		shares = field(row, "types");
		if (number_of(row, "pid") != pid || !shares ||
		    strcmp(text_of(row, "layer") ?: "", layer))
			continue;
		for (size_t k = 0; k < json_object_array_length(shares); k++) {
			struct json_object *share = json_object_array_get_idx(shares, k);

			if (!strcmp(text_of(share, "type") ?: "", type))
				bytes += number_of(share, "bytes");
		}
	}
	return bytes;
}

/* What is no object is told by whose it is; little is left that nobody has. */
static void test_parts(void **state)
{
	struct story *story = story__start(*state, "objects", NULL);
	int64_t nobodys, buffers, tables, all, larger;
	int pid = story->child->pid;
	struct report report;
	struct child *tool;

	story__do(story, "keep 5");
	tool = story__trace(story, NO_ARGS);
	story__do(story, "keep 1000");
	report = trace__end(tool);
	all = layer_of(&report, pid, "python").live_bytes;
	larger = layer_of(&report, pid, "malloc").live_bytes;
	nobodys = type_bytes(&report, pid, "python", "(not an object)");
	buffers = type_bytes(&report, pid, "malloc", "(buffer)");
	tables = type_bytes(&report, pid, "malloc", "list") +
		 type_bytes(&report, pid, "malloc", "dict");
	print_message("nobody's: %" PRId64 " of %" PRId64 " bytes in pools, %" PRId64 " of %" PRId64
		      " bytes of malloc, where lists and dicts have %" PRId64 "\n",
		      nobodys, all, buffers, larger, tables);
	assert_true(all > 1000000 && nobodys <= all / 50);
	assert_true(tables > 100000 && buffers < larger / 2);
	assert_true(type_bytes(&report, pid, "python", "dict of __main__.Loose") > 0 ||
		    type_bytes(&report, pid, "python", "__main__.Loose") > 0);
	story__end(story);
}

/* ---- threads, processes ---- */

/* Attached while threads are at work, and looked at in intervals. */
static void check_threads(const struct python *python, const char *const *tool_args)
{
	struct story *story = story__start(python, "objects", NULL);
	int pid = story->child->pid;
	struct report report;
	struct child *tool;

	story__send(story, "threads 3000");
	tool = story__trace(story, tool_args);
	story__await(story);
	story__do(story, "threads 500");
	report = trace__end(tool);
	print_coverage(python, &report, pid);
	assert_python_covered(&report, pid);
	story__end(story);
}

static void test_threads(void **state)
{
	check_threads(*state, NO_ARGS);
	check_threads(*state, ARGS("--python-frees"));
	check_threads(*state, ARGS("--interval", "500ms"));
}

static int child_pid(struct story *story)
{
	struct json_object *told = story__told(story);

	for (size_t i = 0; i < json_object_array_length(told); i++) {
		struct json_object *item = json_object_array_get_idx(told, i);

		if (!strcmp(text_of(item, "truth") ?: "", "child"))
			return (int)number_of(item, "pid");
	}
	fail_msg("no child was told of");
	return 0;
}

/* A child has what its parent had made, and drops half of it; the parent keeps everything. */
static void check_fork(const struct python *python, const char *const *tool_args)
{
	struct story *story = story__start(python, "objects", NULL);
	int pid = story->child->pid, child;
	struct json_object *truth;
	struct report report;
	struct child *tool;
	char *file;

	story__do(story, "keep 5");
	tool = story__trace(story, tool_args);
	story__do(story, "keep 200");
	story__do(story, "fork");
	child = child_pid(story);
	story__do(story, "work 100");
	story__do(story, "keep 100");
	report = trace__end(tool);
	print_coverage(python, &report, pid);
	print_coverage(python, &report, child);
	truth = truth_of_twin(python, ARGS("keep 5"), ARGS("keep 200", "keep 100"), &file);
	assert_python_lines(&report, pid, truth, file, true, NO_SLACK);
	assert_python_covered(&report, pid);
	assert_python_covered(&report, child);
	story__end(story);
	free(file);
}

static void test_fork(void **state)
{
	check_fork(*state, NO_ARGS);
	check_fork(*state, ARGS("--python-frees"));
}

/* Larger than the object allocator takes: malloc's, counted once. */
static void test_no_objects(void **state)
{
	struct story *story = story__start(*state, "objects", NULL);
	int pid = story->child->pid;
	struct report report;
	struct child *tool;

	tool = story__trace(story, ARGS("--no-python-objects"));
	story__do(story, "keep 400");
	report = trace__end(tool);
	assert_int_equal(layer_of(&report, pid, "python").alloc_count, 0);
	assert_true(layer_of(&report, pid, "malloc").live_count > 100);
	story__end(story);
}

int main(void)
{
	static const struct python_test tests[] = {
		{"lines as tracemalloc has them in the same run", test_same_run, .is_long = true},
		{"lines of an unwatched program", test_unwatched},
		{"lines of blocks that are freed and reused", test_freed_and_reused,
		 .is_long = true},
		{"lines, frees watched", test_frees_watched},
		{"lines, attached in mid-life", test_mid_life},
		{"the interpreter's own count", test_block_counts, .is_long = true},
		{"each kind by itself", test_kinds, .is_long = true},
		{"every free", test_every_free, .is_long = true},
		{"parts of objects", test_parts, .is_long = true},
		{"busy threads", test_threads, .is_long = true},
		{"a forked child", test_fork},
		{"without the object allocator", test_no_objects, .is_long = true},
	};

	return python_tests__main("python_objects", tests, sizeof(tests) / sizeof(tests[0]));
}
