/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts of allocations made inside a process by somebody else than the tool, to compare the tool's
 * report with: libcount.so  (tests/leakers/count_preload.c) in the very same run as the tool: every
 * number must be equal; heaptrack    in the same run, too; valgrind     in a run of its own, for
 * programs that always do the same.
 */
#ifndef LEAKSWEEP_TESTS_INSIDE_H
#define LEAKSWEEP_TESTS_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/harness.h"

/* Returns the full path of a program; fails with the name of the Debian package when it is not
 * there. Owned by the caller. */
char *need_program(const char *name, const char *package);

/* ---- libcount.so --------------------------------------------------------------------------- */

struct counted {
	char *path;
	char *env[3]; /* LD_PRELOAD and COUNT_FILE, for the tool and all that it starts */
};

/* Makes an empty count file. Freed by counted__free. */
struct counted counted__begin(void);
void counted__free(struct counted *counted);

/*
 * Fails unless the report and the count file tell the same, number for number, of every process
 * (layer malloc), and the report has lost nothing. Prints a line for each process. Returns how many
 * processes were compared.
 */
size_t counted__check(const struct counted *counted, const struct report *report, const char *what);

/* Returns how many allocations the parent of this forked process had made before it forked. */
int64_t counted__before_fork(const struct counted *counted, int pid);

/* Returns what the process did, and holds, with what it inherited. */
struct tally counted__of(const struct counted *counted, int pid);

/* Waits until a process of this name has allocated; returns the PID of the first. */
int counted__await(const struct counted *counted, const char *name);

/* Fails unless the counters of class LOSS (include/stats.h) are all zero. */
void assert_no_loss(const struct report *report, const char *what);

/* ---- valgrind ------------------------------------------------------------------------------ */

struct valgrind_count {
	int pid;
	char name[16];	    /* of the program, as comm has it */
	struct tally tally; /* a forked child's has its parent's numbers before the fork in it */
};

struct valgrind_run {
	struct valgrind_count items[64];
	size_t cnt;
};

/*
 * Starts a command under valgrind; children are counted, too. `dir` receives the logs.
 * Needs `env` as it shall be for the command without valgrind; NULL-terminated.
 */
struct child *valgrind__start(const char *const *argv, const char *const *env, const char *dir);

/* Reads the logs in `dir`. */
struct valgrind_run valgrind__read(const char *dir);
const struct valgrind_count *valgrind__find(const struct valgrind_run *run, const char *name);

/*
 * Returns `env` and with it as many and as long variables as valgrind adds to a program's
 * environment: programs copy it, so that their bytes depend on it. Freed by env__free.
 */
char **valgrind__env(const char *const *env);
void env__free(char **env);

/* ---- heaptrack ----------------------------------------------------------------------------- */

/* Counts what a recording (DUMP_HEAPTRACK_OUTPUT) has of allocations and frees; live and free bytes
 * are left zero. */
struct tally heaptrack__read(const char *path);

/* ---- reports ------------------------------------------------------------------------------- */

/* Sums layer malloc of the processes of this name; *ret_pid (may be NULL) is the last one's. Fails
 * when there is none. */
struct tally report__named(const struct report *report, const char *name, int *ret_pid);

/* ---- whole runs ---------------------------------------------------------------------------- */

/* Runs a program to its end, which must be a good one. argv[0] is a path, `env` is added to ours.
 */
void program__run(const char *const *argv, const char *const *env);

/* Starts `trace -o OUT -- ARGV`; its end, which must be a good one, and the report; both at once.
 */
struct child *traced__start(const char *const *argv, const char *const *env, const char *out);
struct report traced__end(struct child *tool, const char *out);
struct report traced__run(const char *const *argv, const char *const *env);

/* Returns both lists in one; freed by the caller, the strings stay whose they are. */
const char **join_lists(const char *const *a, char *const *b);

/* The tool and libcount.so watch one run: fails unless all is equal, or when there were fewer
 * processes. */
void check_counted(const char *what, const char *const *argv, const char *const *env,
		   size_t min_procs);

/* How much a program itself may do differently from run to run: so many blocks, all of one size,
 * never freed. */
struct freedom {
	const char *name;
	int64_t bytes;
	int64_t max_cnt;
};

/*
 * A run under valgrind, and one traced by the tool with nothing in the process: fails unless all is
 * equal but for `freedom` (may be NULL). Only for programs that run no code of their own between
 * fork and exec.
 */
void check_beside_valgrind(const char *what, const char *const *argv, const char *const *env,
			   const struct freedom *freedom);

/*
 * The tool and heaptrack watch one run: fails unless allocations, their bytes and frees are equal,
 * but for what heaptrack allocates itself and leaves out: an exception that is thrown in it.
 */
void check_beside_heaptrack(const char *what, const char *const *argv, const char *const *env);

void print_count(const char *what, const char *name, const char *by, const struct tally *tally);

#endif
