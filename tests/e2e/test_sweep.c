/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sweep on real processes: a leak of a known rate, a warm-up, teeth and one that is flat, alone
 * and as a service in a control group with a limit, which is started anew meanwhile.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/container.h"

#define MIB (1024.0 * 1024)
#define LEAK_KIB_S "400"
#define LEAK_PER_HOUR (400 * 1024.0 * 3600)
#define SERVICE_KIB_S "800"
#define SERVICE_PER_HOUR (800 * 1024.0 * 3600)
#define SERVICE_LIMIT ((uint64_t)256 << 20)

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static struct child *grower__start(const char *const *args)
{
	struct child *child = leaker__start(args, NULL);

	child__poke(child);
	return child;
}

static void assert_rate(struct json_object *doc, pid_t pid, double truth)
{
	struct json_object *row = sweep__row(doc, pid), *growth;

	if (!row)
		fail_msg("process %d is not told as growing: %s", (int)pid,
			 json_object_to_json_string(doc));
	growth = field(row, "growth");
	if (number_in(growth, "lower") > truth || number_in(growth, "upper") < truth)
		fail_msg("process %d grows by %.1f MiB/h, and the report says %.1f to %.1f",
			 (int)pid, truth / MIB, number_in(growth, "lower") / MIB,
			 number_in(growth, "upper") / MIB);
}

static void assert_not_growing(struct json_object *doc, pid_t pid)
{
	struct json_object *row = sweep__row(doc, pid);

	if (row)
		fail_msg("process %d does not grow: %s", (int)pid, json_object_to_json_string(row));
}

/* ---- a service with a limit ---- */

struct service {
	struct container *container;
	struct child *leaker;
};

static const struct container_opts service_opts = {
	.leakers = ARGS("grower"),
	.memory_bytes = SERVICE_LIMIT,
};

static void service__run(struct service *service)
{
	service->leaker =
		container__leaker(service->container, ARGS("grower", "leak", SERVICE_KIB_S));
	child__poke(service->leaker);
}

/* The number in a file of the group, or behind a word in it. */
static double group_number(const char *dir, const char *name, const char *word)
{
	char *path = format("%s/%s", dir, name), text[8192] = "", *at = text;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	if (word) {
		char *line = format("\n%s ", word);

		at = strstr(text, line);
		assert_non_null(at);
		at += strlen(line);
		free(line);
	}
	free(path);
	return strtod(at, NULL);
}

static double service__room(void)
{
	bool is_v2;
	char *dir = container__memory_dir("demo.service", &is_v2);
	const char *usage = is_v2 ? "memory.current" : "memory.usage_in_bytes";
	double room;

	room = (double)SERVICE_LIMIT - group_number(dir, usage, NULL) +
	       group_number(dir, "memory.stat", is_v2 ? "active_file" : "total_active_file") +
	       group_number(dir, "memory.stat", is_v2 ? "inactive_file" : "total_inactive_file");
	free(dir);
	return room;
}

/* What the group's limit leaves, and how long that lasts; as it is now, a moment after the report.
 */
static void assert_limit(struct json_object *doc, const struct service *service)
{
	struct json_object *row = sweep__row(doc, service->leaker->pid), *limit;
	double room = service__room(), seconds;

	assert_non_null(row);
	assert_string_equal(text_of(row, "title"), "demo.service");
	assert_true(json_object_get_boolean(field(row, "service")));
	limit = field(row, "limit");
	assert_string_equal(text_of(limit, "cgroup"), service->container->cgroup);
	assert_true(number_in(limit, "bytes") == SERVICE_LIMIT);
	seconds = number_in(limit, "seconds");
	if (seconds < 0.8 * room / SERVICE_PER_HOUR * 3600 ||
	    seconds > 1.25 * room / SERVICE_PER_HOUR * 3600 + 2)
		fail_msg("%.0f s until the limit instead of %.0f: %s", seconds,
			 room / SERVICE_PER_HOUR * 3600, json_object_to_json_string(row));
}

/* ---- all of them at once ---- */

struct host {
	struct child *leak, *warm, *teeth, *flat;
	struct service service;
};

static void assert_host(struct json_object *doc, const struct host *host)
{
	assert_rate(doc, host->leak->pid, LEAK_PER_HOUR);
	assert_not_growing(doc, host->warm->pid);
	assert_not_growing(doc, host->teeth->pid);
	assert_not_growing(doc, host->flat->pid);
}

static struct host start_host(void)
{
	struct host host = {
		.warm = grower__start(ARGS("grower", "warm", "300", "8")),
		.teeth = grower__start(ARGS("grower", "teeth", "40", "3")),
		.flat = grower__start(ARGS("grower", "flat", "50")),
		.leak = grower__start(ARGS("grower", "leak", LEAK_KIB_S)),
		.service.container = container__start("demo.service", &service_opts),
	};

