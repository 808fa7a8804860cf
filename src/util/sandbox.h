/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a job on hostile input (ELF, DWARF, mangled names) in a child that can do no harm: no
 * descriptors but the named ones, nobody's identity, no new privileges, no core file, limits of CPU
 * time and memory; it dies with its parent. What it writes to its output is all that comes back.
 */
#ifndef LEAKSWEEP_UTIL_SANDBOX_H
#define LEAKSWEEP_UTIL_SANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sandbox_limits {
	uint64_t cpu_ns;       /* of the whole job */
	uint64_t memory_bytes; /* that it may add */
	uint64_t output_bytes;
};

struct sandbox {
	pid_t pid;
	int output_fd;	   /* an anonymous file */
	uint64_t until_ns; /* so long it is waited for (CLOCK_MONOTONIC), UINT64_MAX = for ever */
};

/*
 * Starts the job; it ends when the function returns 0 (success) or another value. `keep_fds` stay
 * open in the child under their numbers, and so does `output_fd`. Returns 0 or a negative errno.
 */
int sandbox__start(int (*job)(void *arg, int output_fd), void *arg, const int *keep_fds,
		   size_t keep_cnt, const struct sandbox_limits *limits, struct sandbox *ret);

/*
 * Waits for the end. Returns 0, -ETIME (out of time; who cannot even be killed is left behind),
 * -EPIPE (crashed, out of memory, or the job failed) or another negative errno. The output,
 * complete or not, stays readable in sandbox->output_fd until sandbox__close.
 */
int sandbox__wait(struct sandbox *sandbox);

/*
 * For jobs whose output is either a file or, where there is none, one int: a negative errno. No
 * such file has the size of an int.
 *
 * sandbox__answer_error makes `err` the whole output, to which the job has written nothing yet;
 * for use in the job, which returns the result. Returns 0 or a negative errno.
 */
int sandbox__answer_error(int output_fd, int err);

/*
 * Reads that error from the output of a job that has ended. Returns 0 (it is no error: the caller
 * reads it), the error, -EPIPE (of its size, but not a negative errno) or the negative errno of
 * looking at the output. Nothing is believed: the job may have been taken over by its input.
 */
int sandbox__answered_error(int output_fd);

/* Kills it if it still runs, without waiting for more than a second; closes the output. */
void sandbox__close(struct sandbox *sandbox);

#endif
