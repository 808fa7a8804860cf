/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of the interpreter a process's program defines itself. A program that is linked against
 * libpython may have copies of its data (R_X86_64_COPY): then these are in use and the library's
 * own are not.
 */
#ifndef LEAKSWEEP_PYTHON_EXE_PLACES_H
#define LEAKSWEEP_PYTHON_EXE_PLACES_H

#include <stdint.h>
#include <sys/types.h>

struct exe_places {
	uint64_t runtime, code_type; /* addresses of _PyRuntime and PyCode_Type; 0 = not defined */
};

/*
 * Fills in what the program exports; whatever cannot be told stays as it is. Returns 0, or
 * -ETIMEDOUT: its file system does not answer, or that cannot be found out now.
 */
int exe_places__read(pid_t pid, struct exe_places *ret);

#endif
