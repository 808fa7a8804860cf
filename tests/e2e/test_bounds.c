/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tool takes itself stays below the bound that --memory sets and reports tell, whatever
 * fills it; it ends with its report before that is passed.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/harness.h"

#define SMALLEST "140M"
#define LOOK_MS 20

/* Half of them may be files of programs. */
#define DESCRIPTORS "700"
#define PROGRAMS 1000

/* Returns the anonymous memory of a process, 0 when it has gone. */
static int64_t anon_bytes(pid_t pid)
{
	char *anon = process_status(pid, "RssAnon:");
	int64_t bytes = anon ? atoll(anon) * 1024 : 0;

	free(anon);
	return bytes;
}

/* Waits for the end of the tool and returns the most that it took until then. */
static int64_t await_peak(struct child *tool)
{
	int64_t peak = 0, now;

	while ((now = anon_bytes(tool->pid)) > 0) {
		peak = now > peak ? now : peak;
		sleep_ms(LOOK_MS);
	}
	child__await_exit(tool, LONG_MS);
	return peak;
}

static struct report read_report(const struct child *tool)
{
	char *out = child__stdout(tool);
	struct report report = report__parse(out);

	free(out);
	return report;
}

static bool has_note(const struct report *report, const char *text)
{
	struct json_object *notes = field(report->root, "notes");

	for (size_t i = 0; i < json_object_array_length(notes); i++)
		if (strstr(json_object_get_string(json_object_array_get_idx(notes, i)), text))
			return true;
	return false;
}

static void assert_below_bound(const struct report *report, int64_t peak)
{
	int64_t bound = report__number(report, "overhead", "tool_bound_bytes"),
		told = report__number(report, "overhead", "tool_bytes"),
		tables = report__number(report, "overhead", "map_bytes") +
			 report__number(report, "unwind", "bytes");

	print_message("at most %lld KiB, %lld in the report, bound %lld; tables %lld\n",
		      (long long)peak / 1024, (long long)told / 1024, (long long)bound / 1024,
		      (long long)tables / 1024);
	assert_in_range(told, 1, bound);
	assert_in_range(peak, 1, bound);
	assert_in_range(bound + tables, 1, 140 << 20);
}

/* More frames than are kept: each block is counted, some stacks are lost, and it is said. */
static void test_deep_stacks(void **state)
{
	struct child *leaker = leaker__start(ARGS("bounds", "deep", "1300"), NULL);
	char *pid = format("--pid=%d", (int)leaker->pid);
	struct child *tool = trace__start(ARGS("--memory", SMALLEST, "--top", "0", pid));
	struct tally seen;
	struct report report;
	int64_t peak;

	(void)state;
	leaker__go(leaker);
	kill(tool->pid, SIGINT);
	peak = await_peak(tool);
	assert_int_equal(tool->status, 0);
	report = read_report(tool);
	assert_below_bound(&report, peak);
	seen = report__sum(&report, leaker->pid, "malloc", NULL);
	assert_int_equal(seen.live_count, 1300);
	assert_true(has_note(&report, "too deep to keep them all"));
	seen = report__sum(&report, leaker->pid, "malloc", "leaf_of_deep");
	assert_in_range(seen.live_count, 200, 1299);
	leaker__finish(leaker);
	free(pid);
}

/* A child frees a million blocks that nobody has seen being made. */
static void test_many_frees(void **state)
{
	struct child *leaker = leaker__start(ARGS("bounds", "frees", "1000000"), NULL);
	char *pid = format("--pid=%d", (int)leaker->pid);
	struct child *tool = trace__start(ARGS("--memory", SMALLEST, pid));
	struct report report;
	int64_t peak;

	(void)state;
	leaker__go(leaker);
	kill(tool->pid, SIGINT);
	peak = await_peak(tool);
	assert_int_equal(tool->status, 0);
	report = read_report(tool);
	assert_below_bound(&report, peak);
	assert_true(has_note(&report, "frees of inherited memory had no room"));
	leaker__finish(leaker);
	free(pid);
}

/* Nothing bounds the mappings of all processes: it ends before its memory does. */
static void test_many_mappings(void **state)
{
	struct child *leaker = leaker__start(ARGS("bounds", "maps", "60000", "12"), NULL);
	char *pid = format("--pid=%d", (int)leaker->pid);
	struct child *tool = trace__start(ARGS("--memory", SMALLEST, pid));
	struct report report;
	int64_t peak;
	char *said;

	(void)state;
	child__poke(leaker);
	peak = await_peak(tool);
	said = child__stderr(tool);
	report = read_report(tool);
	print_message("%s", said);
	assert_below_bound(&report, peak);
	assert_true(WIFEXITED(tool->status));
	assert_int_equal(WEXITSTATUS(tool->status), 1);
	assert_non_null(strstr(said, "ended early, with its report"));
	assert_true(has_note(&report, "ended early"));
	assert_ledger(&report);
	free(said);
	free(child__await_line(leaker, leaker->out_fd, "DONE", LONG_MS));
	leaker__finish(leaker);
	free(pid);
}

