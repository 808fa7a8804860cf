/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the threads of a process have their stacks: /proc/PID/task/TID/syscall (proc(5)). */
#ifndef LEAKSWEEP_ENGINE_RESIDENT_STACKS_H
#define LEAKSWEEP_ENGINE_RESIDENT_STACKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/array.h"

/* Zero-initialise to begin; they are read when they are first asked for. */
struct stack_pointers {
	ARRAY(uint64_t) list; /* sorted */
	bool was_read;
};

/*
 * Parses the text of such a file. Returns 0 and the stack pointer, or -ENOENT: the thread runs, or
 * it is no such text.
 */
int stack_pointer__parse(const char *text, uint64_t *ret);

/* Whether a thread that sleeps has its stack pointer in [start, end). */
bool stack_pointers__any(struct stack_pointers *stacks, pid_t pid, uint64_t start, uint64_t end);
void stack_pointers__free(struct stack_pointers *stacks);

#endif
