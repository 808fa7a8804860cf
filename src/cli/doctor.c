/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/doctor.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "util/message.h"

struct doctor_options {
	bool verbose;
	const char *format;
	int (*render)(const struct diagnosis *diagnosis, FILE *out);
};

static const struct option_spec specs[] = {
	{'v', "verbose", OPT_FLAG, NULL, offsetof(struct doctor_options, verbose),
	 "list every function that would be probed, and where", NULL},
	{'f', "format", OPT_STRING, "NAME", offsetof(struct doctor_options, format),
	 "table (default) or json", NULL},
};

#define SPEC_CNT (sizeof(specs) / sizeof(specs[0]))

static void print_help(void)
{
	printf("usage: leaksweep doctor [OPTIONS]\n\n"
	       "Tells what this host allows, what a probe costs here, which allocators its "
	       "processes use and how each\n"
	       "would be probed. Ends with status 0 when tracing works here, 1 when it does "
	       "not.\n\n");
	options__print(specs, SPEC_CNT);
}

static int parse(struct doctor_options *options, int argc, char **argv, char **ret_message)
{
	int rest = argc, err;

	err = options__parse(specs, SPEC_CNT, options, argc, argv, &rest, ret_message);
	if (err)
		return err;
	if (rest < argc)
		return fail(ret_message, -EINVAL, "doctor takes no arguments: what is '%s'?",
			    argv[rest]);
	if (!options->format || !strcmp(options->format, "table"))
		options->render = doctor_table;
	else if (!strcmp(options->format, "json"))
		options->render = doctor_json;
	else
		return fail(ret_message, -EINVAL, "--format: '%s' is not table or json",
			    options->format);
	return 0;
}

/* Returns an owned sentence or NULL. */
static char *summarize(const struct host_check *check, const struct host_allocs *allocs)
{
	const struct host_fact *blocker = host_check__blocker(check);
	size_t lost = allocs->unfollowed.cnt;
	char *text = NULL, *limits = NULL, *processes = NULL;

	if (blocker) {
		if (asprintf(&text, "Tracing does not work here (%s): %s%s%s.", blocker->name,
			     blocker->found, blocker->effect ? "; " : "",
			     blocker->effect ? blocker->effect : "") < 0)
			text = NULL;
		return text;
	}
	if (asprintf(&limits, ", with %zu limit%s (see above)", check->limit_cnt,
		     check->limit_cnt == 1 ? "" : "s") < 0)
		return NULL;
	if (asprintf(&processes, "; %zu of %zu processes cannot be followed", lost,
		     allocs->proc_cnt) < 0)
		processes = NULL;
	if (processes && asprintf(&text, "Tracing works here%s%s.", check->limit_cnt ? limits : "",
				  lost ? processes : "") < 0)
		text = NULL;
	free(limits);
	free(processes);
	return text;
}

static int diagnose(const struct doctor_options *options, bool *ret_can_trace, char **ret_message)
{
	struct host_allocs allocs = {0};
	struct host_check check = {0};
	struct diagnosis diagnosis = {
		.check = &check, .allocs = &allocs, .verbose = options->verbose};
	char *summary = NULL;
	int err;

	err = host_check__run(&check);
	if (!err)
		err = host_allocs__scan(&allocs);
	if (err) {
		fail(ret_message, err, "cannot look at this host: %s", strerror(-err));
		goto cleanup;
	}
	*ret_can_trace = check.can_trace;
	summary = summarize(&check, &allocs);
	diagnosis.summary = summary;
	err = summary ? options->render(&diagnosis, stdout) : -ENOMEM;
	if (err)
		fail(ret_message, err, "cannot write what was found: %s", strerror(-err));
cleanup:
	free(summary);
	host_allocs__free(&allocs);
	host_check__free(&check);
	return err;
}

int cmd_doctor(int argc, char **argv)
{
	struct doctor_options options = {0};
	bool can_trace = false;
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
		err = diagnose(&options, &can_trace, &message);
		status = err || !can_trace ? 1 : 0;
	}
	if (err)
		fprintf(stderr, "leaksweep: %s\n", message ? message : strerror(-err));
	free(message);
	return status;
}
