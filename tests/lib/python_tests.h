/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * End-to-end tests of Python run the programs of tests/python under every interpreter that is found
 * here: the distribution's /usr/bin/python3 and those of $PYENV_ROOT (or ~/.pyenv). Versions that
 * are absent are skipped by name. PYTHONS="3.11 3.12.1" runs only those whose names have one of the
 * words.
 */
#ifndef LEAKSWEEP_TESTS_PYTHON_TESTS_H
#define LEAKSWEEP_TESTS_PYTHON_TESTS_H

#include "lib/harness.h"

#define OLDEST_MINOR 8
#define NEWEST_MINOR 13

struct python {
	char *name; /* "distribution 3.11", "pyenv 3.12.1" */
	char *path;
	int minor;
	bool is_distribution;
};

/* A test that is run under every interpreter; its *state is a const struct python. */
struct python_test {
	const char *name;
	void (*run)(void **state);
	bool distribution_only;
	bool is_long; /* under other interpreters in `make python-matrix` alone */
};

/* Whether everything is to be tried under this interpreter: it is the distribution's, or all are
 * (PYTHON_MATRIX=1). */
bool python_is_full(const struct python *python);

/* Main of a test program, as harness__main. */
int python_tests__main(const char *name, const struct python_test *tests, size_t cnt);

/* ---- a program of tests/python that listens (story.py) ---- */

struct story {
	const struct python *python;
	struct child *child;
	int command_cnt;
	char *file; /* the program's path, as its frames have it */
};

/* Starts a program and waits until it is ready; ends the test as skipped when it ends with 77. */
struct story *story__start(const struct python *python, const char *program,
			   const char *const *args);
/* Sends a command: "step 3". */
void story__send(struct story *story, const char *command);
/* Sends a command and waits until it is done. */
void story__do(struct story *story, const char *command);
void story__do_all(struct story *story, const char *const *commands);
void story__await(struct story *story);
/* Asks for the truth; returns its lines as an array, owned by the harness. */
struct json_object *story__truth(struct story *story);
/* Everything that it has told so far. */
struct json_object *story__told(struct story *story);
void story__end(struct story *story);

/* Path of a file that tests/python builds, owned by the caller, or NULL when it was not built. */
char *python_built(const char *name);
/* Arguments for programs that load C code: the library, and the module if there is one. */
const char *const *native_args(void);

/* Starts a tool on a running program: `trace --format json --top 0`, tool_args and -p PID. */
struct child *story__trace(const struct story *story, const char *const *tool_args);

/* ---- reports ---- */

/* What a report says of a line of Python. */
struct line_sum {
	struct tally python, malloc; /* by layer */
};

/* Sums the rows of a process whose first Python frame is that line; with `anywhere` those that have
 * it in any Python frame, each once. Rows of layer mmap are left out. */
struct line_sum report__line(const struct report *report, int pid, const char *file, int64_t line,
			     bool anywhere);
struct tally line_sum__all(const struct line_sum *sum);

/* The next Python frame at index *i or later, NULL = none; *i is its index. */
struct json_object *next_python_frame(struct json_object *frames, size_t *i);
bool frame_is(struct json_object *frame, const char *file, int64_t line);
int64_t number_of(struct json_object *object, const char *name);
struct json_object *stacks_of_report(const struct report *report);

/* coverage.python of a process; fails when it has none. */
struct json_object *report__python(const struct report *report, int pid);

/*
 * Fails unless frames and objects of the process are followed completely: status probed, coverage
 * 100 %, nothing missed, every Python stack in its place, nothing lost.
 */
void assert_python_covered(const struct report *report, int pid);

/* The same of frames only. */
void assert_python_frames(const struct report *report, int pid);

/*
 * Compares the lines of `file` in the report with those that tracemalloc told: blocks and bytes of
 * the object allocator, rounded up to its sizes; with `malloc_too` the larger ones as well, which
 * is no use when tracemalloc itself was taking memory. Prints what differs, and fails if anything
 * does.
 *
 * An object from one of the interpreter's free lists is moved by tracemalloc to the line that has
 * it now; its block was given out at another one. A line may differ by up to `slack` by that
 * (NO_SLACK where the program collects between its lines, which empties the lists).
 */
struct slack {
	int blocks;
	int64_t bytes; /* of all these blocks */
};
#define NO_SLACK ((struct slack){0})
void assert_python_lines(const struct report *report, int pid, struct json_object *truth,
			 const char *file, bool malloc_too, struct slack slack);

#endif
