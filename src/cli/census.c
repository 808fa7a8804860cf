/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/census.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/options.h"
#include "engine/report_file.h"
#include "util/clock.h"
#include "util/elf_image.h"
#include "util/message.h"
#include "util/procfs.h"

#define DEFAULT_DIFF_NS (10 * NS_PER_SEC)
#define DEFAULT_TOP 20
#define START_TRIES 20 /* of a tenth of a second each: until an interpreter is up */

struct census_options {
	const char *pid_text, *format, *sort_text, *path;
	uint64_t interval_ns, top;
	bool diff;
	pid_t pid;
	enum census_sort sort;
	int (*render)(const struct census_view *view, FILE *out);
};

#define AT(member) offsetof(struct census_options, member)

static const struct option_spec specs[] = {
	{'p', "pid", OPT_STRING, "PID", AT(pid_text), "the process to look at", NULL},
	{'i', "interval", OPT_DURATION, "TIME", AT(interval_ns),
	 "look again and again, with what changed, until it ends or Ctrl-C", NULL},
	{0, "diff", OPT_FLAG, NULL, AT(diff),
	 "look twice, --interval apart (default 10s), and show what changed", NULL},
	{0, "top", OPT_COUNT, "N", AT(top),
	 "show N types (default 20 in a table, all elsewhere; 0 = all)", NULL},
	{0, "sort", OPT_STRING, "KEY", AT(sort_text),
	 "bytes (default), count or growth (default of --diff)", NULL},
	{'f', "format", OPT_STRING, "NAME", AT(format), "table (default) or json", NULL},
	{'o', "output", OPT_STRING, "FILE", AT(path), "write it there, atomically", NULL},
};

#define SPEC_CNT (sizeof(specs) / sizeof(specs[0]))

static void print_help(void)
{
	printf("usage: leaksweep census -p PID [OPTIONS]\n\n"
	       "Counts the living objects of a Python process by type, with the bytes that they "
	       "occupy. The process is\n"
	       "read from outside, neither stopped nor changed.\n\n");
	options__print(specs, SPEC_CNT);
}

static int parse_pid(struct census_options *options, char **ret_message)
{
	char *end;
	long pid;

	if (!options->pid_text)
		return fail(ret_message, -EINVAL, "which process? Name it with -p PID");
	errno = 0;
	pid = strtol(options->pid_text, &end, 10);
	if (end == options->pid_text || *end || errno || pid <= 0 || pid > INT_MAX)
		return fail(ret_message, -EINVAL, "--pid: '%s' is not the number of a process",
			    options->pid_text);
	options->pid = (pid_t)pid;
	return 0;
}

static int parse_choices(struct census_options *options, bool has_interval, char **ret_message)
{
	const char *sort = options->sort_text;

	if (!options->format || !strcmp(options->format, "table"))
		options->render = census_table;
	else if (!strcmp(options->format, "json"))
		options->render = census_json;
	else
		return fail(ret_message, -EINVAL, "--format: '%s' is not table or json",
			    options->format);
	if (has_interval && !options->interval_ns)
		return fail(ret_message, -EINVAL, "--interval: it has to be more than 0");
	if (!has_interval)
		options->interval_ns = options->diff ? DEFAULT_DIFF_NS : 0;
	if (!sort)
		options->sort = options->diff ? CENSUS_BY_GROWTH : CENSUS_BY_BYTES;
	else if (!strcmp(sort, "bytes"))
		options->sort = CENSUS_BY_BYTES;
	else if (!strcmp(sort, "count"))
		options->sort = CENSUS_BY_COUNT;
	else if (strcmp(sort, "growth"))
		return fail(ret_message, -EINVAL, "--sort: '%s' is not bytes, count or growth",
			    sort);
	else if (!options->interval_ns)
		return fail(ret_message, -EINVAL,
			    "--sort growth needs two moments: add --diff or --interval TIME");
	else
		options->sort = CENSUS_BY_GROWTH;
	if (options->top == UINT64_MAX)
		options->top = options->render == census_table ? DEFAULT_TOP : 0;
	return 0;
}