	service__run(&host.service);
	return host;
}

/* For scripts: one report, and a status. */
static void check_once(struct child *fails, struct child *passes, struct child *in_group,
		       const struct host *host)
{
	struct report report;

	child__await_code(fails, 3);
	child__await_code(passes, 0);
	child__await_code(in_group, 0);
	report = sweep__read_reports(passes);
	assert_int_equal(report.cnt, 1);
	assert_host(report.root, host);
	assert_rate(report.root, host->service.leaker->pid, SERVICE_PER_HOUR);
	report = sweep__read_reports(in_group);
	assert_int_equal(report.cnt, 1);
	assert_not_growing(report.root, host->leak->pid);
	assert_rate(report.root, host->service.leaker->pid, SERVICE_PER_HOUR);
	/* Its first process, and the leaker. */
	assert_true(number_in(field(report.root, "watched"), "processes") == 2);
}

/* The service's next process goes on where the last one was. */
static void check_restart(struct child *tool, struct host *host)
{
	struct json_object *row;
	struct report report;

	kill(host->service.leaker->pid, SIGKILL);
	child__await_exit(host->service.leaker, TIMEOUT_MS);
	service__run(&host->service);
	sleep_ms(25000 * slowness());
	kill(tool->pid, SIGTERM);
	child__await_code(tool, 0);
	report = sweep__read_reports(tool);
	assert_int_equal(report.cnt, 3);
	assert_int_equal(number_in(report.root, "interval"), 0);
	assert_host(report.root, host);
	row = sweep__row(report.root, host->service.leaker->pid);
	if (!row)
		fail_msg("the service does not grow any more: %s",
			 json_object_to_json_string(report.root));
	assert_int_equal(number_in(row, "restarts"), 1);
}

static void test_host(void **state)
{
	struct host host = start_host();
	double begun = now_s();
	struct child *tool = tool__start(ARGS("--interval", "10m", "--format", "json"), NULL);
	struct child *fails =
		tool__start(ARGS("--once", "--duration", "32s", "--fail-over", "500M"), NULL);
	struct child *passes = tool__start(
		ARGS("sweep", "--once", "-d", "32s", "-f", "json", "--fail-over", "100G"), NULL);
	struct child *in_group = tool__start(ARGS("--once", "-d", "32s", "-f", "json", "--cgroup",
						  host.service.container->cgroup),
					     NULL);
	struct report report;

	(void)state;
	sweep__await_reports(tool, 1);
	assert_true(now_s() - begun < 45 * patience());
	report = sweep__read_reports(tool);
	assert_true(number_in(report.root, "duration_ns") < 30e9 * patience());
	assert_host(report.root, &host);
	assert_rate(report.root, host.service.leaker->pid, SERVICE_PER_HOUR);
	assert_limit(report.root, &host.service);
	check_once(fails, passes, in_group, &host);
	kill(tool->pid, SIGUSR1);
	sweep__await_reports(tool, 2);
	check_restart(tool, &host);
}

/* ---- what does not take long ---- */

/* A table, then a line an interval while nothing is known to grow; the last table tells the end. */
static void test_quiet(void **state)
{
	struct container *container = container__start("quiet.service", &service_opts);
	struct child *tool =
		tool__start(ARGS("-i", "1s", "-d", "8s", "--cgroup", container->cgroup), NULL);
	char *out, *line;
	size_t lines = 0;

	(void)state;
	child__await_code(tool, 0);
	out = child__stdout(tool);
	for (line = out; (line = strstr(line, "Z  not known yet: ")); line++)
		lines++;
	assert_null(strstr(out, "nothing grows"));
	if (lines < 1 || lines > 7 || strncmp(out, "leaksweep sweep: interval 1,", 28) ||
	    !strstr(out, "\nleaksweep sweep: final,"))
		fail_msg("%zu lines: %s", lines, out);
	free(out);
}

/* Whatever is written is whole. It has a name of its own only from linkat(2) to rename(2): one who
 * is killed just then leaves that one behind. */
static void test_killed(void **state)
{
	const char *dir = scratch_dir();
	char *path = format("%s/sweep.json", dir);
	struct child *tool = tool__start(ARGS("-i", "10ms", "-f", "json", "-o", path), NULL);
	struct dirent *entry;
	struct report report;
	size_t named = 0;
	DIR *list;

	(void)state;
	for (int waited = 0; access(path, F_OK) && waited < TIMEOUT_MS; waited += 20)
		sleep_ms(20);
	sleep_ms(500);
	kill(tool->pid, SIGKILL);
	child__await_exit(tool, TIMEOUT_MS);
	report = report__read_file(path);
	assert_string_equal(text_of(report.root, "mode"), "sweep");
	list = opendir(dir);
	assert_non_null(list);
	while ((entry = readdir(list)))
		if (!strncmp(entry->d_name, ".leaksweep-", 11))
			named++;
		else if (*entry->d_name != '.' || strlen(entry->d_name) > 2)
			assert_string_equal(entry->d_name, "sweep.json");
	assert_true(named <= 1);
	closedir(list);
	free(path);
}

