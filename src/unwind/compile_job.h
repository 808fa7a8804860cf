/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compiles one table in a confined child. */
#ifndef LEAKSWEEP_UNWIND_COMPILE_JOB_H
#define LEAKSWEEP_UNWIND_COMPILE_JOB_H

#include <stddef.h>

#include "unwind/table.h"
#include "util/sandbox.h"

/* As unwind_table__compile. */
typedef int (*table_compiler)(int fd, struct unwind_table *ret);

struct compile_job {
	table_compiler compile;
	int fd;	    /* of the file; closed with the job */
	int pid_fd; /* readable when the child has ended; -1 = not to be had */
	struct sandbox sandbox;
};

/* 20 s of CPU time, 2 GiB of memory. */
extern const struct sandbox_limits compile_job_limits;

/*
 * Starts the job in *ret, which must stay where it is. Returns 0 or a negative errno; `fd` is the
 * job's in any case.
 */
int compile_job__start(struct compile_job *ret, table_compiler compile, int fd,
		       const struct sandbox_limits *limits);

/* Waits until one of the jobs, at least one, has ended or is out of time. Returns its index. */
size_t compile_job__wait_any(struct compile_job *const *jobs, size_t cnt);

/*
 * Ends the job. Returns 0 with a table that unwind_table__is_valid accepts, what the compiler
 * returned, -ETIME, or -EPIPE (the child died, or what it said cannot be).
 */
int compile_job__finish(struct compile_job *job, struct unwind_table *ret);

#endif
