/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/trace.h"

#include <errno.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "attach/table_memory.h"
#include "cli/alloc_fn_option.h"
#include "cli/options.h"
#include "engine/capture.h"
#include "model/group.h"
#include "unwind/loader.h"
#include "util/message.h"
#include "util/units.h"

#define MIN_RING_BYTES 4096
#define MAX_RING_BYTES (1 << 30)

struct trace_options {
	struct capture_opts capture;
	struct user_alloc_fns user_fns;
	const char *cache_dir, *format, *sort, *group_by, *tree, *scope, *probe_mode;
	uint64_t memory, top, max_blocks, max_stacks, max_procs, ring_bytes, fail_over;
	char *default_cache_dir; /* owned */
	bool has_fail_over, quiet, no_color;
};

static int set_pids(void *target, const char *value, char **ret_message)
{
	struct trace_options *options = target;
	const char *at = value;
	char *end;
	long pid;

	for (;;) {
		errno = 0;
		pid = strtol(at, &end, 10);
		if (end == at || errno || pid <= 0 || pid > INT_MAX || (*end && *end != ','))
			return fail(ret_message, -EINVAL,
				    "--pid: '%s' is not a list of process numbers: write 1234 or "
				    "1234,5678",
				    value);
		if (array_push(&options->capture.pids, (pid_t)pid))
			return -ENOMEM;
		if (!*end)
			return 0;
		at = end + 1;
	}
}

static int set_comm(void *target, const char *value, char **ret_message)
{
	struct trace_options *options = target;

	if (!*value)
		return fail(ret_message, -EINVAL,
			    "--comm needs a name, as `ps -e -o comm` shows it");
	return array_push(&options->capture.comms, value);
}

static int set_cgroup(void *target, const char *value, char **ret_message)
{
	struct trace_options *options = target;

	if (!*value)
		return fail(ret_message, -EINVAL,
			    "--cgroup needs a path, as /proc/PID/cgroup shows it");
	return array_push(&options->capture.cgroups, value);
}

static int set_container(void *target, const char *value, char **ret_message)
{
	struct trace_options *options = target;

	if (!*value)
		return fail(ret_message, -EINVAL,
			    "--container needs a name, or at least 8 digits of an id");
	return array_push(&options->capture.containers, value);
}

static int set_fail_over(void *target, const char *value, char **ret_message)
{
	struct trace_options *options = target;

	if (parse_size(value, &options->fail_over))
		return fail(ret_message, -EINVAL,
			    "--fail-over: '%s' is not a size: write 4096, 64K or 1.5MiB", value);
	options->has_fail_over = true;
	return 0;
}

static int set_interval(void *target, const char *value, char **ret_message)
{
	struct trace_options *options = target;

	if (parse_duration(value, &options->capture.interval_ns) || !options->capture.interval_ns)
		return fail(ret_message, -EINVAL,
			    "--interval: '%s' is not a duration above 0: write 500ms, 10s or 2m",
			    value);
	return 0;
}

static int add_alloc_fn(void *target, const char *value, char **ret_message)
{
	return user_alloc_fns__add_alloc(&((struct trace_options *)target)->user_fns, value,
					 ret_message);
}

static int add_free_fn(void *target, const char *value, char **ret_message)
{
	return user_alloc_fns__add_free(&((struct trace_options *)target)->user_fns, value,
					ret_message);
}

#define AT(member) offsetof(struct trace_options, member)

