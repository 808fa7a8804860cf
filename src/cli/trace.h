/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_CLI_TRACE_H
#define LEAKSWEEP_CLI_TRACE_H

/* The subcommand `trace`. Returns the exit status: 0 ok, 1 failure, 2 usage, 3 leaks over
 * --fail-over. */
int cmd_trace(int argc, char **argv);

#endif
