/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text files that configure the tool, one thing a line. Lines may be empty; a '#' at the beginning
 * of a line or behind a blank begins a comment.
 */
#ifndef LEAKSWEEP_CLI_CONFIG_H
#define LEAKSWEEP_CLI_CONFIG_H

#include <stddef.h>

#include "cli/options.h"

#define MAX_CONFIG_BYTES (64 << 10)

/*
 * Reads such a file: a regular one that only root may write, of MAX_CONFIG_BYTES at most, and text.
 * *ret_text is owned. Returns 0 or a negative errno with an owned sentence.
 */
int config__read(const char *path, char **ret_text, char **ret_message);

/*
 * Returns the next line that is not empty, without blanks around it and without its comment; NULL
 * = there is none. The text is cut into its lines meanwhile. *at begins as the text, *line_nr as 0,
 * and becomes the number of the returned line.
 */
char *config__line(char **at, unsigned int *line_nr);

/*
 * Sets options from a text of lines "name value" or "name = value". Values are borrowed from the
 * text. `path` is for sentences. Returns 0, -EINVAL with an owned sentence that tells file and
 * line, or another error of a `call`.
 */
int config__set(const struct option_spec *specs, size_t cnt, void *target, const char *path,
		char *text, char **ret_message);

#endif
