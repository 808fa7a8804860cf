/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes whose heaps have a story (tests/unit/data/heap_story.c), and that know its numbers. */
#ifndef LEAKSWEEP_TESTS_UNIT_HEAP_CHILD_H
#define LEAKSWEEP_TESTS_UNIT_HEAP_CHILD_H

#include "unit/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>

#define MIB (1ULL << 20)
#define NEVER UINT64_MAX

struct child {
	pid_t pid;
	int in, out;
};

static inline struct child start(const char *const argv[], const char *preload)
{
	struct child child;
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (!child.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		if (chdir(work_dir))
			_exit(127);
		if (preload)
			setenv("LD_PRELOAD", preload, 1);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	child.in = in[1];
	child.out = out[0];
	return child;
}

static inline void stop(struct child *child)
{
	kill(child->pid, SIGKILL);
	assert_int_equal(waitpid(child->pid, NULL, 0), child->pid);
	close(child->in);
	close(child->out);
}

static inline void read_line(const struct child *child, char *line, size_t room)
{
	size_t len = 0;

	while (len < room - 1 && read(child->out, line + len, 1) == 1 && line[len] != '\n')
		len++;
	line[len] = '\0';
}

/* What a story says of itself. */
struct truth {
	uint64_t arena, used, free, fast, top, big, live;
};

static inline bool parse_truth(const char *line, struct truth *ret)
{
	return sscanf(line,
		      "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		      " %" SCNu64,
		      &ret->arena, &ret->used, &ret->free, &ret->fast, &ret->top, &ret->big,
		      &ret->live) == 7;
}

static inline struct child tell_story(const char *program, const char *story, const char *preload,
				      struct truth *ret)
{
	const char *const argv[] = {program, story, NULL};
	struct child child = start(argv, preload);
	char line[256];

	read_line(&child, line, sizeof(line));
	if (!parse_truth(line, ret))
		fail_msg("%s %s said: %s", program, story, line);
	return child;
}

static char *glibc_story, *static_story;

static inline int compile_stories(void **state)
{
	if (make_work_dir(state))
		return -1;
	glibc_story = compile("gcc", "-O1 -pthread", "heap_story.c");
	static_story = compile("gcc", "-O1 -pthread -static", "heap_story.c");
	return 0;
}

static inline int drop_stories(void **state)
{
	free(glibc_story);
	free(static_story);
	return remove_work_dir(state);
}

#endif
