/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/sweep.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/options.h"
#include "engine/sweep.h"
#include "unwind/loader.h"
#include "util/clock.h"
#include "util/message.h"
#include "util/units.h"

#define DEFAULT_INTERVAL_NS (30 * NS_PER_SEC)
#define DEFAULT_ONCE_NS (60 * NS_PER_SEC)
#define DEFAULT_TOP 10
#define DEFAULT_BUDGET 0.01

struct sweep_options {
	struct sweep_opts sweep;
	const char *format;
	char *cache_dir; /* owned */
	uint64_t top, fail_over;
	bool has_fail_over, no_color;
};

static int set_cgroup(void *target, const char *value, char **ret_message)
{
	struct sweep_options *options = target;

	if (!*value)
		return fail(ret_message, -EINVAL,
			    "--cgroup needs a path, as /proc/PID/cgroup shows it");
	return array_push(&options->sweep.cgroups, value);
}

static int set_fail_over(void *target, const char *value, char **ret_message)
{
	struct sweep_options *options = target;

	if (parse_size(value, &options->fail_over))
		return fail(ret_message, -EINVAL,
			    "--fail-over: '%s' is not a size: write 4096, 64K or 1.5MiB", value);
	options->has_fail_over = true;
	return 0;
}

static int set_budget(void *target, const char *value, char **ret_message)
{
	struct sweep_options *options = target;
	uint64_t millis;

	if (parse_percent(value, &millis))
		return fail(ret_message, -EINVAL,
			    "--budget: '%s' is not a part of a hundred: write 1, 0.5 or 5", value);
	options->sweep.suspects.budget = (double)millis / 1e5;
	return 0;
}

#define AT(member) offsetof(struct sweep_options, member)

static const struct option_spec specs[] = {
	{'i', "interval", OPT_DURATION, "TIME", AT(sweep.interval_ns),
	 "report at intervals (default 30s); the first report comes within 30s", NULL},
	{'d', "duration", OPT_DURATION, "TIME", AT(sweep.duration_ns),
	 "end after this time (default: until Ctrl-C; with --once 60s)", NULL},
	{0, "budget", OPT_CALL, "PERCENT", 0,
	 "of each CPU, for looking at the code of processes that grow (default 1; 0 = only tell "
	 "where new memory is first touched)",
	 set_budget},
	{0, "once", OPT_FLAG, NULL, AT(sweep.once), "one report, at the end", NULL},
	{0, "cgroup", OPT_CALL, "PATH", 0,
	 "watch only this cgroup and below; may be given several times", set_cgroup},
	{0, "fail-over", OPT_CALL, "BYTES", 0,
	 "exit with status 3 if at the end something grows by more than this an hour",
	 set_fail_over},
	{0, "top", OPT_COUNT, "N", AT(top),
	 "show N rows (default 10 in a table, all in JSON; 0 = all)", NULL},
	{'f', "format", OPT_STRING, "NAME", AT(format), SWEEP_REPORT_NAMES " (default: the first)",
	 NULL},
	{'o', "output", OPT_STRING, "FILE", AT(sweep.path), "write the report there, atomically",
	 NULL},
	{0, "no-color", OPT_FLAG, NULL, AT(no_color), "no colours on a terminal", NULL},
};

#define SPEC_CNT (sizeof(specs) / sizeof(specs[0]))

static void print_help(void)
{
	printf("usage: leaksweep [sweep] [OPTIONS]\n\n"
	       "Watches all processes of the host and tells whose memory grows: how fast, with "
	       "bounds, and when it will be at\n"
	       "its limit; and, within a budget, which code of theirs keeps the memory. Nobody is "
	       "stopped. SIGUSR1 prints a\nreport at once.\n\n");
	options__print(specs, SPEC_CNT);
}

static int parse(struct sweep_options *options, int argc, char **argv, char **ret_message)
{
	struct sweep_opts *sweep = &options->sweep;
	struct report_opts *screen = &sweep->render.screen;
	struct winsize size = {0};
	int rest = argc, err;

	err = options__parse(specs, SPEC_CNT, options, argc, argv, &rest, ret_message);
	if (err)
		return err;
	if (rest < argc)
		return fail(ret_message, -EINVAL,
			    "a sweep takes no arguments: what is '%s'? See `leaksweep --help`",
			    argv[rest]);
	if (!sweep->interval_ns)
		return fail(ret_message, -EINVAL, "--interval: it has to be more than 0");
	sweep->report = sweep_report__by_name(options->format ? options->format : "table");
	if (!sweep->report)
		return fail(ret_message, -EINVAL, "--format: '%s' is not one of %s",
			    options->format, SWEEP_REPORT_NAMES);
	if (options->top == UINT64_MAX)
		options->top = sweep->report == report_sweep_table ? DEFAULT_TOP : 0;
	if (sweep->once && !sweep->duration_ns)
		sweep->duration_ns = DEFAULT_ONCE_NS;
	sweep->render.top = options->top;
	sweep->fd = STDOUT_FILENO;
	if (!sweep->path && isatty(STDOUT_FILENO)) {
		screen->color = !options->no_color && !getenv("NO_COLOR");
		if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
			screen->columns = size.ws_col;
	}
	return 0;
}

/* Nothing was found, for nothing was looked at for long enough: that is no success. */
static int too_early(void)
{
	fprintf(stderr,
		"leaksweep: --fail-over: nothing is known yet of any process: a verdict takes "
		"about 30 s, use a longer --duration\n");
	return 1;
}

int cmd_sweep(int argc, char **argv)
{
	struct sweep_options options = {
		.sweep.interval_ns = DEFAULT_INTERVAL_NS,
		.sweep.suspects.budget = DEFAULT_BUDGET,
		.sweep.suspects.cache_bytes = DEFAULT_CACHE_BYTES,
		.top = UINT64_MAX,
	};
	struct sweep_result result = {0};
	char *message = NULL;
	int err, status;

	err = parse(&options, argc, argv, &message);
	if (err == 1) {
		print_help();
		status = 0;
	} else if (err) {
		fprintf(stderr, "leaksweep: %s\n", message ? message : strerror(-err));
		status = 2;
	} else {
		options.cache_dir = table_loader__default_dir();
		options.sweep.suspects.cache_dir = options.cache_dir;
		err = sweep__run(&options.sweep, &result);
		status = err ? 1 : 0;
		if (err)
			fprintf(stderr, "leaksweep: %s\n",
				result.message ? result.message : strerror(-err));
		else if (options.has_fail_over && result.is_too_early)
			status = too_early();
		else if (options.has_fail_over && result.fastest_lower > (double)options.fail_over)
			status = 3;
	}
	free(message);
	free(result.message);
	free(options.cache_dir);
	array_free(&options.sweep.cgroups);
	return status;
}
