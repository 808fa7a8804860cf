/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/sweep.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sweep_options.h"
#include "unwind/loader.h"
#include "util/message.h"
#include "util/privilege.h"
#include "util/signals.h"

/* Options that are read again take the place of the others when they are in force. */
struct command {
	int argc;
	char **argv;
	char *cache_dir; /* owned */
	struct sweep_options slots[2];
	struct sweep_options *options; /* the slot that is in force */
};

static void say(const char *message, int err)
{
	fprintf(stderr, "leaksweep: %s\n", message ? message : strerror(-err));
}

/* What is wrong with the new options leaves the old ones in force. */
static void reread(struct command *command, struct sweeper *sweeper)
{
	struct sweep_options *options = &command->slots[command->options == command->slots];
	const char *path = command->options->config;
	char *message = NULL;
	int err;

	err = sweep_options__read(options, command->argc, command->argv, &message);
	if (!err && !options->config)
		err = fail(&message, -ENOENT, "%s is not there any more", path);
	options->sweep.suspects.cache_dir = command->cache_dir;
	if (!err)
		err = sweeper__change(sweeper, &options->sweep, &message);
	if (err) {
		fprintf(stderr, "leaksweep: %s; the sweep goes on as before\n",
			message ? message : strerror(-err));
		sweep_options__free(options);
	} else {
		fprintf(stderr, "leaksweep: %s is read again\n", path);
		sweep_options__free(command->options);
		command->options = options;
	}
	free(message);
}

/* Nothing was found, for nothing was looked at for long enough: that is no success. */
static int too_early(void)
{
	fprintf(stderr,
		"leaksweep: --fail-over: nothing is known yet of any process: a verdict takes "
		"about 30 s, use a longer --duration\n");
	return 1;
}

static int status_of(const struct sweep_options *options, const struct sweep_result *result)
{
	if (!options->has_fail_over)
		return 0;
	if (result->is_too_early)
		return too_early();
	return result->fastest_lower > (double)options->fail_over ? 3 : 0;
}

static int run(struct command *command)
{
	struct sweep_result result = {0};
	struct sweeper *sweeper = NULL;
	int err;

	command->options->sweep.suspects.cache_dir = command->cache_dir;
	err = sweeper__new(&command->options->sweep, &sweeper, &result.message);
	if (!err)
		while ((err = sweeper__run(sweeper, &result)) > 0)
			reread(command, sweeper);
	if (err)
		say(result.message, err);
	sweeper__free(sweeper);
	free(result.message);
	return err ? 1 : status_of(command->options, &result);
}

/* They come as soon as the sweep waits for them: a reload of what has just been started ends
 * nothing. */
static void hold_requests(void)
{
	sigset_t requests;

	end_signals(&requests);
	sigdelset(&requests, SIGINT);
	sigdelset(&requests, SIGTERM);
	sigaddset(&requests, SIGUSR1);
	sigprocmask(SIG_BLOCK, &requests, NULL);
}

static void give_up_privileges(void)
{
	int err = 0;

	if (!perf_wants_sys_admin() && !tracefs_wants_sys_admin())
		err = capability__drop(CAP_SYS_ADMIN);
	if (err)
		fprintf(stderr, "leaksweep: CAP_SYS_ADMIN is kept: %s\n", strerror(-err));
}

int cmd_sweep(int argc, char **argv)
{
	struct command command = {.argc = argc, .argv = argv};
	char *message = NULL;
	int err, status = 0;

	hold_requests();
	give_up_privileges();
	command.options = &command.slots[0];
	err = sweep_options__read(command.options, argc, argv, &message);
	if (err == 1) {
		sweep_options__print_help();
	} else if (err) {
		say(message, err);
		status = 2;
	} else {
		command.cache_dir = table_loader__default_dir();
		status = run(&command);
	}
	free(message);
	sweep_options__free(command.options);
	free(command.cache_dir);
	return status;
}
