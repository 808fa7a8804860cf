/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A living Python process, looked at from outside and never stopped. What the layout promises is
 * checked against it before anything is believed.
 */
#ifndef LEAKSWEEP_PYTHON_PROCESS_H
#define LEAKSWEEP_PYTHON_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "include/python.h"
#include "python/build.h"
#include "python/layout.h"

struct python_process {
	pid_t pid;
	uint64_t bias;	  /* + vaddr = address */
	uint64_t runtime; /* address of _PyRuntime */
	struct python_layout layout;
	struct python_proc frames; /* complete, for the kernel side */
};

/*
 * Checks a process that maps the build with load bias `bias`: the pthread key was made and leads
 * to a thread state in the interpreter's list, frames lead to code objects with readable names.
 * Returns 0, -EAGAIN (the interpreter is not initialised yet, try later), -ETIMEDOUT (the file
 * system of its program does not answer, try later), -ENOTSUP (does not hold: *ret_reason is an
 * owned sentence why), -ESRCH, -ENOMEM or another negative errno.
 * `is_musl` is told by the caller's knowledge of the process's libc.
 */
int python_process__check(pid_t pid, uint64_t bias, const struct python_build *build,
			  struct python_process *ret, char **ret_reason);

#endif
