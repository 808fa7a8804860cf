/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_CLI_SWEEP_H
#define LEAKSWEEP_CLI_SWEEP_H

/* The subcommand `sweep`. Returns the exit status: 0 ok, 1 failure, 2 usage, 3 something grew by
 * more than --fail-over an hour. */
int cmd_sweep(int argc, char **argv);

#endif
