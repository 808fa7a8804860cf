/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Filters, sorting, grouping, sampling, formats and files. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/harness.h"

static const char *const by_size[] = {"leak_small", "leak_medium", "leak_large"};

/* Of the three sizes (16, 1000 and 100000 bytes) only those in "mask" are in the report, and those
 * exactly. */
static void check_sizes(const char *const *tool_args, unsigned int mask)
{
	struct run run = run__trace(ARGS("many", "sizes"), tool_args, NULL);

	for (unsigned int i = 0; i < 3; i++) {
		struct tally want =
			expect__function(expects__of(&run.expects, 0), "functions", by_size[i]);
		const struct tally none = {0};

		assert_live(&run.report, by_size[i],
			    report__sum(&run.report, 0, "malloc", by_size[i]),
			    mask & 1U << i ? want : none);
	}
}

static void test_min_size(void **state)
{
	(void)state;
	check_sizes(ARGS("--min-size", "1000"), 6);
	check_sizes(ARGS("--min-size", "64K"), 4);
}

static void test_max_size(void **state)
{
	(void)state;
	check_sizes(ARGS("--max-size", "1000"), 3);
	check_sizes(ARGS("--min-size", "17", "--max-size", "99999"), 2);
}

static void test_min_age(void **state)
{
	struct run run =
		run__trace(ARGS("many", "ages", "3000"), ARGS("--min-age", "1500ms"), NULL);
	struct json_object *expect = expects__of(&run.expects, 0);

	(void)state;
	assert_live(&run.report, "old blocks", report__sum(&run.report, 0, "malloc", "leak_old"),
		    expect__function(expect, "functions", "leak_old"));
	assert_int_equal(report__sum(&run.report, 0, "malloc", "leak_young").live_count, 0);
}

/* Ages of blocks are in the rows. */
static void test_ages(void **state)
{
	struct run run = run__trace(ARGS("many", "ages", "2000"), NO_ARGS, NULL);
	struct json_object *stacks, *stack, *oldest;

	(void)state;
	assert_true(json_object_object_get_ex(run.report.root, "stacks", &stacks));
	stack = json_object_array_get_idx(stacks, 0); /* leak_old: 5000 bytes against 2400 */
	assert_true(json_object_object_get_ex(stack, "oldest_ns", &oldest));
	assert_in_range(json_object_get_int64(oldest), 2000000000LL, 30000000000LL);
}

/* Returns frame 0 of a row, or what it is grouped by. */
static const char *leaf_of(const struct report *report, size_t index)
{
	struct json_object *stacks, *frames, *function;

	assert_true(json_object_object_get_ex(report->root, "stacks", &stacks));
	assert_true(index < json_object_array_length(stacks));
	assert_true(json_object_object_get_ex(json_object_array_get_idx(stacks, index), "frames",
					      &frames));
	assert_true(json_object_object_get_ex(json_object_array_get_idx(frames, 0), "function",
					      &function));
	return json_object_get_string(function);
}

static void test_top_and_sort(void **state)
{
	struct run run = run__trace(ARGS("many", "sizes"), NO_ARGS, NULL);

	(void)state;
	assert_string_equal(leaf_of(&run.report, 0), "leak_large");
	run = run__trace(ARGS("many", "sizes"), ARGS("--sort", "count"), NULL);
	assert_string_equal(leaf_of(&run.report, 0), "leak_small");
	run = run__trace(ARGS("many", "sizes"), ARGS("--top", "1"), NULL);
	assert_int_equal(report__stack_cnt(&run.report), 1);
	assert_string_equal(leaf_of(&run.report, 0), "leak_large");
	/* What is not shown is still in the totals. */
	assert_int_equal(report__number(&run.report, "totals", "live_bytes"),
			 expect__totals(expects__of(&run.expects, 0)).live_bytes);
}

/* Returns the row with this "key" among the groups, wherever the report keeps them. */
static struct json_object *find_group(const struct report *report, const char *key)
{
	struct json_object *groups, *value;

	assert_true(json_object_object_get_ex(report->root, "groups", &groups));
	for (size_t i = 0; i < json_object_array_length(groups); i++) {
		struct json_object *group = json_object_array_get_idx(groups, i);

		if (json_object_object_get_ex(group, "key", &value) &&
		    !strcmp(json_object_get_string(value), key))
			return group;
	}
	fail_msg("no group \"%s\" in %.2000s", key, json_object_to_json_string(groups));
	return NULL;
}

static int64_t group_bytes(struct json_object *group)
{
	struct json_object *live;

	assert_true(json_object_object_get_ex(group, "live_bytes", &live));
	return json_object_get_int64(live);
}