static int parse(struct census_options *options, int argc, char **argv, char **ret_message)
{
	int rest = argc, err;

	options->interval_ns = UINT64_MAX;
	options->top = UINT64_MAX;
	err = options__parse(specs, SPEC_CNT, options, argc, argv, &rest, ret_message);
	if (err)
		return err;
	if (rest < argc)
		return fail(ret_message, -EINVAL,
			    "census takes no arguments: what is '%s'? Name a process with -p PID",
			    argv[rest]);
	err = parse_pid(options, ret_message);
	if (!err)
		err = parse_choices(options, options->interval_ns != UINT64_MAX, ret_message);
	return err ? err : report_file__check_option(options->path, ret_message);
}

/* ---- the process ----------------------------------------------------------------------------- */

struct subject {
	struct proc_info info;
	struct python_build build;
	struct python_process process;
	bool has_build;
};

static int find_bias(int fd, const struct proc_map *map, uint64_t *ret_bias)
{
	struct elf_image image;
	uint64_t vaddr = 0;
	int err;

	err = elf_image__open(&image, fd, EM_NONE);
	if (err)
		return err;
	if (!elf_segments__vaddr(&image.segments, map->off, &vaddr))
		err = -ENOENT;
	elf_image__close(&image);
	*ret_bias = map->start - vaddr;
	return err;
}

/* Finds the interpreter among the files that the process maps. Returns 0, -ENOENT or an errno. */
static int find_build(pid_t pid, struct python_build *ret_build, uint64_t *ret_bias)
{
	struct proc_maps maps = {0};
	int err, fd;

	err = proc_maps__read(pid, &maps);
	if (err)
		return err;
	err = -ENOENT;
	for (size_t i = 0; err == -ENOENT && i < maps.maps.cnt; i++) {
		const struct proc_map *map = &maps.maps.items[i];

		if (!map->executable || !map->ino)
			continue;
		fd = proc_map__open(pid, map);
		if (fd < 0)
			continue;
		err = python_build__read(fd, ret_build);
		if (!err) {
			err = find_bias(fd, map, ret_bias);
			if (err)
				python_build__free(ret_build);
		}
		close(fd);
		if (err && err != -ENOMEM)
			err = -ENOENT;
	}
	proc_maps__free(&maps);
	return err;
}

static int explain(const struct census_options *options, const struct subject *subject, int err,
		   char *reason, char **ret_message)
{
	const pid_t pid = options->pid;

	switch (err) {
	case -ESRCH:
		fail(ret_message, err, "there is no process %d", pid);
		break;
	case -EPERM:
	case -EACCES:
		if (geteuid())
			fail(ret_message, err,
			     "process %d may not be looked at: run leaksweep as root", pid);
		else
			fail(ret_message, err,
			     "process %d may not be looked at: the kernel refuses it even to this "
			     "root (ptrace(2), access mode checking)",
			     pid);
		break;
	case -ENOENT:
		fail(ret_message, err,
		     "process %d (%s) is no Python: none of its files holds an "
		     "interpreter",
		     pid, subject->info.comm);
		break;
	case -EAGAIN:
		fail(ret_message, err, "the interpreter of process %d is not up yet: try again",
		     pid);
		break;
	case -ETIMEDOUT:
		fail(ret_message, err,
		     "the file system of the program of process %d does not answer", pid);
		break;
	case -ENOTSUP:
		fail(ret_message, err, "process %d (%s) cannot be counted: %s", pid,
		     subject->info.comm, reason ? reason : "this Python is not known");
		break;
	default:
		fail(ret_message, err, "cannot look at process %d: %s", pid, strerror(-err));
	}
	free(reason);
	return err;
}

/* Looks at the process anew: it may have become another program. */
static int open_subject(const struct census_options *options, struct subject *subject,
			char **ret_message)
{
	const struct timespec pause = {.tv_nsec = 100 * (long)NS_PER_MS};
	char *reason = NULL;
	uint64_t bias;
	int err;

	err = proc_info__read(options->pid, &subject->info);
	if (!err && subject->info.zombie)
		err = -ESRCH;
	if (!err)
		err = find_build(options->pid, &subject->build, &bias);
	/* Who may not read where memory is mapped sees no maps: that is no answer. */
	if (err == -ENOENT && geteuid())
		err = -EPERM;
	if (err)
		return explain(options, subject, err, NULL, ret_message);
	subject->has_build = true;
	for (int i = 0; i < START_TRIES; i++) {
		err = python_process__check(options->pid, bias, &subject->build, &subject->process,
					    &reason);
		if (err != -EAGAIN)
			break;
		nanosleep(&pause, NULL);
	}
	return err ? explain(options, subject, err, reason, ret_message) : 0;
}