static const struct option_spec specs[] = {
	{'p', "pid", OPT_CALL, "PID[,PID]", 0, "trace these processes and their children",
	 set_pids},
	{0, "comm", OPT_CALL, "NAME", 0, "trace all processes of this name, now and later",
	 set_comm},
	{0, "cgroup", OPT_CALL, "PATH", 0, "trace all processes of this cgroup and below",
	 set_cgroup},
	{0, "container", OPT_CALL, "NAME|ID", 0,
	 "trace all processes of this container (name, id, pod or unit), now and later",
	 set_container},
	{'a', "all", OPT_FLAG, NULL, AT(capture.all), "trace every process of the host", NULL},
	{'d', "duration", OPT_DURATION, "TIME", AT(capture.duration_ns), "end after this time",
	 NULL},
	{'i', "interval", OPT_CALL, "TIME", 0, "report at intervals too, with differences",
	 set_interval},
	{'f', "format", OPT_STRING, "NAME", AT(format), REPORT_NAMES " (default: the first)", NULL},
	{'o', "output", OPT_STRING, "FILE", AT(capture.publish.path),
	 "write the report there, atomically", NULL},
	{0, "top", OPT_COUNT, "N", AT(top),
	 "show N rows (default 10 in a table, tree or source file, all elsewhere; 0 = all)", NULL},
	{0, "sort", OPT_STRING, "KEY", AT(sort), "bytes (default), count or growth", NULL},
	{0, "group-by", OPT_STRING, "KEY", AT(group_by),
	 "stack (default), function, line, file, type (of Python objects), process, cgroup, "
	 "container (else service, cgroup) or service",
	 NULL},
	{0, "all-frames", OPT_FLAG, NULL, AT(capture.publish.profile.all_frames),
	 "show the calls inside allocators and runtimes too", NULL},
	{0, "annotate", OPT_STRING, "FILE", AT(capture.publish.render.annotate),
	 "show this source file (a path, or its end: app/cache.py) with what each line holds; "
	 "--top "
	 "0 = whole files",
	 NULL},
	{0, "tree", OPT_STRING, "FROM", AT(tree),
	 "of --format tree: leaf (default), callers below what allocates, or root, from main down",
	 NULL},
	{0, "python-frees", OPT_FLAG, NULL, AT(capture.python.frees),
	 "follow each Python object to its end (a command's always are), not only who is alive at "
	 "the report",
	 NULL},
	{0, "until-exit", OPT_FLAG, NULL, AT(capture.python.until_exit),
	 "of a Python that ends: what is live at its exit, not when its interpreter begins to "
	 "finalize",
	 NULL},
	{0, "no-python-objects", OPT_FLAG, NULL, AT(capture.python.no_objects),
	 "leave Python's object allocator alone; stacks keep their Python frames", NULL},
	{0, "min-age", OPT_DURATION, "TIME", AT(capture.min_age_ns),
	 "only blocks at least this old", NULL},
	{0, "min-size", OPT_SIZE, "BYTES", AT(capture.attach.min_size),
	 "only blocks at least this big", NULL},
	{0, "max-size", OPT_SIZE, "BYTES", AT(capture.attach.max_size),
	 "only blocks at most this big", NULL},
	{0, "sample-bytes", OPT_SIZE, "BYTES", AT(capture.attach.sample_bytes),
	 "record one block in BYTES on average and scale up (default 0: every one)", NULL},
	{0, "fail-over", OPT_CALL, "BYTES", 0,
	 "exit with status 3 if more than this is outstanding", set_fail_over},
	{0, "alloc-fn", OPT_CALL, "NAME:size=N", 0,
	 "an allocator of your own; also count=N, old=N (realloc), out=N", add_alloc_fn},
	{0, "free-fn", OPT_CALL, "NAME[:old=N]", 0, "and its free function", add_free_fn},
	{0, "alloc-prefix", OPT_STRING, "PREFIX", AT(capture.elf.prefix),
	 "of a prefixed build, as in je_malloc: je_", NULL},
	{0, "scope", OPT_STRING, "WHERE", AT(scope),
	 "host (default): children are followed from their first instruction, other users of the "
	 "same library pay a "
	 "trap; process: only the targets pay",
	 NULL},
	{0, "memory", OPT_SIZE, "BYTES", AT(memory),
	 "that leaksweep takes at most, in the kernel's tables and itself: makes each table "
	 "smaller or larger (default 1450M)",
	 NULL},
	{0, "max-blocks", OPT_COUNT, "N", AT(max_blocks), "room for live blocks (default 2097152)",
	 NULL},
	{0, "max-stacks", OPT_COUNT, "N", AT(max_stacks),
	 "room for distinct stacks (default 65536)", NULL},
	{0, "max-procs", OPT_COUNT, "N", AT(max_procs), "room for processes (default 32768)", NULL},
	{0, "ring-size", OPT_SIZE, "BYTES", AT(ring_bytes), "of the event buffer (default 8M)",
	 NULL},
	{0, "unwind-memory", OPT_SIZE, "BYTES", AT(capture.unwind.memory_bytes),
	 "room for unwind tables in the kernel (default 128M)", NULL},
	{0, "cache-dir", OPT_STRING, "DIR", AT(cache_dir),
	 "where unwind tables are kept between runs (default /var/cache/leaksweep; none = nowhere)",
	 NULL},
	{0, "probe-mode", OPT_STRING, "MODE", AT(probe_mode),
	 "session, multi or perf instead of the best there is", NULL},
	{0, "no-color", OPT_FLAG, NULL, AT(no_color), "no colours on a terminal", NULL},
	{'q', "quiet", OPT_FLAG, NULL, AT(quiet), "no lines about what is going on", NULL},
};

#define SPEC_CNT (sizeof(specs) / sizeof(specs[0]))

static void print_help(void)
{
	printf("usage: leaksweep trace -p PID | --comm NAME | --cgroup PATH | --container NAME | "
	       "-a | -- COMMAND [ARGS]\n\n"
	       "Records every allocation and every free of the targets until the time is over, "
	       "they end, or Ctrl-C,\n"
	       "and reports what is still outstanding, by stack.\n\n");
	options__print(specs, SPEC_CNT);
}

