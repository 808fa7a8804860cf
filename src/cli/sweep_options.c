/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/sweep_options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/config.h"
#include "cli/options.h"
#include "unwind/loader.h"
#include "util/clock.h"
#include "util/message.h"
#include "util/units.h"

#define DEFAULT_INTERVAL_NS (30 * NS_PER_SEC)
#define DEFAULT_ONCE_NS (60 * NS_PER_SEC)
#define DEFAULT_TOP 10
#define DEFAULT_BUDGET 0.01

/* ---- single options ---- */

/* Groups of the command line stand in the place of those of the file. */
static int set_cgroup(void *target, const char *value, char **ret_message)
{
	struct sweep_options *options = target;

	if (!*value)
		return fail(ret_message, -EINVAL,
			    "--cgroup needs a path, as /proc/PID/cgroup shows it");
	if (!options->in_file && !options->has_own_cgroups) {
		options->has_own_cgroups = true;
		options->sweep.cgroups.cnt = 0;
	}
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

static int set_config(void *target, const char *value, char **ret_message)
{
	struct sweep_options *options = target;

	if (options->in_file)
		return fail(ret_message, -EINVAL, "--config is for the command line");
	options->config = value;
	return 0;
}

static int add_suppression(void *target, const char *value, char **ret_message)
{
	struct sweep_options *options = target;
	int err = suppressions__add(&options->suppressions, value);

	switch (err) {
	case -EINVAL:
		return fail(ret_message, err, "--suppress: '%s' is no pattern", value);
	case -E2BIG:
		return fail(ret_message, -EINVAL,
			    "--suppress: a pattern has %d characters at most: '%.32s...' has more",
			    MAX_SUPPRESSION_LEN, value);
	case -ENOSPC:
		return fail(ret_message, -EINVAL, "--suppress: there are more than %d patterns",
			    MAX_SUPPRESSIONS);
	}
	return err;
}

static int add_suppressions(void *target, const char *value, char **ret_message)
{
	char *text = NULL, *at, *line, *why = NULL;
	unsigned int line_nr = 0;
	int err;

	err = config__read(value, &text, ret_message);
	if (err)
		return err;
	at = text;
	while (!err && (line = config__line(&at, &line_nr)))
		err = add_suppression(target, line, &why);
	if (err && why)
		fail(ret_message, err, "%s:%u: %s", value, line_nr, why);
	free(why);
	free(text);
	return err;
}

/* ---- all of them ---- */

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
	{0, "suppress", OPT_CALL, "PATTERN", 0,
	 "do not tell stacks with such a function, file or module, or comm:, cgroup:, service:NAME;"
	 " * and ? match",
	 add_suppression},
	{0, "suppressions", OPT_CALL, "FILE", 0, "the same for each line of a file",
	 add_suppressions},
	{0, "top", OPT_COUNT, "N", AT(top),
	 "show N rows (default 10 in a table, all in JSON; 0 = all)", NULL},
	{'f', "format", OPT_STRING, "NAME", AT(format), SWEEP_REPORT_NAMES " (default: the first)",
	 NULL},
	{'o', "output", OPT_STRING, "FILE", AT(sweep.path), "write the report there, atomically",
	 NULL},
	{0, "no-color", OPT_FLAG, NULL, AT(no_color), "no colours on a terminal", NULL},
	{0, "config", OPT_CALL, "FILE", 0,
	 "read options from it first, again at SIGHUP (default " SWEEP_CONFIG
	 ", if it is there; none = no file)",
	 set_config},
};

#define SPEC_CNT (sizeof(specs) / sizeof(specs[0]))

void sweep_options__print_help(void)
{
	printf("usage: leaksweep [sweep] [OPTIONS]\n\n"
	       "Watches all processes of the host and tells whose memory grows: how fast, with "
	       "bounds, and when it will be at\n"
	       "its limit; and, within a budget, which code of theirs keeps the memory. Nobody is "
	       "stopped. SIGUSR1 prints a\nreport at once.\n\n");
	options__print(specs, SPEC_CNT);
}

