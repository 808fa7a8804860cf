/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sweep as a service: its config file, read again while it runs, and what it is told not to
 * tell. */
#include <ctype.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/container.h"

#define LEAK_KIB_S "400"

static const struct container_opts container_opts = {.leakers = ARGS("grower")};

static void rewrite(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

/* Returns the path of a new file, owned by the caller. */
static char *write_config(const char *text)
{
	char *path = format("%s/sweep.conf", scratch_dir());

	rewrite(path, text);
	return path;
}

static void assert_says(struct child *tool, int code, const char *text)
{
	char *err;

	child__await_code(tool, code);
	err = child__stderr(tool);
	if (strcmp(err, text))
		fail_msg("not '%s': %s", text, err);
	free(err);
}

/* A line of stderr, once it is there. */
static void await_says(struct child *tool, const char *text)
{
	char *line = child__await_line(tool, tool->err_fd, text, TIMEOUT_MS);

	free(line);
}

/* ---- the file ---- */

static void test_bad_file(void **state)
{
	char *path = write_config("# all of them\ninterval = 5s\nbudget = all\n");
	char *text = format("leaksweep: %s:3: --budget: 'all' is not a part of a hundred: "
			    "write 1, 0.5 or 5\n",
			    path);

	(void)state;
	assert_says(tool__start(ARGS("--config", path), NULL), 2, text);
	free(text);
	assert_int_equal(chmod(path, 0666), 0);
	text = format("leaksweep: %s is not read, as others than root may write it: chown root it, "
		      "and chmod go-w\n",
		      path);
	assert_says(tool__start(ARGS("--config", path), NULL), 2, text);
	free(text);
	free(path);
}

/* New intervals, another file to write to, other groups; a bad file changes nothing. */
static void test_reread(void **state)
{
	struct container *container = container__start("quiet", &container_opts);
	char *path = write_config("interval = 1h\nformat = json\n");
	char *out = format("%s/out.json", scratch_dir()), *text;
	struct child *tool = tool__start(ARGS("--config", path, "--budget", "0"), NULL);
	struct report report;

	(void)state;
	sleep_ms(1500);
	kill(tool->pid, SIGUSR1);
	free(child__await_line(tool, tool->out_fd, "\"growing\":", TIMEOUT_MS));
	rewrite(path, "interval = 1h\nformat = xml\n");
	kill(tool->pid, SIGHUP);
	await_says(tool, "leaksweep: --format: 'xml' is not one of table, json; the sweep goes on "
			 "as before");
	text = format("interval = 300ms\nformat = json\noutput = %s\ncgroup = /there/is/none\n",
		      out);
	rewrite(path, text);
	free(text);
	kill(tool->pid, SIGHUP);
	await_says(tool, "leaksweep: there is no cgroup");
	assert_true(access(out, F_OK));
	text = format("interval = 300ms\nformat = json\noutput = %s\ncgroup = %s\n", out,
		      container->cgroup);
	rewrite(path, text);
	kill(tool->pid, SIGHUP);
	free(text);
	text = format("leaksweep: %s is read again", path);
	await_says(tool, text);
	free(text);
	for (int waited = 0; access(out, F_OK) && waited < TIMEOUT_MS; waited += 20)
		sleep_ms(20);
	assert_int_equal(unlink(path), 0);
	kill(tool->pid, SIGHUP);
	text = format("leaksweep: cannot read %s: No such file or directory; the sweep goes on as "
		      "before",
		      path);
	await_says(tool, text);
	sleep_ms(2500); /* for a pass with the groups */
	kill(tool->pid, SIGTERM);
	child__await_code(tool, 0);
	report = sweep__read_reports(tool);
	assert_int_equal(report.cnt, 1);
	report = report__read_file(out);
	assert_int_equal(json_object_get_int(field(report.root, "interval")), 0);
	assert_int_equal(json_object_get_int(field(field(report.root, "watched"), "processes")), 1);
	free(text);
	free(out);
	free(path);
}

/* From its first moments on a signal that asks for something ends nothing. */
static void await_held(struct child *tool, int signal_nr)
{
	uint64_t held = 0;

	while (!(held >> (signal_nr - 1) & 1)) {
		char *set = process_status(tool->pid, "SigBlk:");

		assert_non_null(set);
		held = strtoull(set, NULL, 16);
		free(set);
	}
}

/* Without a file it is the end of a terminal. */
static void test_hangup(void **state)
{
	struct child *tool =
		tool__start(ARGS("--config", "none", "-f", "json", "--budget", "0"), NULL);
	struct report report;

	(void)state;
	await_held(tool, SIGHUP);
	kill(tool->pid, SIGHUP);
	child__await_code(tool, 0);
	report = sweep__read_reports(tool);
	assert_int_equal(report.cnt, 1);
	assert_int_equal(json_object_get_int(field(report.root, "interval")), 0);
}

/* Asks for a report, and returns it. */
static struct report ask(struct child *tool, size_t before)
{
	struct report report;

	kill(tool->pid, SIGUSR1);
	sweep__await_reports(tool, before + 1);
	report = sweep__read_reports(tool);
	assert_int_equal(report.cnt, before + 1);
	return report;
}

static void assert_budget(const struct report *report, double percent, pid_t pid)
{
	struct json_object *budget = field(field(report->root, "overhead"), "budget_percent");
	struct json_object *row = sweep__row(report->root, pid),
			   *code = row ? field(row, "code") : NULL;

	if (!code || (percent > 0) != (strcmp(text_of(code, "look"), "off") != 0) ||
	    (percent > 0) != (budget != NULL) ||
	    (budget && json_object_get_double(budget) != percent))
		fail_msg("not a budget of %.1f %%: %s", percent,
			 json_object_to_json_string(report->root));
}

/* A budget that goes and comes back. */
static void test_budget(void **state)
{
	struct container *container = container__start("budget", &container_opts);
	struct child *leak = container__leaker(container, ARGS("grower", "leak", LEAK_KIB_S));
	char *path = write_config("budget = 1\n"), *text = format("leaksweep: %s is read", path);
	struct child *tool = tool__start(ARGS("--config", path, "--interval", "1h", "--cgroup",
					      container->cgroup, "--format", "json"),
					 NULL);
	struct report report;

	(void)state;
	child__poke(leak);
	/* The first report is on its own, just before this one. */
	sleep_ms(32000 * slowness());
	report = ask(tool, 1);
	assert_budget(&report, 1, leak->pid);
	rewrite(path, "budget = 0\n");
	kill(tool->pid, SIGHUP);
	await_says(tool, text);
	report = ask(tool, 2);
	assert_budget(&report, 0, leak->pid);
	rewrite(path, "budget = 2\n");
	kill(tool->pid, SIGHUP);
	sleep_ms(10000 * slowness());
	report = ask(tool, 3);
	assert_budget(&report, 2, leak->pid);
	kill(tool->pid, SIGTERM);
	child__await_code(tool, 0);
	free(text);
	free(path);
}

/* ---- suppressions ---- */

/* One of two that leak is known; for scripts, too. */
static void test_suppressed(void **state)
{
	struct container *known, *other;
	struct child *leaks[2], *tool, *passes;
	char *path, *text;
	struct report report;

	(void)state;
	known = container__start("known.service", &container_opts);
	other = container__start("other.service", &container_opts);
	leaks[0] = container__leaker(known, ARGS("grower", "leak", LEAK_KIB_S));
	leaks[1] = container__leaker(other, ARGS("grower", "leak", LEAK_KIB_S));
	child__poke(leaks[0]);
	child__poke(leaks[1]);
	text = format("cgroup = %s\ncgroup = %s\nsuppress = service:known.*\n", known->cgroup,
		      other->cgroup);
	path = write_config(text);
	tool = tool__start(ARGS("--config", path, "--once", "-d", "32s", "-f", "json",
				"--fail-over", "100M", "--budget", "0"),
			   NULL);
	passes = tool__start(ARGS("--config", path, "--once", "-d", "32s", "--fail-over", "100M",
				  "--budget", "0", "--suppress", "comm:grow*"),
			     NULL);
	child__await_code(tool, 3);
	child__await_code(passes, 0);
	report = sweep__read_reports(tool);
	if (sweep__row(report.root, leaks[0]->pid) || !sweep__row(report.root, leaks[1]->pid))
		fail_msg("not only %d is told: %s", (int)leaks[1]->pid,
			 json_object_to_json_string(report.root));
	assert_int_equal(json_object_get_int(field(field(report.root, "suppressed"), "rows")), 1);
	free(text);
	text = child__stdout(passes);
	if (!strstr(text, "2 that grow are suppressed"))
		fail_msg("not two: %s", text);
	free(text);
	free(path);
}

/* ---- the unit ---- */

#define UNIT "src/install/leaksweep.service"

/*
 * What systemd makes of the unit, as far as it can be had without: file systems that are read-only
 * but for the cache, no network, no kernel symbols, and its capabilities.
 */
static const char confine[] =
	"set -e\n"
	"mount --bind \"$XDG_CACHE_HOME\" \"$XDG_CACHE_HOME\"\n"
	"mount -o remount,bind,ro /\n"
	"mount --bind /proc/sys /proc/sys\n"
	"mount -o remount,bind,ro /proc/sys\n"
	"mount -o remount,bind,ro /sys\n"
	"mount --bind /dev/null /proc/kallsyms\n"
	"exec setpriv --no-new-privs --inh-caps=-all --bounding-set=\"-all$CAPS\" -- \"$@\"\n";

/* Returns the unit's capabilities in setpriv(1)'s words, ",+bpf,+kill", owned by the caller. */
static char *unit_caps(void)
{
	char *path = realpath(UNIT, NULL), *line = NULL, *caps = format("%s", ""), *more;
	size_t cap = 0;
	FILE *file;

	if (!path)
		fail_msg("%s is not here: run it from the top of the tree", UNIT);
	file = fopen(path, "re");
	assert_non_null(file);
	while (getline(&line, &cap, file) > 0) {
		char *at = line, *word;

		if (strncmp(line, "CapabilityBoundingSet=", 22))
			continue;
		for (at += 22; (word = strtok(at, " \n")); at = NULL) {
			assert_int_equal(strncmp(word, "CAP_", 4), 0);
			more = format("%s,+%s", caps, word + 4);
			free(caps);
			caps = more;
		}
	}
	fclose(file);
	free(line);
	free(path);
	for (char *at = caps; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	assert_true(strlen(caps) > 0);
	return caps;
}

static struct child *start_as_unit(const char *cgroup, const char *duration)
{
	char *words = unit_caps(), *caps = format("CAPS=%s", words);
	char *cache = format("XDG_CACHE_HOME=%s", scratch_dir()), *tool = tool_path();
	struct child *child;

	child = child__start(ARGS("/usr/bin/unshare", "--mount", "--net", "/bin/sh", "-c", confine,
				  "sh", tool, "sweep", "--config", "none", "--budget", "50",
				  "--cgroup", cgroup, "--once", "--duration", duration, "--format",
				  "json"),
			     &(struct child_opts){.env = ARGS(caps, cache)});
	free(words);
	free(tool);
	free(cache);
	free(caps);
	return child;
}

/* Returns the frame of a function in any of the stacks, or NULL. */
static struct json_object *frame_of(struct json_object *code, const char *function)
{
	struct json_object *sites = field(code, "sites");

	for (size_t i = 0; i < json_object_array_length(sites); i++) {
		struct json_object *frames = field(json_object_array_get_idx(sites, i), "frames");

		for (size_t j = 0; j < json_object_array_length(frames); j++) {
			struct json_object *frame = json_object_array_get_idx(frames, j);
			const char *name = text_of(frame, "function");

			if (name && !strcmp(name, function))
				return frame;
		}
	}
	return NULL;
}

/* What only kernels of some distributions want is kept on these. */
static void assert_least_capabilities(struct child *tool)
{
	char *set = process_status(tool->pid, "CapEff:");
	FILE *file = fopen("/proc/sys/kernel/perf_event_paranoid", "r");
	int level;

	assert_non_null(set);
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &level), 1);
	assert_int_equal(strtoull(set, NULL, 16) >> CAP_SYS_ADMIN & 1,
			 level > 2 || access("/sys/kernel/tracing/events", R_OK));
	fclose(file);
	free(set);
}

