/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host full of strangers: crowd DIR PROCESSES PROGRAMS CGROUPS
 *
 * Starts PROCESSES small leakers, copies of PROGRAMS distinct programs made in DIR, dealt out over
 * CGROUPS cgroups, and says READY when all of them run. A newline, the end of its input or SIGTERM
 * ends them; the cgroups are gone when it exits.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/storm/host.h"

struct crowd {
	size_t processes, programs, cgroups;
	char **program_paths, **cgroup_paths, *cgroup;
	pid_t *pids;
};

/* The pipe's end closes with exec: whoever reads it to its end knows that all members run. */
static pid_t start_member(const struct crowd *crowd, size_t index)
{
	const char *program = crowd->program_paths[index % crowd->programs];
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	cgroup__enter(crowd->cgroup_paths[index % crowd->cgroups]);
	execl(program, program, "hold", (char *)NULL);
	die("%s", program);
}

static void start_all(struct crowd *crowd)
{
	int pipe_fds[2];
	char nothing;

	if (pipe2(pipe_fds, O_CLOEXEC))
		die("pipe");
	for (size_t i = 0; i < crowd->processes; i++)
		crowd->pids[i] = start_member(crowd, i);
	close(pipe_fds[1]);
	while (read(pipe_fds[0], &nothing, 1) < 0)
		if (errno != EINTR)
			die("pipe");
	close(pipe_fds[0]);
}

static void prepare(struct crowd *crowd, const char *dir)
{
	char *program = beside_us("storm_leaf"), *name = text("leaksweep-crowd-%d", (int)getpid());

	crowd->program_paths = make_copies(program, dir, "member", crowd->programs);
	crowd->cgroup = cgroup__make(name);
	crowd->cgroup_paths = calloc(crowd->cgroups, sizeof(*crowd->cgroup_paths));
	crowd->pids = calloc(crowd->processes, sizeof(*crowd->pids));
	if (!crowd->cgroup_paths || !crowd->pids)
		die("no memory");
	for (size_t i = 0; i < crowd->cgroups; i++) {
		free(name);
		name = text("group-%zu", i);
		crowd->cgroup_paths[i] = cgroup__make_inside(crowd->cgroup, name);
	}
	free(name);
	free(program);
}

static void end_all(struct crowd *crowd)
{
	for (size_t i = 0; i < crowd->processes; i++)
		kill(crowd->pids[i], SIGKILL);
	for (size_t i = 0; i < crowd->processes; i++)
		waitpid(crowd->pids[i], NULL, 0);
	for (size_t i = 0; i < crowd->cgroups; i++) {
		cgroup__remove(crowd->cgroup_paths[i]);
		free(crowd->cgroup_paths[i]);
	}
	cgroup__remove(crowd->cgroup);
	free(crowd->cgroup_paths);
	free(crowd->cgroup);
	free(crowd->pids);
	free_copies(crowd->program_paths);
}

/* Does nothing but interrupt the wait for input. */
static void wake_up(int sig)
{
	(void)sig;
}

int main(int argc, char **argv)
{
	struct crowd crowd = {0};

	if (argc != 5) {
		fprintf(stderr, "usage: crowd DIR PROCESSES PROGRAMS CGROUPS\n");
		return 2;
	}
	crowd.processes = read_number("PROCESSES", argv[2], 1, 30000);
	crowd.programs = read_number("PROGRAMS", argv[3], 1, 10000);
	crowd.cgroups = read_number("CGROUPS", argv[4], 1, 10000);
	prepare(&crowd, argv[1]);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = wake_up}, NULL);
	start_all(&crowd);
	printf("READY %d\n", (int)getpid());
	fflush(stdout);
	while (getchar() != '\n' && !feof(stdin) && !ferror(stdin))
		;
	end_all(&crowd);
	return 0;
}
