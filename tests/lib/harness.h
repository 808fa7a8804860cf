/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * End-to-end tests drive the real tool on real processes: start a leaker, trace it, compare the
 * report with the ground truth that the leaker prints. Every function here ends the running test
 * (cmocka's fail) when the world does not do what it should, so that tests read as what is special
 * about them.
 *
 * The tool is $OUTPUT/leaksweep, the leakers are in $OUTPUT/leakers (OUTPUT defaults to "build").
 */
#ifndef LEAKSWEEP_TESTS_HARNESS_H
#define LEAKSWEEP_TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <cmocka.h>
#include <json-c/json.h>

#define TIMEOUT_MS (60000 * patience()) /* for what takes moments */
#define LONG_MS (300000 * patience())	/* for millions of calls on a slow machine */

/* Argument lists: ARGS("alloc", "malloc"). NO_ARGS is empty. */
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_ARGS ((const char *const[]){NULL})

/* A test that cleans up after itself however it ends. */
#define E2E_TEST(f) cmocka_unit_test_teardown(f, harness__teardown)

/* ---- processes
 * ------------------------------------------------------------------------------------------- */

struct child {
	pid_t pid;
	int in_fd;	    /* write end of its stdin, -1 = closed */
	int out_fd, err_fd; /* files that its stdout and stderr go to */
	bool reaped;
	int status; /* as wait(2) gives it, once reaped */
};

struct child_opts {
	const char *const *env; /* NAME=VALUE, added to ours; NULL = none */
	const char *out_path;	/* stdout goes to this file or device instead */
	const char *root; /* chroot to it, in a mount namespace of its own where it is a private
			     tmpfs */
	uid_t uid;	  /* 0 = stay root */
};

/* Starts argv[0] (a path). `opts` may be NULL. The child dies with the test program. Freed by
 * teardown. */
struct child *child__start(const char *const *argv, const struct child_opts *opts);

/* Starts leaker args[0] of the leaker folder with the arguments after it and waits until it says
 * READY. */
struct child *leaker__start(const char *const *args, const struct child_opts *opts);

/* Starts the tool with `args`. */
struct child *tool__start(const char *const *args, const struct child_opts *opts);

/* Waits until the tool says that all probes are in place. */
void tool__await_tracing(struct child *tool);

/* Writes a newline to the child: go, or let go. */
void child__poke(struct child *child);

/* Waits for the exit and returns the status of wait(2). */
int child__await_exit(struct child *child, int timeout_ms);

/* Waits for the exit, soon, with this code. */
void child__await_code(struct child *child, int code);

/* Returns everything it has written so far, owned by the caller. */
char *child__stdout(const struct child *child);
char *child__stderr(const struct child *child);

/* Waits until a line that starts with `prefix` is complete; returns the line without newline, owned
 * by the caller. */
char *child__await_line(struct child *child, int fd, const char *prefix, int timeout_ms);

/* Lets a leaker that is DONE end, which it must do with exit code 0. */
void leaker__finish(struct child *leaker);

/* Sends SIGINT, waits for exit code 0. */
void tool__stop(struct child *tool);

/* Full path of a leaker (or other built file), owned by the caller. */
char *leaker_path(const char *name);
char *tool_path(void);

/* Makes an empty folder that teardown removes with the files in it. Owned by the harness. */
const char *scratch_dir(void);

/* Returns an owned string. */
char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Returns what /proc/PID/status says of "KEY:", owned by the caller, NULL = the process has gone. */
char *process_status(pid_t pid, const char *key);

/* Copies a file with its mode; makes no folders. */
void copy_file(const char *from, const char *to);

void sleep_ms(int ms);

/* A factor on everything that is waited for, of the environment's TEST_PATIENCE: an emulated
 * machine is some ten times slower. */
int patience(void);

/* A factor on what is always waited, such as how long the tool watches: patience, but 4 at most. */
int slowness(void);

/* Kills what is left of the test, removes its files. */
int harness__teardown(void **state);

/* ---- truth and reports
 * ----------------------------------------------------------------------------------- */

struct tally {
	int64_t live_bytes, live_count;
	int64_t alloc_bytes, alloc_count;
	int64_t free_bytes, free_count;
};

void add_tally(struct tally *sum, struct tally item);

/* Returns a member of a JSON object, borrowed; NULL when it is null or not there. */
struct json_object *field(struct json_object *object, const char *name);
const char *text_of(struct json_object *object, const char *name);

/* Reads the six members that are named like a tally's; each must be there. */
struct tally read_tally(struct json_object *object);

/* The EXPECT lines of a leaker: one JSON object for each process. */
struct expects {
	struct json_object *items; /* array, owned by the harness */
	size_t cnt;
};

/* A tool's JSON output: one document, or several one after another with --interval. */
struct report {
	struct json_object *docs; /* array, owned by the harness */
	struct json_object *root; /* the last one */
	size_t cnt;
};

/* Reads the EXPECT lines that a leaker has printed. */
struct expects expects__read(struct child *leaker);
struct json_object *expects__of(const struct expects *expects, int index);
int expect__pid(struct json_object *expect);
struct tally expect__totals(struct json_object *expect);
struct tally expect__function(struct json_object *expect, const char *kind, const char *name);

/* Returns what a sweep has written so far, as JSON documents. */
struct report sweep__read_reports(const struct child *tool);

/* Waits until it has written so many, whole. */
void sweep__await_reports(const struct child *tool, size_t cnt);

/* Parses a report; there must be at least one document and nothing else. */
struct report report__parse(const char *text);
struct report report__read_file(const char *path);

/* Waits until the report in a file is one of two intervals later than the first that is there. */
struct report report__await_file(const char *path);

/*
 * Sums the rows of a process (0 = all) in a layer (NULL = all) whose frame 0 is `leaf`, whatever
 * is inlined there, or, with `anywhere`, that have it in any frame. NULL leaf = all rows.
 */
struct tally report__sum(const struct report *report, int pid, const char *layer, const char *leaf);
struct tally report__sum_anywhere(const struct report *report, int pid, const char *layer,
				  const char *function);

/* Sums rows whose frame 0 has `part` in its name. */
struct tally report__sum_like(const struct report *report, int pid, const char *layer,
			      const char *part);

/* Returns a counter of "loss" (or another number at the top, section NULL). */
int64_t report__loss(const struct report *report, const char *name);
int64_t report__number(const struct report *report, const char *section, const char *name);

/* Returns the entry of a process in "processes", or NULL. */
struct json_object *report__process(const struct report *report, int pid);
size_t report__stack_cnt(const struct report *report);

/* Returns the row of a process in a sweep's document, or NULL: it is not told as growing. */
struct json_object *sweep__row(struct json_object *doc, int pid);

/* Returns a member that has to be there. */
double number_in(struct json_object *object, const char *name);

/* Fails unless all six numbers are equal; says which are not, and what the report says it lost. */
void assert_tally(const struct report *report, const char *what, struct tally got,
		  struct tally want);

/* Fails unless live bytes and counts are equal. */
void assert_live(const struct report *report, const char *what, struct tally got,
		 struct tally want);

/*
 * Fails unless the report says of a process exactly what its EXPECT line says: the totals of layer
 * malloc, each function as frame 0; live bytes of each "mmap" function in layer mmap.
 */
void assert_expect(const struct report *report, struct json_object *expect);

/* The same for functions only: for processes in which libraries allocate as well. */
void assert_expect_functions(const struct report *report, struct json_object *expect);

/* Fails unless in every row and in the totals alloc + inherited = live + free. */
void assert_ledger(const struct report *report);

/* ---- whole runs
 * ------------------------------------------------------------------------------------------ */

struct run {
	struct child *leaker, *tool;
	struct expects expects;
	struct report report;
};

/*
 * Starts a leaker, traces it (`trace -p PID --format json --top 0` and tool_args), lets it go,
 * waits until it is DONE, ends the trace, reads the report and the truth, and lets the leaker end.
 * Checks the ledger. Times out after LONG_MS.
 */
struct run run__trace(const char *const *leaker_args, const char *const *tool_args,
		      const struct child_opts *opts);

/* The first half of it: traced, not yet let go. The tool's arguments end with the target. */
struct run run__begin(const char *const *leaker_args, const char *const *tool_args,
		      const struct child_opts *opts);
void run__go(struct run *run);
void run__end(struct run *run);

/* `trace -o FILE -- LEAKER ARGS now`: started by the tool, reported when it ends. */
struct run run__command(const char *const *leaker_args, const char *const *tool_args,
			const struct child_opts *opts);

/* Starts `trace --format json --top 0` with these arguments, the target among them; waits until it
 * traces. */
struct child *trace__start(const char *const *tool_args);

/* Ends the tool and reads its report; checks that it adds up. */
struct report trace__end(struct child *tool);

/* Lets a leaker go, and waits until it is DONE. */
void leaker__go(struct child *leaker);

/* run__trace with every process checked by assert_expect and without unknown frees. */
void check_exact(const char *const *leaker_args, const char *const *tool_args,
		 const struct child_opts *opts);

/* Main of a test program: says why and returns 77 when the tests cannot run here (not root, no
 * tool). */
int harness__main(const char *name, const struct CMUnitTest *tests, size_t cnt);

#endif
