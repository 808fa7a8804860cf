/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes whose heaps have a story (tests/unit/data/heap_story.c), and that know its numbers. */
#ifndef LEAKSWEEP_TESTS_UNIT_HEAP_CHILD_H
#define LEAKSWEEP_TESTS_UNIT_HEAP_CHILD_H

#include "unit/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>

#define MIB (1ULL << 20)
#define NEVER UINT64_MAX
#define REST_MS 300
#define WAIT_MS 60000

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
	assert_true(child->pid > 0);
	kill(child->pid, SIGKILL);
	assert_int_equal(waitpid(child->pid, NULL, 0), child->pid);
	close(child->in);
	close(child->out);
}

static inline void read_line(const struct child *child, char *line, size_t room)
{
	struct pollfd ready = {.fd = child->out, .events = POLLIN};
	size_t len = 0;

	while (len < room - 1) {
		if (poll(&ready, 1, WAIT_MS) != 1)
			fail_msg("%d said no line in %d s", child->pid, WAIT_MS / 1000);
		if (read(child->out, line + len, 1) != 1 || line[len] == '\n')
			break;
		len++;
	}
	line[len] = '\0';
}

/* Returns the state of a process in /proc/PID/stat (proc(5)), and the ticks that it has run. */
static inline char read_state(pid_t pid, uint64_t *ret_ticks)
{
	uint64_t user, system;
	char path[64], text[1024], *fields;
	char letter;
	size_t len;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	(void)fclose(file);
	text[len] = '\0';
	fields = strrchr(text, ')');
	assert_non_null(fields);
	assert_int_equal(sscanf(fields,
				") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
				&letter, &user, &system),
			 3);
	*ret_ticks = user + system;
	return letter;
}

/*
 * Waits until a child sleeps and has not run for REST_MS: nothing of it is inside of malloc then.
 * Returns false when it has ended.
 */
static inline bool wait_for_rest(const struct child *child)
{
	uint64_t before, ticks;
	int rest_ms = 0;
	char letter = read_state(child->pid, &before);

	for (int ms = 0; ms < WAIT_MS && letter != 'Z' && rest_ms < REST_MS; ms += 10) {
		usleep(10000);
		letter = read_state(child->pid, &ticks);
		rest_ms = letter == 'S' && ticks == before ? rest_ms + 10 : 0;
		before = ticks;
	}
	if (letter != 'Z' && rest_ms < REST_MS)
		fail_msg("%d does not come to rest in %d s", child->pid, WAIT_MS / 1000);
	return letter != 'Z';
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