/* In a container, and its program deleted since: who grows, which code, with lines, and what of. */
static void test_unit(void **state)
{
	const struct container_opts opts = {.leakers = ARGS("service")};
	char *duration = format("%ds", 45 * slowness()), *path;
	struct container *container;
	struct child *leak, *tool;
	struct json_object *row, *code, *frame;
	struct report report;

	(void)state;
	if (access("/usr/bin/setpriv", X_OK) || access("/usr/bin/unshare", X_OK)) {
		print_message("skipped: setpriv or unshare is not here\n");
		skip();
	}
	container = container__start("unit.service", &opts);
	leak = container__leaker(container, ARGS("service", "--rate", "300", "leak", "10000000"));
	path = container__path(container, CONTAINER_LEAKERS "/service");
	assert_int_equal(unlink(path), 0);
	tool = start_as_unit(container->cgroup, duration);
	sleep_ms(20000 * slowness());
	assert_least_capabilities(tool);
	sleep_ms(20000 * slowness());
	child__await_code(tool, 0);
	report = sweep__read_reports(tool);
	row = sweep__row(report.root, leak->pid);
	code = row ? field(row, "code") : NULL;
	if (!code)
		fail_msg("no code is looked at: %s", json_object_to_json_string(report.root));
	assert_string_equal(text_of(row, "title"), "unit.service");
	assert_string_equal(text_of(code, "obstacle"), "");
	assert_non_null(field(code, "ledger"));
	frame = frame_of(code, "leak_block");
	if (!frame || !text_of(frame, "file") || !frame_of(code, "main"))
		fail_msg("no whole stack with a line: %s", json_object_to_json_string(code));
	free(path);
	free(duration);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_bad_file),	 CONTAINER_TEST(test_reread),
		E2E_TEST(test_hangup),		 CONTAINER_TEST(test_budget),
		CONTAINER_TEST(test_suppressed), CONTAINER_TEST(test_unit),
	};

	return harness__main("e2e sweep always", tests, sizeof(tests) / sizeof(tests[0]));
}
