/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options as data: one table for parsing, for --help and for what a value must look like. */
#ifndef LEAKSWEEP_CLI_OPTIONS_H
#define LEAKSWEEP_CLI_OPTIONS_H

#include <stddef.h>

enum option_type {
	OPT_FLAG,     /* bool */
	OPT_SIZE,     /* uint64_t, bytes */
	OPT_DURATION, /* uint64_t, nanoseconds */
	OPT_COUNT,    /* uint64_t */
	OPT_STRING,   /* const char *, borrowed from argv, or from whoever sets it */
	OPT_CALL,     /* handled by `call`, may be repeated */
};

struct option_spec {
	char short_name; /* 0 = none */
	const char *name;
	enum option_type type;
	const char *value; /* what to call the value in --help, NULL for flags */
	size_t offset;	   /* of the target in the options struct, unless OPT_CALL */
	const char *help;
	/* OPT_CALL: returns 0, or -EINVAL with an owned sentence in *ret_message. */
	int (*call)(void *target, const char *value, char **ret_message);
};

/*
 * Parses argv[1 ...] into `target`; argv[0] is the subcommand. *ret_rest is the index of the first
 * argument that is no option (after "--" if there is one). Returns 0, 1 when help was asked for, or
 * -EINVAL with an owned sentence in *ret_message; a `call` may fail with other errors.
 */
int options__parse(const struct option_spec *specs, size_t cnt, void *target, int argc, char **argv,
		   int *ret_rest, char **ret_message);

/*
 * Sets one option by its long name, as a line of a file gives it: a flag has no value, "yes" or
 * "no"; the value is borrowed like one of argv. Errors as of options__parse.
 */
int options__set(const struct option_spec *specs, size_t cnt, void *target, const char *name,
		 const char *value, char **ret_message);

/* Prints the table as help text. */
void options__print(const struct option_spec *specs, size_t cnt);

#endif