/* Finds `value` in a NULL-terminated list; the first entry is the default. */
static int choose(const char *option, const char *value, const char *const *names, int *ret,
		  char **ret_message)
{
	*ret = 0;
	if (!value)
		return 0;
	for (int i = 0; names[i]; i++) {
		if (strcmp(names[i], value))
			continue;
		*ret = i;
		return 0;
	}
	return fail(ret_message, -EINVAL,
		    "--%s: '%s' is not known here: see `leaksweep trace --help`", option, value);
}

static int check_limits(struct trace_options *options, char **ret_message)
{
	struct attacher_opts *attach = &options->capture.attach;
	uint64_t ring = MIN_RING_BYTES;

	if (attach->max_size && attach->min_size > attach->max_size)
		return fail(ret_message, -EINVAL,
			    "--min-size is greater than --max-size: no block can be both");
	if (!options->max_blocks || options->max_blocks > 1U << 28 || !options->max_stacks ||
	    options->max_stacks > 1U << 24 || !options->max_procs || options->max_procs > 1U << 22)
		return fail(ret_message, -EINVAL,
			    "--max-blocks, --max-stacks and --max-procs take 1 to 268435456, "
			    "16777216 and 4194304");
	if (attach->sample_bytes > 1ULL << 40)
		return fail(ret_message, -EINVAL, "--sample-bytes is at most 1 TiB");
	while (ring < options->ring_bytes && ring < MAX_RING_BYTES)
		ring *= 2;
	attach->max_blocks = options->max_blocks;
	attach->max_stacks = options->max_stacks;
	attach->max_procs = options->max_procs;
	attach->ring_bytes = ring;
	if (options->memory &&
	    table_memory__fit(options->memory, attach, &options->capture.unwind.memory_bytes))
		return fail(ret_message, -EINVAL,
			    "--memory: it takes 140M at least, more with a larger --ring-size");
	return 0;
}

/* Finds the renderer; two of them are about lines of source, however rows are grouped. */
static int choose_report(struct trace_options *options, char **ret_message)
{
	const char *format = options->format ? options->format : options->tree ? "tree" : "table";
	struct publish_opts *publish = &options->capture.publish;
	const char *annotate = publish->render.annotate;

	publish->report = annotate ? report_annotate : report__by_name(format);
	if (!publish->report)
		return fail(ret_message, -EINVAL, "--format: '%s' is not one of %s", format,
			    report__names());
	if (annotate && !*annotate)
		return fail(ret_message, -EINVAL,
			    "--annotate needs the path of a source file, or the end of one");
	if (annotate && (options->format || options->tree || options->group_by))
		return fail(ret_message, -EINVAL,
			    "--annotate is a report of its own: leave out --format, --tree and "
			    "--group-by");
	if (publish->report != report_lines)
		return 0;
	if (group__is_cgroups(publish->profile.group))
		return 0;
	if (options->group_by && publish->profile.group != GROUP_LINE)
		return fail(ret_message, -EINVAL,
			    "--format lines is grouped by line, and by cgroup, container or "
			    "service if you like: leave out this --group-by");
	publish->profile.group = GROUP_LINE;
	return 0;
}

static int check_choices(struct trace_options *options, char **ret_message)
{
	static const char *const sorts[] = {"bytes", "count", "growth", NULL};
	static const char *const groups[] = {
		[GROUP_STACK] = "stack",     [GROUP_FUNCTION] = "function",
		[GROUP_PROCESS] = "process", [GROUP_CGROUP] = "cgroup",
		[GROUP_LINE] = "line",	     [GROUP_FILE] = "file",
		[GROUP_TYPE] = "type",	     [GROUP_CONTAINER] = "container",
		[GROUP_SERVICE] = "service", [GROUP_SERVICE + 1] = NULL,
	};
	static const char *const trees[] = {"leaf", "root", NULL};
	static const char *const scopes[] = {"host", "process", NULL};
	static const char *const modes[] = {"auto", "perf", "multi", "session", NULL};
	struct capture_opts *capture = &options->capture;
	int sort, group, tree, scope, mode;

	if (choose("sort", options->sort, sorts, &sort, ret_message) ||
	    choose("group-by", options->group_by, groups, &group, ret_message) ||
	    choose("tree", options->tree, trees, &tree, ret_message) ||
	    choose("scope", options->scope, scopes, &scope, ret_message) ||
	    choose("probe-mode", options->probe_mode, modes, &mode, ret_message))
		return -EINVAL;
	capture->publish.profile.sort = sort;
	capture->publish.profile.group = group;
	capture->publish.render.root_first = tree;
	capture->per_process = scope;
	capture->attach.mode = mode;
	return choose_report(options, ret_message);
}