static void test_group_by(void **state)
{
	struct run run =
		run__trace(ARGS("many", "stacks", "1000"), ARGS("--group-by", "function"), NULL);
	int64_t all = expect__totals(expects__of(&run.expects, 0)).live_bytes;
	struct json_object *groups;

	(void)state;
	assert_int_equal(group_bytes(find_group(&run.report, "leaf_of_path")), all);
	run = run__trace(ARGS("many", "stacks", "1000"), ARGS("--group-by", "process"), NULL);
	assert_true(json_object_object_get_ex(run.report.root, "groups", &groups));
	assert_int_equal(group_bytes(json_object_array_get_idx(groups, 0)), all);
	run = run__trace(ARGS("many", "stacks", "1000"), ARGS("--group-by", "cgroup"), NULL);
	assert_true(json_object_object_get_ex(run.report.root, "groups", &groups));
	assert_int_equal(group_bytes(json_object_array_get_idx(groups, 0)), all);
}

/* Tables for a million blocks do not fit in so little: what there is no room for is counted. */
static void test_memory(void **state)
{
	struct run run =
		run__trace(ARGS("many", "blocks", "300000"), ARGS("--memory", "140M"), NULL);
	struct tally truth = expect__totals(expects__of(&run.expects, 0)),
		     seen = report__sum(&run.report, 0, "malloc", NULL);
	int64_t bytes = report__number(&run.report, "overhead", "map_bytes") +
			report__number(&run.report, "unwind", "bytes");

	(void)state;
	bytes += report__number(&run.report, "overhead", "tool_bytes");
	print_message("%lld bytes, %lld of %lld blocks seen\n", (long long)bytes,
		      (long long)seen.live_count, (long long)truth.live_count);
	assert_in_range(bytes, 1, 140 << 20);
	assert_in_range(seen.live_count, 1, truth.live_count - 1);
	assert_int_equal(seen.live_count + report__loss(&run.report, "map_full"), truth.live_count);
	assert_int_equal(seen.live_bytes + report__loss(&run.report, "map_full_bytes"),
			 truth.live_bytes);
}

/* Standard error of a sum of "cnt" blocks of "bytes", each kept with probability 1 -
 * e^(-bytes/mean). */
static double standard_error(double cnt, double bytes, double mean)
{
	double p = 1 - exp(-bytes / mean);

	return bytes * sqrt(cnt * (1 - p) / p);
}

static void test_sample_bytes(void **state)
{
	struct run run = run__trace(ARGS("many", "pairs", "30000", "30000"),
				    ARGS("--sample-bytes", "32K"), NULL);
	struct tally truth =
		expect__function(expects__of(&run.expects, 0), "functions", "hold_block");
	struct tally held = report__sum(&run.report, 0, "malloc", "hold_block");
	struct tally churned = report__sum(&run.report, 0, "malloc", "churn_pair");
	double error = standard_error(30000, 1000, 32768);
	struct json_object *estimated;

	(void)state;
	if (fabs((double)(held.live_bytes - truth.live_bytes)) > 5 * error)
		fail_msg("%lld bytes estimated, %lld true, standard error %.0f",
			 (long long)held.live_bytes, (long long)truth.live_bytes, error);
	assert_true(fabs((double)held.live_count - 30000) <= 5 * error / 1000);
	assert_true(fabs((double)churned.alloc_bytes - 30000000) <= 5 * error);
	assert_int_equal(churned.live_bytes, 0);
	assert_true(json_object_object_get_ex(run.report.root, "estimated", &estimated));
	assert_true(json_object_get_boolean(estimated));
	assert_int_equal(report__number(&run.report, NULL, "sample_bytes"), 32768);
}

/* Blocks of the mean size and above are kept nearly always; small ones rarely, but with their full
 * weight. */
static void test_sampling_weighs_by_bytes(void **state)
{
	struct run run = run__trace(ARGS("many", "sizes"), ARGS("--sample-bytes", "1000"), NULL);
	int64_t small = report__sum(&run.report, 0, "malloc", "leak_small").live_bytes;
	int64_t medium = report__sum(&run.report, 0, "malloc", "leak_medium").live_bytes;

	(void)state;
	assert_int_equal(report__sum(&run.report, 0, "malloc", "leak_large").live_bytes, 1000000);
	assert_true(fabs((double)small - 6400) <= 5 * standard_error(400, 16, 1000));
	assert_true(fabs((double)medium - 50000) <= 5 * standard_error(50, 1000, 1000));
}