/* What is over before anything is known is no success for a script. */
static void test_too_early(void **state)
{
	struct child *tool = tool__start(ARGS("--once", "-d", "2s", "--fail-over", "1M"), NULL);
	char *text;

	(void)state;
	child__await_code(tool, 1);
	text = child__stdout(tool);
	if (!strstr(text, "not known yet: "))
		fail_msg("no report: %s", text);
	free(text);
	text = child__stderr(tool);
	if (!strstr(text, "use a longer --duration"))
		fail_msg("no reason: %s", text);
	free(text);
}

/* One report that cannot be written is told once; the last one is the sweep's failure. */
static void test_unwritable(void **state)
{
	char *path = format("%s/fifo", scratch_dir()), *err, *line;
	struct child *tool;
	size_t lines = 0;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	tool = tool__start(ARGS("-i", "300ms", "-d", "3s", "-o", path), NULL);
	child__await_code(tool, 1);
	err = child__stderr(tool);
	for (line = err; (line = strstr(line, "the sweep goes on\n")); line++)
		lines++;
	if (lines != 1 || !strstr(err, "the sweep cannot go on"))
		fail_msg("%zu warnings: %s", lines, err);
	free(err);
	free(path);
}

/* A pipe that nobody reads fills up, and the tool can be ended all the same. */
static void test_unread(void **state)
{
	char *path = format("%s/unread", scratch_dir());
	struct child *tool;
	bool full = false;
	int fd, status;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && fcntl(fd, F_SETPIPE_SZ, 4096) >= 0);
	tool = tool__start(ARGS("-i", "10ms", "-f", "json", "-o", path), NULL);
	for (int waited = 0; !full && waited < TIMEOUT_MS; waited += 20) {
		struct pollfd room = {.fd = fd, .events = POLLOUT};

		sleep_ms(20);
		full = !poll(&room, 1, 0);
	}
	assert_true(full);
	sleep_ms(300); /* for the next report, which waits */
	kill(tool->pid, SIGTERM);
	status = child__await_exit(tool, TIMEOUT_MS);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	close(fd);
	free(path);
}

/* What is ignored at the start, as nohup(1) does, ends nothing. */
static void test_nohup(void **state)
{
	char *path = tool_path(), *command = format("trap '' HUP INT; exec %s -i 1s", path);
	struct child *tool = child__start(ARGS("/bin/sh", "-c", command), NULL);

	(void)state;
	free(child__await_line(tool, tool->out_fd, "leaksweep sweep: interval 1,", TIMEOUT_MS));
	kill(tool->pid, SIGHUP);
	kill(tool->pid, SIGINT);
	sleep_ms(1000);
	assert_int_equal(waitpid(tool->pid, NULL, WNOHANG), 0);
	kill(tool->pid, SIGTERM);
	child__await_code(tool, 0);
	free(command);
	free(path);
}

static void check_refused(const char *const *args, const struct child_opts *opts, int code,
			  const char *why)
{
	struct child *tool = tool__start(args, opts);
	char *err;

	child__await_code(tool, code);
	err = child__stderr(tool);
	if (!strstr(err, why) || strchr(err, '\n') != err + strlen(err) - 1)
		fail_msg("not one line with '%s': %s", why, err);
	free(err);
}

static void test_refused(void **state)
{
	const struct child_opts nobody = {.uid = 65534};

	(void)state;
	check_refused(ARGS("--once"), &nobody, 1, "run leaksweep as root");
	check_refused(ARGS("--cgroup", "/there/is/none"), NULL, 1, "there is no cgroup");
	check_refused(ARGS("-o", "/there/is/none"), NULL, 1, "cannot write");
	check_refused(ARGS("--interval", "0"), NULL, 2, "more than 0");
	check_refused(ARGS("-f", "tree"), NULL, 2, "not one of table, json");
	check_refused(ARGS("--fail-over", "much"), NULL, 2, "not a size");
	check_refused(ARGS("sweep", "1234"), NULL, 2, "takes no arguments");
	check_refused(ARGS("swep"), NULL, 2, "no command 'swep'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONTAINER_TEST(test_host),	 CONTAINER_TEST(test_quiet),
		CONTAINER_TEST(test_killed),	 CONTAINER_TEST(test_too_early),
		CONTAINER_TEST(test_unwritable), CONTAINER_TEST(test_unread),
		CONTAINER_TEST(test_nohup),	 CONTAINER_TEST(test_refused),
	};

	return harness__main("e2e sweep", tests, sizeof(tests) / sizeof(tests[0]));
}