/* It does not wait for a command that goes on. */
static void test_command_goes_on(void **state)
{
	const char *dir = scratch_dir();
	char *program = leaker_path("bounds"), *pid_path = format("%s/pid", dir), line[32] = "";
	char *script = format("echo $$ >%s; %s maps 60000 12 now >/dev/null; exec sleep 300",
			      pid_path, program);
	struct child *tool = tool__start(ARGS("trace", "--format", "json", "--memory", SMALLEST,
					      "--", "/bin/sh", "-c", script),
					 NULL);
	struct report report;
	FILE *file;
	pid_t pid;

	(void)state;
	child__await_exit(tool, LONG_MS);
	file = fopen(pid_path, "re");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	pid = atoi(line);
	assert_true(pid > 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(WIFEXITED(tool->status));
	assert_int_equal(WEXITSTATUS(tool->status), 1);
	report = read_report(tool);
	assert_true(has_note(&report, "ended early"));
	free(script);
	free(pid_path);
	free(program);
}

/* Returns the bytes that the report tells to be of a type. */
static int64_t type_bytes(const struct report *report, const char *type)
{
	struct json_object *stacks = field(report->root, "stacks");
	int64_t bytes = 0;

	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *types = field(json_object_array_get_idx(stacks, i), "types");

		for (size_t k = 0; types && k < json_object_array_length(types); k++) {
			struct json_object *share = json_object_array_get_idx(types, k);

			if (!strcmp(text_of(share, "type"), type))
				bytes += json_object_get_int64(field(share, "bytes"));
		}
	}
	return bytes;
}

/* Pools larger than all that the tool may take: it tells the types, and does not copy them. */
static void test_large_python(void **state)
{
	const char *const script = "import sys\n"
				   "sys.stdin.readline()\n"
				   "rows = [{'id': i} for i in range(800000)]\n"
				   "print('made', flush=True)\n"
				   "sys.stdin.readline()\n";
	struct child *python = child__start(ARGS("/usr/bin/python3", "-c", script), NULL);
	char *pid = format("--pid=%d", (int)python->pid);
	struct child *tool = trace__start(ARGS("--memory", SMALLEST, "--interval", "1s", pid));
	struct report report;
	int64_t peak;

	(void)state;
	child__poke(python);
	free(child__await_line(python, python->out_fd, "made", LONG_MS));
	assert_true(anon_bytes(python->pid) > 160 << 20);
	kill(tool->pid, SIGINT);
	peak = await_peak(tool);
	assert_int_equal(tool->status, 0);
	report = read_report(tool);
	assert_below_bound(&report, peak);
	print_message("%lld bytes of dicts, %lld of integers, in %zu reports\n",
		      (long long)type_bytes(&report, "dict"), (long long)type_bytes(&report, "int"),
		      report.cnt);
	assert_true(type_bytes(&report, "dict") > type_bytes(&report, "int"));
	assert_true(type_bytes(&report, "int") > 0);
	child__poke(python);
	child__await_exit(python, LONG_MS);
	free(pid);
}

/* Returns how many files a process has open, and how many of them are deleted ones. */
static size_t count_open(pid_t pid, size_t *ret_deleted)
{
	char *path = format("/proc/%d/fd", (int)pid), target[4096];
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t cnt = 0;
	ssize_t len;

	*ret_deleted = 0;
	while (dir && (entry = readdir(dir))) {
		len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		cnt++;
		*ret_deleted += strstr(target, "/newcomer-") && strstr(target, " (deleted)");
	}
	if (dir)
		closedir(dir);
	free(path);
	return cnt;
}

/* Always new programs: their files are not kept open, nor their disk space, for all time. */
static void test_always_new_programs(void **state)
{
	const char *dir = scratch_dir();
	char *program = leaker_path("bounds"), *tool_file = tool_path();
	char *out = format("%s/report", dir);
	/* Each waits for a moment, so that it is seen. */
	char *script = format("for k in 1 2 3 4; do (i=0; while [ $i -lt %d ]; do "
			      "f=%s/newcomer-$k-$i; cp %s $f || exit; "
			      "sleep 0.05 | $f deep 1 >/dev/null; rm $f; i=$((i+1)); done) & done; "
			      "wait",
			      PROGRAMS / 4, dir, program);
	struct child *tool =
		child__start(ARGS("/usr/bin/prlimit", "--nofile=" DESCRIPTORS, tool_file, "trace",
				  "--format", "json", "-o", out, "--", "/bin/sh", "-c", script),
			     NULL);
	size_t most = 0, most_deleted = 0, cnt, deleted;
	struct report report;
	int64_t known;

	(void)state;
	while (anon_bytes(tool->pid) > 0) {
		cnt = count_open(tool->pid, &deleted);
		most = cnt > most ? cnt : most;
		most_deleted = deleted > most_deleted ? deleted : most_deleted;
		sleep_ms(LOOK_MS);
	}
	child__await_exit(tool, LONG_MS);
	print_message("%zu descriptors, %zu of deleted programs, at most\n", most, most_deleted);
	assert_int_equal(tool->status, 0);
	report = report__read_file(out);
	assert_ledger(&report);
	assert_in_range(most, 1, atoi(DESCRIPTORS) - 1);
	assert_in_range(most_deleted, 250, atoi(DESCRIPTORS) - 100);
	known = (int64_t)json_object_array_length(field(report.root, "processes")) +
		report__number(&report, "ended", "processes");
	assert_true(known >= 3 * PROGRAMS);
	assert_int_equal(report__loss(&report, "events_lost"), 0);
	free(script);
	free(program);
	free(tool_file);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_deep_stacks),   E2E_TEST(test_many_frees),
		E2E_TEST(test_many_mappings), E2E_TEST(test_command_goes_on),
		E2E_TEST(test_large_python),  E2E_TEST(test_always_new_programs),
	};

	return harness__main("bounds", tests, sizeof(tests) / sizeof(tests[0]));
}