static int check_targets(struct trace_options *options, int rest, int argc, char **argv,
			 char **ret_message)
{
	struct capture_opts *capture = &options->capture;
	bool named = capture->pids.cnt || capture->comms.cnt || capture->cgroups.cnt ||
		     capture->containers.cnt || capture->all;

	if (rest < argc && strcmp(argv[rest - 1], "--"))
		return fail(ret_message, -EINVAL,
			    "'%s' is no option: put -- before a command to start", argv[rest]);
	if (rest < argc && named)
		return fail(ret_message, -EINVAL,
			    "name running processes or a command to start, not both");
	if (rest < argc)
		capture->command = &argv[rest];
	else if (!named)
		return fail(ret_message, -EINVAL,
			    "nothing to trace: name it with -p PID, --comm NAME, --cgroup PATH, "
			    "--container NAME, -a, or -- COMMAND");
	/* When a command ends nobody can look at its pools any more. */
	capture->python.frees |= capture->command != NULL;
	capture->attach.object_frees = capture->python.frees;
	capture->python.per_process = capture->per_process;
	capture->attach.watch_cgroups = capture->cgroups.cnt || capture->containers.cnt;
	capture->attach.watch_execs =
		capture->comms.cnt || capture->all || capture->attach.watch_cgroups;
	capture->attach.trace_all = capture->all;
	capture->attach.share_tables = capture->pids.cnt > 1 || capture->comms.cnt ||
				       capture->all || capture->attach.watch_cgroups;
	capture->elf.user_fns = options->user_fns.fns.items;
	capture->elf.user_fn_cnt = options->user_fns.fns.cnt;
	return 0;
}

/* Whether the user's locale has the characters that trees are drawn with. */
static bool is_utf8_locale(void)
{
	locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	bool is_utf8;

	if (!locale)
		return false;
	is_utf8 = !strcmp(nl_langinfo_l(CODESET, locale), "UTF-8");
	freelocale(locale);
	return is_utf8;
}

/* An empty name or "none" means no cache. */
static void choose_cache(struct trace_options *options)
{
	const char *dir = options->cache_dir;

	if (!dir)
		dir = options->default_cache_dir = table_loader__default_dir();
	options->capture.unwind.cache_dir = dir && *dir && strcmp(dir, "none") ? dir : NULL;
	options->capture.unwind.cache_bytes = DEFAULT_CACHE_BYTES;
	options->capture.python.cache_dir = options->capture.unwind.cache_dir;
}

static void choose_rendering(struct trace_options *options)
{
	struct publish_opts *publish = &options->capture.publish;
	bool is_screen = publish->report == report_table || publish->report == report_tree ||
			 publish->report == report_annotate;
	struct winsize size = {0};

	publish->profile.top = options->top == UINT64_MAX ? (is_screen ? 10 : 0) : options->top;
	if (!publish->path && isatty(STDOUT_FILENO)) {
		publish->render.color = !options->no_color && !getenv("NO_COLOR");
		if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
			publish->render.columns = size.ws_col;
	}
	publish->render.ascii = !is_utf8_locale();
	publish->fd = STDOUT_FILENO;
	options->capture.status = options->quiet ? NULL : stderr;
}

static int parse(struct trace_options *options, int argc, char **argv, char **ret_message)
{
	int rest = argc, err;

	err = options__parse(specs, SPEC_CNT, options, argc, argv, &rest, ret_message);
	if (!err)
		err = check_limits(options, ret_message);
	if (!err)
		err = check_choices(options, ret_message);
	if (!err)
		err = check_targets(options, rest, argc, argv, ret_message);
	if (!err) {
		choose_cache(options);
		choose_rendering(options);
	}
	return err;
}

int cmd_trace(int argc, char **argv)
{
	struct trace_options options = {
		.top = UINT64_MAX,
		.max_blocks = DEFAULT_BLOCKS,
		.max_stacks = DEFAULT_STACKS,
		.max_procs = DEFAULT_PROCS,
		.ring_bytes = DEFAULT_RING_BYTES,
		.capture.unwind.memory_bytes = DEFAULT_UNWIND_BYTES,
	};
	struct capture_result result = {0};
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
		err = capture__run(&options.capture, &result);
		status = err ? 1 : 0;
		if (err)
			fprintf(stderr, "leaksweep: %s\n",
				result.message ? result.message : strerror(-err));
		/* So much was reported, however it ended. */
		if (options.has_fail_over && result.live_bytes > (int64_t)options.fail_over)
			status = 3;
	}
	free(message);
	free(result.message);
	free(options.default_cache_dir);
	array_free(&options.capture.pids);
	array_free(&options.capture.comms);
	array_free(&options.capture.cgroups);
	array_free(&options.capture.containers);
	user_alloc_fns__free(&options.user_fns);
	return status;
}
