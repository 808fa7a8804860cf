/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that is refused, and processes that are killed for theirs, are told when it happens and
 * stand in the report with the limit that was behind it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/harness.h"

#define EAT_LIMIT_MIB 64

static struct json_object *failures_of(const struct report *report)
{
	struct json_object *list = field(report->root, "failures");

	if (!list)
		fail_msg("the report has no failures");
	return list;
}

static bool has_function(struct json_object *failure, const char *function)
{
	struct json_object *frames = field(failure, "frames");
	size_t cnt = frames ? json_object_array_length(frames) : 0;

	for (size_t i = 0; i < cnt; i++) {
		const char *name = text_of(json_object_array_get_idx(frames, i), "function");

		if (name && !strcmp(name, function))
			return true;
	}
	return false;
}

/* Sums the failures of a function; each must have this kind, and bytes, and limit. */
static int64_t count_failures(const struct report *report, struct json_object *truth)
{
	struct json_object *list = failures_of(report);
	int64_t bytes = (int64_t)number_in(truth, "bytes"), cnt = 0;
	char *limit = format("ulimit -v %d KiB: ", (int)number_in(truth, "limit_kib"));

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *failure = json_object_array_get_idx(list, i);
		const char *why = text_of(failure, "limit");

		if (!has_function(failure, text_of(truth, "function")))
			continue;
		assert_string_equal(text_of(failure, "kind"), text_of(truth, "kind"));
		assert_string_equal(text_of(failure, "comm"), "refused");
		assert_int_equal(number_in(failure, "pid"), number_in(truth, "pid"));
		assert_int_equal(number_in(failure, "bytes"), bytes);
		if (!why || strncmp(why, limit, strlen(limit)))
			fail_msg("the limit is told as %s, not %s...", why, limit);
		cnt += (int64_t)number_in(failure, "count");
	}
	free(limit);
	return cnt;
}

/* Reads the REFUSED lines of the leaker and finds each of them in the report. */
static void check_refused(const struct run *run)
{
	char *out = child__stdout(run->leaker), *rest = out, *line;
	int cnt = 0;

	while ((line = strsep(&rest, "\n"))) {
		struct json_object *truth;

		if (strncmp(line, "REFUSED ", 8))
			continue;
		truth = json_tokener_parse(line + 8);
		assert_non_null(truth);
		if (count_failures(&run->report, truth) != number_in(truth, "count"))
			fail_msg("%d refusals are in the report, the truth is %s",
				 (int)count_failures(&run->report, truth), line);
		json_object_put(truth);
		cnt++;
	}
	assert_true(cnt > 0);
	free(out);
}

static size_t count_lines(const char *text, const char *part)
{
	size_t cnt = 0;

	for (; (text = strstr(text, part)); text++)
		cnt++;
	return cnt;
}

static void test_refused_calls(void **state)
{
	struct run run = run__trace(ARGS("refused", "all"), NO_ARGS, NULL);
	char *err = child__stderr(run.tool), *who = format("refused[%d]: ", (int)run.leaker->pid);

	(void)state;
	check_refused(&run);
	assert_int_equal(count_lines(err, who), 5);
	assert_int_equal(count_lines(err, ": allocation refused, asked for 1.0 GiB; ulimit -v "),
			 3);
	assert_int_equal(count_lines(err, ": mapping refused, asked for 1.0 GiB; ulimit -v "), 2);
	free(who);
	free(err);
}

/* It is told when it happens, not when the trace ends. */
static void test_refused_at_once(void **state)
{
	struct run run = run__begin(ARGS("refused", "all"), NO_ARGS, NULL);

	(void)state;
	run__go(&run);
	free(child__await_line(run.tool, run.tool->err_fd, "leaksweep: refused[", 5000 * patience()));
	run__end(&run);
}

static void test_text_report(void **state)
{
	struct child *leaker = leaker__start(ARGS("refused", "all"), NULL), *tool;
	char *pid = format("%d", (int)leaker->pid), *out;

	(void)state;
	tool = tool__start(ARGS("trace", "-p", pid), NULL);
	tool__await_tracing(tool);
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "DONE", TIMEOUT_MS));
	tool__stop(tool);
	out = child__stdout(tool);
	if (!strstr(out, "\nmemory refused:\n") || count_lines(out, " refused in ") != 5 ||
	    count_lines(out, "  ulimit -v 262144 KiB: ") != 5 || !strstr(out, "refuse_calloc"))
		fail_msg("the table does not say it all:\n%s", out);
	leaker__finish(leaker);
	free(out);
	free(pid);
}

/* Many stacks at once: few lines, nothing lost. */
static void test_flood(void **state)
{
	struct timespec began, ended;
	struct run run;
	double seconds;
	size_t lines;
	char *err;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &began);
	run = run__trace(ARGS("refused", "flood", "150"), NO_ARGS, NULL);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	seconds = (double)(ended.tv_sec - began.tv_sec) + 1;
	check_refused(&run);
	err = child__stderr(run.tool);
	lines = count_lines(err, ": allocation refused, ");
	assert_in_range(lines, 1, (size_t)(10 * (seconds + 1)));
	if (lines < 150)
		assert_true(count_lines(err, " more refusals") >= 1);
	free(err);
}

