/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host on which hundreds of processes a second come and go (tests/storm/storm.c). The tool counts
 * each of them, and what it holds itself does not grow with how many there were.
 *
 * STORM_SECONDS is how long it lasts (15).
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/harness.h"
#include "lib/holdings.h"

#define EXECS_PER_SECOND "200"
#define SEED "7"

/*
 * Of a storm in which nothing new appears after its first third. What it needs for a process is
 * given back at the latest when 512 have ended, some MiB at most; 16 MiB leave room for the
 * allocator's own ways. A loss of 2 KiB for each process would exceed it in the short form already.
 */
#define MAX_GROWTH_KIB (16 << 10)

/* With strangers about: they bring programs of their own, a compiler's table alone has 30 MiB. */
#define MAX_GROWTH_AMONG_STRANGERS_KIB (192 << 10)

/* Of a program that loads the C library and ends there are twenty and more; of a fork that does
 * nothing, as every fifth process here, two or three. */
#define EVENTS_OF_A_PROCESS 4

/* Descriptors come with files, never with processes; a report or a probe may be under way. */
#define MAX_MORE_DESCRIPTORS 8

/* What the storm says at its end. */
struct total {
	int64_t processes, containers, failed;
};

struct storm {
	struct child *child, *tool;
	struct holdings warm, end;
	int64_t may_end; /* processes of the host that can have ended while it was traced */
	struct total total;
	struct report report;
};

static int storm_seconds(void)
{
	const char *value = getenv("STORM_SECONDS");
	int seconds = value ? atoi(value) : 15;

	assert_in_range(seconds, 1, 3600);
	return seconds;
}

/* Returns "processes" of /proc/stat: every clone since boot. */
static int64_t read_forks(void)
{
	FILE *file = fopen("/proc/stat", "re");
	char *line = NULL;
	int64_t forks = -1;
	size_t cap = 0;

	assert_non_null(file);
	while (forks < 0 && getline(&line, &cap, file) > 0)
		if (!strncmp(line, "processes ", 10))
			forks = atoll(line + 10);
	fclose(file);
	free(line);
	assert_true(forks >= 0);
	return forks;
}

static struct child *start_storm(int seconds)
{
	char *duration = format("%d", seconds);
	struct child *storm =
		leaker__start(ARGS("storm", scratch_dir(), duration, SEED, EXECS_PER_SECOND), NULL);

	free(duration);
	return storm;
}

static struct total read_total(struct child *child)
{
	char *line =
		child__await_line(child, child->out_fd, "TOTAL ", LONG_MS + storm_seconds() * 1000);
	struct json_object *json = json_tokener_parse(line + strlen("TOTAL "));
	struct total total = {
		.processes = json_object_get_int64(field(json, "processes")),
		.containers = json_object_get_int64(field(json, "containers")),
		.failed = json_object_get_int64(field(json, "failed")),
	};

	print_message("%s\n", line);
	json_object_put(json);
	free(line);
	return total;
}

static void await_report(struct storm *storm)
{
	char *out;

	if (child__await_exit(storm->tool, LONG_MS))
		fail_msg("status 0x%x: %s", storm->tool->status, child__stderr(storm->tool));
	out = child__stdout(storm->tool);
	storm->report = report__parse(out);
	free(out);
}

/* Returns how many processes the tool found when it began: "leaksweep: tracing N processes ...". */
static int64_t traced_at_first(const struct child *tool)
{
	char *said = child__stderr(tool), *line = strstr(said, "leaksweep: tracing ");
	int64_t cnt;

	assert_non_null(line);
	cnt = atoll(line + strlen("leaksweep: tracing "));
	free(said);
	return cnt;
}

/* Traces a whole storm, with NULL, or the whole host ("-a"). */
static struct storm weather(const char *all)
{
	int seconds = storm_seconds();
	struct storm storm = {.child = start_storm(seconds), .may_end = -read_forks()};
	char *pid = format("--pid=%d", (int)storm.child->pid);
	struct bpf_objects *objects = calloc(1, sizeof(*objects));

	assert_non_null(objects);
	storm.tool =
		tool__start(ARGS("trace", "--format", "json", "--top", "0", all ? all : pid), NULL);
	tool__await_tracing(storm.tool);
	bpf_objects__read(storm.tool->pid, objects);
	child__poke(storm.child);
	free(child__await_line(storm.child, storm.child->out_fd, "THIRD",
			       LONG_MS + seconds * 1000));
	storm.warm = holdings__read(storm.tool->pid);
	storm.total = read_total(storm.child);
	free(child__await_line(storm.child, storm.child->out_fd, "DONE", TIMEOUT_MS));
	storm.end = holdings__read(storm.tool->pid);
	kill(storm.tool->pid, SIGINT);
	await_report(&storm);
	storm.may_end += read_forks() + traced_at_first(storm.tool);
	leaker__finish(storm.child);
	bpf_objects__await_gone(objects);
	free(objects);
	free(pid);
	return storm;
}

static int64_t ended_processes(const struct storm *storm)
{
	return report__number(&storm->report, "ended", "processes");
}

/*
 * How many processes can be missing by what the report says was lost: those without room, and those
 * of which a program's run was skipped. A lost event hides a process only if it was the one that
 * told of its last program, or of its fork if there was none: /proc tells of ends. The ring loses
 * what comes while it is full, of whatever kind, so of EVENTS_OF_A_PROCESS one is such an event.
 */
static int64_t hidden_processes(const struct storm *storm)
{
	return report__loss(&storm->report, "spaces_full") +
	       report__loss(&storm->report, "programs_skipped") +
	       (report__loss(&storm->report, "events_lost") + EVENTS_OF_A_PROCESS - 1) /
		       EVENTS_OF_A_PROCESS;
}

