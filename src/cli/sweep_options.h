/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of a sweep, from its config file and the command line, which wins. */
#ifndef LEAKSWEEP_CLI_SWEEP_OPTIONS_H
#define LEAKSWEEP_CLI_SWEEP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/sweep.h"
#include "model/suppress.h"

#define SWEEP_CONFIG "/etc/leaksweep/sweep.conf" /* read when it is there */

struct sweep_options {
	struct sweep_opts sweep; /* refers to what follows, and to argv */
	const char *config;	 /* path of the file that was read, NULL = none */
	uint64_t fail_over;
	bool has_fail_over;
	/* what is left is for sweep_options.c */
	char *text;			  /* owned, of the file */
	struct suppressions suppressions; /* owned */
	const char *format;
	uint64_t top;
	bool no_color;
	bool in_file;	      /* what is set now is of the file */
	bool has_own_cgroups; /* of the command line */
};

/*
 * Reads all of them. `argv` is borrowed, argv[0] is the subcommand; `ret` may be read again, but
 * not be copied. Returns 0, 1 (help was asked for) or a negative errno with an owned sentence;
 * `ret` is to be freed in any case.
 */
int sweep_options__read(struct sweep_options *ret, int argc, char **argv, char **ret_message);
void sweep_options__free(struct sweep_options *options);

void sweep_options__print_help(void);

#endif