/* ---- the OOM killer ---- */

static bool write_text(const char *dir, const char *name, const char *text)
{
	char *path = format("%s/%s", dir, name);
	FILE *file = fopen(path, "we");
	bool done = false;

	free(path);
	if (!file)
		return false;
	done = fputs(text, file) >= 0;
	return !fclose(file) && done;
}

struct group {
	char *path; /* owned */
	const char *limit_name;
};

/* Makes a cgroup that limits memory, in either version. Returns false when there is none. */
static bool make_group(struct group *ret)
{
	static const struct {
		const char *root, *limit, *swap;
	} versions[] = {
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max", "memory.swap.max"},
		{"/sys/fs/cgroup/unified", "memory.max", "memory.swap.max"},
	};

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		char *path = format("%s/leaksweep-oom-%d", versions[i].root, (int)getpid());
		char *limit = format("%d", EAT_LIMIT_MIB << 20);
		bool is_v2 = !strcmp(versions[i].limit, "memory.max"), made = false;

		if (is_v2) /* refused where it is on already, or cannot be */
			write_text(versions[i].root, "cgroup.subtree_control", "+memory");
		if (!mkdir(path, 0755)) {
			made = write_text(path, versions[i].limit, limit);
			write_text(path, versions[i].swap, is_v2 ? "0" : limit);
			if (!made)
				rmdir(path);
		}
		free(limit);
		if (made) {
			*ret = (struct group){path, versions[i].limit};
			return true;
		}
		free(path);
	}
	return false;
}

static void remove_group(struct group *group)
{
	for (int i = 0; rmdir(group->path) && errno == EBUSY && i < 100; i++)
		sleep_ms(20);
	free(group->path);
}

/* Bytes that the function has live in any of the reports: those at the kill and at the end. */
static int64_t most_live(struct report *report, int pid, const char *function)
{
	int64_t most = 0;

	for (size_t i = 0; i < report->cnt; i++) {
		int64_t bytes;

		report->root = json_object_array_get_idx(report->docs, i);
		bytes = report__sum(report, pid, NULL, function).live_bytes;
		most = bytes > most ? bytes : most;
	}
	return most;
}

static void check_kill(struct report *report, pid_t pid, const struct group *group)
{
	const char *name = strrchr(group->path, '/');
	struct json_object *list = failures_of(report), *proc = report__process(report, pid);
	size_t kills = 0;

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *failure = json_object_array_get_idx(list, i);
		const char *why = text_of(failure, "limit");

		if (strcmp(text_of(failure, "kind"), "oom_kill"))
			continue;
		kills++;
		assert_int_equal(number_in(failure, "pid"), pid);
		assert_string_equal(text_of(failure, "comm"), "refused");
		assert_non_null(why);
		if (!strstr(why, name) || !strstr(why, group->limit_name))
			fail_msg("the kill's reason is told as: %s", why);
	}
	assert_int_equal(kills, 1);
	assert_non_null(proc);
	assert_int_equal(number_in(proc, "exit_signal"), SIGKILL);
	assert_true(most_live(report, pid, "eat_memory") > EAT_LIMIT_MIB / 2 << 20);
}

static void test_oom_kill(void **state)
{
	struct report report;
	struct group group = {0};
	char *begin, *line, *out, *pid;
	struct child *leaker, *tool;

	(void)state;
	if (!make_group(&group)) {
		print_message("skipped: no cgroup hierarchy here limits memory\n");
		skip();
	}
	leaker = leaker__start(ARGS("refused", "eat"), NULL);
	pid = format("%d", (int)leaker->pid);
	assert_true(write_text(group.path, "cgroup.procs", pid));
	tool = tool__start(ARGS("trace", "--format", "json", "--top", "0", "-p", pid), NULL);
	tool__await_tracing(tool);
	child__poke(leaker);
	assert_int_equal(WTERMSIG(child__await_exit(leaker, TIMEOUT_MS)), SIGKILL);
	begin = format("leaksweep: the kernel's OOM killer chose refused[%s]", pid);
	line = child__await_line(tool, tool->err_fd, begin, TIMEOUT_MS);
	print_message("%s\n", line);
	if (!strstr(line, strrchr(group.path, '/')) || !strstr(line, " 64.0 MiB)"))
		fail_msg("the line does not say why: %s", line);
	if (child__await_exit(tool, TIMEOUT_MS))
		fail_msg("status 0x%x: %s", tool->status, child__stderr(tool));
	out = child__stdout(tool);
	report = report__parse(out);
	check_kill(&report, leaker->pid, &group);
	remove_group(&group);
	free(out);
	free(line);
	free(begin);
	free(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_refused_calls), E2E_TEST(test_refused_at_once),
		E2E_TEST(test_text_report),   E2E_TEST(test_flood),
		E2E_TEST(test_oom_kill),
	};

	return harness__main("test_failures", tests, sizeof(tests) / sizeof(tests[0]));
}