static void begin(struct sweep_options *options)
{
	*options = (struct sweep_options){
		.sweep.interval_ns = DEFAULT_INTERVAL_NS,
		.sweep.suspects.budget = DEFAULT_BUDGET,
		.sweep.suspects.cache_bytes = DEFAULT_CACHE_BYTES,
		.sweep.suppressions = &options->suppressions,
		.sweep.fd = STDOUT_FILENO,
		.top = UINT64_MAX,
	};
}

static int read_argv(struct sweep_options *options, int argc, char **argv, char **ret_message)
{
	int rest = argc, err;

	err = options__parse(specs, SPEC_CNT, options, argc, argv, &rest, ret_message);
	if (!err && rest < argc)
		return fail(ret_message, -EINVAL,
			    "a sweep takes no arguments: what is '%s'? See `leaksweep --help`",
			    argv[rest]);
	return err;
}

/* Returns the path of the file to be read, NULL = there is none. */
static const char *config_path(const struct sweep_options *options)
{
	if (options->config)
		return strcmp(options->config, "none") ? options->config : NULL;
	return !access(SWEEP_CONFIG, F_OK) || errno != ENOENT ? SWEEP_CONFIG : NULL;
}

static int read_file(struct sweep_options *options, const char *path, char **ret_message)
{
	int err;

	err = config__read(path, &options->text, ret_message);
	if (err)
		return err;
	options->in_file = true;
	err = config__set(specs, SPEC_CNT, options, path, options->text, ret_message);
	options->in_file = false;
	return err;
}

static void set_screen(struct sweep_options *options)
{
	struct report_opts *screen = &options->sweep.render.screen;
	struct winsize size = {0};

	if (options->sweep.path || !isatty(STDOUT_FILENO))
		return;
	screen->color = !options->no_color && !getenv("NO_COLOR");
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		screen->columns = size.ws_col;
}

/* Checks what was set, and sets what follows from it. */
static int finish(struct sweep_options *options, char **ret_message)
{
	struct sweep_opts *sweep = &options->sweep;

	if (!sweep->interval_ns)
		return fail(ret_message, -EINVAL, "--interval: it has to be more than 0");
	sweep->report = sweep_report__by_name(options->format ? options->format : "table");
	if (!sweep->report)
		return fail(ret_message, -EINVAL, "--format: '%s' is not one of %s",
			    options->format, SWEEP_REPORT_NAMES);
	sweep->render.top = options->top;
	if (options->top == UINT64_MAX)
		sweep->render.top = sweep->report == report_sweep_table ? DEFAULT_TOP : 0;
	if (sweep->once && !sweep->duration_ns)
		sweep->duration_ns = DEFAULT_ONCE_NS;
	set_screen(options);
	return 0;
}

int sweep_options__read(struct sweep_options *ret, int argc, char **argv, char **ret_message)
{
	const char *path;
	bool is_asked;
	int err;

	begin(ret);
	err = read_argv(ret, argc, argv, ret_message);
	if (err)
		return err;
	path = config_path(ret);
	is_asked = ret->config != NULL;
	if (path) {
		sweep_options__free(ret);
		begin(ret);
		err = read_file(ret, path, ret_message);
		if (!err)
			err = read_argv(ret, argc, argv, ret_message);
	}
	ret->config = path;
	/* A hang-up of the terminal that it was started from ends it, unless it was told better. */
	ret->sweep.rereads = path && (is_asked || !isatty(STDIN_FILENO));
	return err ? err : finish(ret, ret_message);
}

void sweep_options__free(struct sweep_options *options)
{
	array_free(&options->sweep.cgroups);
	suppressions__free(&options->suppressions);
	free(options->text);
	options->text = NULL;
}