static void close_subject(struct subject *subject)
{
	if (subject->has_build)
		python_build__free(&subject->build);
	subject->has_build = false;
}

/* ---- running --------------------------------------------------------------------------------- */

struct moment {
	struct census census;
	uint64_t at_ns; /* CLOCK_MONOTONIC */
};

static int show(const struct census_options *options, const struct subject *subject,
		const struct moment *now, const struct moment *last)
{
	struct census_view view = {
		.pid = options->pid,
		.comm = subject->info.comm,
		.version = subject->build.version_text,
		.census = &now->census,
		.has_changes = last,
		.taken_at_ns = clock_ns(CLOCK_REALTIME),
		.since_ns = last ? now->at_ns - last->at_ns : 0,
	};
	struct report_file *file;
	int err;

	err = census_lines(&now->census, last ? &last->census : NULL, options->diff, options->sort,
			   &view.lines, &view.line_cnt);
	if (err)
		return err;
	view.shown_cnt =
		options->top && options->top < view.line_cnt ? options->top : view.line_cnt;
	err = report_file__open(options->path, STDOUT_FILENO, &file);
	if (!err)
		err = report_file__finish(file, options->render(&view, report_file__stream(file)));
	free(view.lines);
	return err;
}

/* Takes a census; *ret_ended: the process that the first one was of (start_ns) is gone. */
static int take(const struct census_options *options, struct subject *subject, uint64_t start_ns,
		struct moment *ret, bool *ret_ended, char **ret_message)
{
	int err;

	close_subject(subject);
	err = open_subject(options, subject, ret_message);
	*ret_ended = start_ns && (err == -ESRCH || subject->info.start_ns != start_ns);
	if (err || *ret_ended)
		return *ret_ended ? 0 : err;
	ret->at_ns = clock_ns(CLOCK_MONOTONIC);
	err = census__take(&subject->process, &ret->census);
	*ret_ended = err == -ESRCH && start_ns;
	if (err && !*ret_ended)
		explain(options, subject, err, NULL, ret_message);
	return *ret_ended ? 0 : err;
}

static void wait_for(uint64_t ns)
{
	struct timespec left = {
		.tv_sec = (time_t)(ns / NS_PER_SEC),
		.tv_nsec = (long)(ns % NS_PER_SEC),
	};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

static int run(const struct census_options *options, char **ret_message)
{
	struct moment now = {0}, last = {0};
	struct subject subject = {0};
	uint64_t start_ns = 0;
	bool ended = false;
	int err;

	for (unsigned int nr = 0;; nr++) {
		err = take(options, &subject, start_ns, &now, &ended, ret_message);
		if (err)
			break;
		if (ended) {
			fprintf(stderr, "leaksweep: process %d has ended\n", options->pid);
			break;
		}
		start_ns = subject.info.start_ns;
		if (!options->diff || nr) {
			err = show(options, &subject, &now, nr ? &last : NULL);
			if (err)
				fail(ret_message, err, "cannot write the census: %s",
				     strerror(-err));
		}
		census__free(&last.census);
		last = now;
		now = (struct moment){0};
		if (err || !options->interval_ns || (options->diff && nr))
			break;
		wait_for(options->interval_ns);
	}
	/* Two moments were asked for, and there was one. */
	if (!err && ended && options->diff)
		err = fail(ret_message, -ESRCH, "there is nothing to compare");
	census__free(&last.census);
	close_subject(&subject);
	return err;
}

int cmd_census(int argc, char **argv)
{
	struct census_options options = {0};
	char *message = NULL;
	int err, status;

	err = parse(&options, argc, argv, &message);
	if (err == 1) {
		print_help();
		return 0;
	}
	if (err) {
		status = 2;
	} else {
		err = run(&options, &message);
		status = err ? 1 : 0;
	}
	if (err)
		fprintf(stderr, "leaksweep: %s\n", message ? message : strerror(-err));
	free(message);
	return status;
}