static void test_sampled_table_says_estimate(void **state)
{
	struct child *leaker = leaker__start(ARGS("many", "sizes"), NULL), *tool;
	char *pid = format("%d", (int)leaker->pid), *out;

	(void)state;
	tool = tool__start(ARGS("trace", "--sample-bytes", "1000", "-p", pid), NULL);
	tool__await_tracing(tool);
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "DONE", TIMEOUT_MS));
	tool__stop(tool);
	out = child__stdout(tool);
	if (!strstr(out, "estimat"))
		fail_msg("the table does not say that it is an estimate:\n%s", out);
	leaker__finish(leaker);
	free(out);
	free(pid);
}

/* A report each second, numbered, and the final one, number 0. */
static void test_interval(void **state)
{
	struct run run = run__begin(ARGS("many", "ages", "3500"), ARGS("--interval", "1s"), NULL);
	struct json_object *value;

	(void)state;
	run__go(&run);
	run__end(&run);
	assert_true(run.report.cnt >= 4);
	for (size_t i = 0; i + 1 < run.report.cnt; i++) {
		struct json_object *doc = json_object_array_get_idx(run.report.docs, i);

		assert_true(json_object_object_get_ex(doc, "interval", &value));
		assert_int_equal(json_object_get_int64(value), (int64_t)i + 1);
	}
	assert_int_equal(report__number(&run.report, NULL, "interval"), 0);
	assert_expect(&run.report, expects__of(&run.expects, 0));
}

static size_t count_entries(const char *path)
{
	DIR *dir = opendir(path);
	size_t cnt = 0;

	assert_non_null(dir);
	while (readdir(dir))
		cnt++;
	closedir(dir);
	return cnt;
}

/* The old file stands until the new one is complete, and nothing lies beside it afterwards. */
static void test_output_file_is_replaced_at_once(void **state)
{
	const char *dir = scratch_dir();
	char *path = format("%s/report.json", dir), line[16] = "";
	FILE *file = fopen(path, "we");
	struct run run;
	struct report report;

	(void)state;
	assert_non_null(file);
	fputs("old\n", file);
	fclose(file);
	run = run__begin(ARGS("alloc", "malloc"), ARGS("-o", path), NULL);
	run__go(&run);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	assert_string_equal(line, "old\n");
	fclose(file);
	tool__stop(run.tool);
	report = report__read_file(path);
	assert_expect(&report, expects__of(&run.expects, 0));
	assert_int_equal(count_entries(dir), 3); /* ., .. and the report */
	leaker__finish(run.leaker);
	free(path);
}

static void test_folded(void **state)
{
	struct child *leaker = leaker__start(ARGS("many", "sizes"), NULL), *tool;
	char *pid = format("%d", (int)leaker->pid), *out, *rest, *line;
	long long large = 0;

	(void)state;
	tool = tool__start(ARGS("trace", "--format", "folded", "--top", "0", "-p", pid), NULL);
	tool__await_tracing(tool);
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "DONE", TIMEOUT_MS));
	tool__stop(tool);
	out = rest = child__stdout(tool);
	while ((line = strsep(&rest, "\n"))) {
		char *value = strrchr(line, ' ');

		if (!*line)
			continue;
		if (!value || !strchr(line, ';') ||
		    strspn(value + 1, "0123456789") != strlen(value + 1))
			fail_msg("not a folded stack: %s", line);
		if (strstr(line, ";leak_large "))
			large += atoll(value + 1);
	}
	assert_int_equal(large, 1000000);
	leaker__finish(leaker);
	free(out);
	free(pid);
}

/* The table names the leaking function and the process, and nothing on stdout is meant for a
 * terminal. */
static void test_table(void **state)
{
	struct child *leaker = leaker__start(ARGS("many", "sizes"), NULL), *tool;
	char *pid = format("%d", (int)leaker->pid), *out;

	(void)state;
	tool = tool__start(ARGS("trace", "-p", pid), NULL);
	tool__await_tracing(tool);
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "DONE", TIMEOUT_MS));
	tool__stop(tool);
	out = child__stdout(tool);
	assert_non_null(strstr(out, "leak_large"));
	assert_non_null(strstr(out, "many"));
	assert_null(strchr(out, '\033'));
	leaker__finish(leaker);
	free(out);
	free(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_min_size),
		E2E_TEST(test_max_size),
		E2E_TEST(test_min_age),
		E2E_TEST(test_ages),
		E2E_TEST(test_top_and_sort),
		E2E_TEST(test_group_by),
		E2E_TEST(test_memory),
		E2E_TEST(test_sample_bytes),
		E2E_TEST(test_sampling_weighs_by_bytes),
		E2E_TEST(test_sampled_table_says_estimate),
		E2E_TEST(test_interval),
		E2E_TEST(test_output_file_is_replaced_at_once),
		E2E_TEST(test_folded),
		E2E_TEST(test_table),
	};

	return harness__main("e2e options", tests, sizeof(tests) / sizeof(tests[0]));
}
