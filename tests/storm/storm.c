/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host on which processes come and go: storm DIR SECONDS SEED EXECS_PER_SECOND
 *
 * Makes its programs and libraries in DIR, says READY, waits for go, and then forks, spawns,
 * executes, opens libraries and starts containers until SECONDS * EXECS_PER_SECOND programs have
 * been executed. The seed decides what is done and in which order, so that everything but the time
 * it takes is the same each time; a machine that cannot keep the pace takes longer. It says THIRD
 * after a third of them, and at the end
 *
 *   TOTAL {"processes":..., "execs":..., "dlopens":..., "containers":..., "failed":...,
 *          "elapsed_ms":...}
 *
 * and DONE. All of its processes have ended by then.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/leakers/leaker.h"
#include "tests/storm/host.h"

#define PROGRAMS 48
#define LIBRARIES 24
#define LIBRARIES_AT_ONCE 4
#define MAX_RUNNING 48 /* children at a time: a slow machine slows us, not the other way round */
#define MAX_LEAK_BYTES 65536
#define NS_PER_SEC 1000000000ULL

struct storm {
	uint64_t seed, seconds, rate;
	char **programs, **libraries;
	char *cgroup, *mount_point;
	size_t running;
	uint64_t processes, execs, dlopens, containers, failed;
};

static const char *pick(struct storm *storm, char **list, size_t cnt)
{
	return list[next_random(&storm->seed) % cnt];
}

static void note_exit(struct storm *storm, int options)
{
	int status;
	pid_t pid = waitpid(-1, &status, options);

	if (pid < 0)
		die("waitpid");
	if (!pid)
		return;
	storm->running--;
	storm->failed += status != 0;
}

static void await_room(struct storm *storm)
{
	for (size_t i = storm->running; i > 0; i--)
		note_exit(storm, WNOHANG);
	while (storm->running >= MAX_RUNNING)
		note_exit(storm, 0);
}

/* Returns 0 in the child. */
static pid_t begin_child(struct storm *storm)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid) {
		storm->running++;
		storm->processes++;
	}
	return pid;
}

/* ---- what happens --------------------------------------------------------------------------- */

/* A child that never executes anything. */
static void do_fork(struct storm *storm)
{
	size_t bytes = next_random(&storm->seed) % MAX_LEAK_BYTES;
	void *leak;

	if (begin_child(storm))
		return;
	leak = malloc(bytes);
	KEEP(leak);
	_exit(0);
}

static void do_exec(struct storm *storm)
{
	const char *program = pick(storm, storm->programs, PROGRAMS);
	char *bytes = text("%d", (int)(next_random(&storm->seed) % MAX_LEAK_BYTES));

	storm->execs++;
	if (!begin_child(storm)) {
		execl(program, program, "leak", bytes, (char *)NULL);
		die("%s", program);
	}
	free(bytes);
}

/* As shells and daemons do it: the child borrows our memory until it executes. */
static void do_spawn(struct storm *storm)
{
	const char *program = pick(storm, storm->programs, PROGRAMS);
	char *bytes = text("%d", (int)(next_random(&storm->seed) % MAX_LEAK_BYTES));
	char *argv[] = {(char *)program, "leak", bytes, NULL};
	pid_t pid;

	errno = posix_spawn(&pid, program, NULL, NULL, argv, environ);
	if (errno)
		die("%s", program);
	storm->running++;
	storm->processes++;
	storm->execs++;
	free(bytes);
}

static void do_load(struct storm *storm)
{
	const char *program = pick(storm, storm->programs, PROGRAMS);
	const char *argv[LIBRARIES_AT_ONCE + 3] = {program, "load"};

	for (int i = 0; i < LIBRARIES_AT_ONCE; i++)
		argv[2 + i] = pick(storm, storm->libraries, LIBRARIES);
	storm->execs++;
	storm->dlopens += LIBRARIES_AT_ONCE;
	if (begin_child(storm))
		return;
	execv(program, (char *const *)argv);
	die("%s", program);
}