/*
 * This is two fifths of the pace at which the tool keeps up on processors that are not emulated:
 * then it reads events long before the ring is full.
 */
static void check_kept_up(const struct storm *storm)
{
	if (patience() > 1)
		return;
	assert_int_equal(report__loss(&storm->report, "events_lost"), 0);
	assert_int_equal(report__loss(&storm->report, "spaces_full"), 0);
}

static void check_growth(const struct storm *storm, uint64_t max_kib)
{
	const struct holdings *warm = &storm->warm, *end = &storm->end;

	print_message("the tool: %zu -> %zu KiB, %zu -> %zu files, %zu -> %zu other descriptors\n",
		      (size_t)warm->rss_kib, (size_t)end->rss_kib, warm->files, end->files,
		      warm->others, end->others);
	if (end->rss_kib > warm->rss_kib + max_kib)
		fail_msg("the tool grew by %zu KiB", (size_t)(end->rss_kib - warm->rss_kib));
	if (end->others > warm->others + MAX_MORE_DESCRIPTORS)
		fail_msg("%zu descriptors more that are no files", end->others - warm->others);
	if (end->files_again > warm->files_again + MAX_MORE_DESCRIPTORS)
		fail_msg("%zu files are open once more", end->files_again - warm->files_again);
}

/* Only the storm is traced: every number is known. */
static void test_each_process_is_counted(void **state)
{
	struct storm storm = weather(NULL);
	int64_t ended = ended_processes(&storm), hidden = hidden_processes(&storm);

	(void)state;
	assert_int_equal(storm.total.failed, 0);
	assert_true(storm.total.containers > 0);
	if (ended > storm.total.processes || ended + hidden < storm.total.processes)
		fail_msg("%lld processes, of which the report knows %lld and can hide %lld",
			 (long long)storm.total.processes, (long long)ended, (long long)hidden);
	check_kept_up(&storm);
	assert_ledger(&storm.report);
	check_growth(&storm, MAX_GROWTH_KIB);
}

/* The whole host, whatever else runs there: at least the storm's, at most all that there were. How
 * many events others make is not known, so some may be lost. */
static void test_whole_host(void **state)
{
	struct storm storm = weather("-a");
	int64_t ended = ended_processes(&storm), hidden = hidden_processes(&storm);

	(void)state;
	assert_int_equal(storm.total.failed, 0);
	if (ended > storm.may_end || ended + hidden < storm.total.processes)
		fail_msg("%lld processes of %lld on the host, of which the report knows %lld and "
			 "can hide %lld",
			 (long long)storm.total.processes, (long long)storm.may_end,
			 (long long)ended, (long long)hidden);
	assert_ledger(&storm.report);
	check_growth(&storm, MAX_GROWTH_AMONG_STRANGERS_KIB);
}

/* ---- killed in the middle ------------------------------------------------------------------- */

/* Files that are being written have hidden names. */
static void check_nothing_hidden(const char *dir)
{
	DIR *entries = opendir(dir);
	struct dirent *entry;

	assert_non_null(entries);
	while ((entry = readdir(entries)))
		if (*entry->d_name == '.' && strcmp(entry->d_name, ".") &&
		    strcmp(entry->d_name, ".."))
			fail_msg("%s/%s was left behind", dir, entry->d_name);
	closedir(entries);
}

/* Returns the uprobes that anybody has made through tracefs, owned; "" where it is not mounted. */
static char *read_uprobe_events(void)
{
	FILE *file = fopen("/sys/kernel/tracing/uprobe_events", "re");
	char *text = NULL;
	size_t cap = 0;

	if (!file || getdelim(&text, &cap, '\0', file) < 0) {
		free(text);
		text = format("%s", "");
	}
	if (file)
		fclose(file);
	return text;
}

/* Nobody cleans up after it, and the storm goes on as if nothing had been. */
static void test_killed_in_the_middle(void **state)
{
	char *dir = format("%s", scratch_dir()), *report = format("%s/report", dir),
	     *tables = format("%s", scratch_dir()), *before = read_uprobe_events(), *after;
	struct child *storm = start_storm(storm_seconds()), *tool;
	struct bpf_objects *objects = calloc(1, sizeof(*objects));

	(void)state;
	assert_non_null(objects);
	tool = tool__start(
		ARGS("trace", "-a", "--interval", "1s", "-o", report, "--cache-dir", tables), NULL);
	tool__await_tracing(tool);
	child__poke(storm);
	sleep_ms(storm_seconds() * 1000 / 2);
	bpf_objects__read(tool->pid, objects);
	kill(tool->pid, SIGKILL);
	child__await_exit(tool, TIMEOUT_MS);
	tool_processes__await_gone();
	bpf_objects__await_gone(objects);
	assert_true(objects->cnt_of[BPF_KIND_PROG] && objects->cnt_of[BPF_KIND_MAP] &&
		    objects->cnt_of[BPF_KIND_LINK]);
	assert_int_equal(read_total(storm).failed, 0);
	leaker__finish(storm);
	check_nothing_hidden(dir);
	check_nothing_hidden(tables);
	after = read_uprobe_events();
	assert_string_equal(before, after);
	free(objects);
	free(after);
	free(before);
	free(tables);
	free(report);
	free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_each_process_is_counted),
		E2E_TEST(test_whole_host),
		E2E_TEST(test_killed_in_the_middle),
	};

	return harness__main("e2e storm", tests, sizeof(tests) / sizeof(tests[0]));
}