/* The first process of a container: mounts are its own, in its PID namespace it is number 1. */
static void run_container(const struct storm *storm, const char *cgroup, const char *program)
{
	cgroup__enter(cgroup);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", storm->mount_point, "tmpfs", 0, "size=64k"))
		die("mount");
	execl(program, program, "leak", "4096", (char *)NULL);
	die("%s", program);
}

static void do_container(struct storm *storm)
{
	const char *program = pick(storm, storm->programs, PROGRAMS);
	char *name = text("%d", (int)storm->containers), *cgroup;
	int status;
	pid_t pid;

	storm->containers++;
	storm->execs++;
	storm->processes++; /* the container's, beside the one that makes it */
	if (begin_child(storm)) {
		free(name);
		return;
	}
	cgroup = cgroup__make_inside(storm->cgroup, name);
	if (unshare(CLONE_NEWNS | CLONE_NEWPID))
		die("unshare");
	pid = fork();
	if (!pid)
		run_container(storm, cgroup, program);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("container");
	cgroup__remove(cgroup);
	_exit(status != 0);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void do_something(struct storm *storm)
{
	static void (*const deeds[])(struct storm *) = {
		do_exec,  do_exec, do_exec, do_spawn, do_spawn,
		do_spawn, do_fork, do_fork, do_load,  do_container,
	};

	deeds[next_random(&storm->seed) % (sizeof(deeds) / sizeof(deeds[0]))](storm);
}

/* Sleeps until the next program is due. */
static void keep_pace(const struct storm *storm, uint64_t began_ns)
{
	uint64_t due_ns = began_ns + storm->execs * NS_PER_SEC / storm->rate;
	struct timespec due = {.tv_sec = (time_t)(due_ns / NS_PER_SEC),
			       .tv_nsec = (long)(due_ns % NS_PER_SEC)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

static void rage_until(struct storm *storm, uint64_t execs, uint64_t began_ns)
{
	while (storm->execs < execs) {
		do_something(storm);
		await_room(storm);
		keep_pace(storm, began_ns);
	}
}

static void rage(struct storm *storm)
{
	uint64_t began_ns = now_ns(), execs = storm->seconds * storm->rate;

	rage_until(storm, execs / 3, began_ns);
	leaker__add("THIRD\n");
	leaker__flush();
	rage_until(storm, execs, began_ns);
	while (storm->running)
		note_exit(storm, 0);
	leaker__add("TOTAL {\"processes\":%lld,\"execs\":%lld,\"dlopens\":%lld,\"containers\":%lld,"
		    "\"failed\":%lld,\"elapsed_ms\":%lld}\n",
		    (long long)storm->processes, (long long)storm->execs, (long long)storm->dlopens,
		    (long long)storm->containers, (long long)storm->failed,
		    (long long)((now_ns() - began_ns) / 1000000));
	leaker__flush();
}

static void prepare(struct storm *storm, const char *dir)
{
	char *program = beside_us("storm_leaf"), *library = beside_us("libstorm.so"),
	     *name = text("leaksweep-storm-%d", (int)getpid());

	storm->programs = make_copies(program, dir, "leaf", PROGRAMS);
	storm->libraries = make_copies(library, dir, "libleaf.so", LIBRARIES);
	storm->mount_point = text("%s/mount", dir);
	if (mkdir(storm->mount_point, 0755))
		die("%s", storm->mount_point);
	storm->cgroup = cgroup__make(name);
	free(name);
	free(library);
	free(program);
}

static void clean_up(struct storm *storm)
{
	cgroup__remove(storm->cgroup);
	free_copies(storm->programs);
	free_copies(storm->libraries);
	free(storm->mount_point);
	free(storm->cgroup);
}

int main(int argc, char **argv)
{
	struct storm storm = {0};

	if (argc < 5) {
		fprintf(stderr, "usage: storm DIR SECONDS SEED EXECS_PER_SECOND [now]\n");
		return 2;
	}
	storm.seconds = read_number("SECONDS", argv[2], 1, 86400);
	storm.seed = read_number("SEED", argv[3], 0, UINT64_MAX);
	storm.rate = read_number("EXECS_PER_SECOND", argv[4], 1, 10000);
	prepare(&storm, argv[1]);
	leaker__ready(argc, argv);
	rage(&storm);
	clean_up(&storm);
	leaker__done();
	return 0;
}
