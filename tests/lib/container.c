/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Containers: their namespaces, and processes inside. */
#include "lib/container.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/container_internal.h"

#define MAX_CONTAINERS 32
#define MAX_CHILDREN 64
#define INIT_NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC)
#define JOINED_NAMESPACES (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)

static struct container *containers[MAX_CONTAINERS];
static size_t container_cnt;
static struct inner_child {
	struct child *child;
	const struct container *container;
} children[MAX_CHILDREN];
static size_t child_cnt;

/* ---- a container's first process --------------------------------------------------------------
 */

/* The last part of the name: what a host may be called. */
static const char *host_name(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? slash + 1 : name;
}

/* Says 0 or an errno to `report_fd`, then holds the namespaces until it is killed. */
static void become_init(const char *name, const char *stage, enum userland userland, int report_fd)
{
	const char *host = host_name(name);
	int err = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!group__enter(name) || unshare(CLONE_NEWCGROUP) || !root__enter(stage, userland) ||
	    sethostname(host, strlen(host)))
		err = errno;
	if (write(report_fd, &err, sizeof(err)) != sizeof(err) || err)
		_exit(1);
	close_range(0, ~0U, 0);
	for (;;)
		pause();
}

struct container *container__start(const char *name, const struct container_opts *opts)
{
	struct container *container = calloc(1, sizeof(*container));
	const char *stage = scratch_dir();
	int report[2], err = EPIPE;

	assert_non_null(container);
	assert_true(container_cnt < MAX_CONTAINERS);
	group__make(name, opts->memory_bytes);
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	container->name = format("%s", name);
	container->cgroup = group__path(name);
	container->init = (pid_t)syscall(SYS_clone, INIT_NAMESPACES | SIGCHLD, 0, 0, 0, 0);
	if (!container->init)
		become_init(name, stage, opts->userland, report[1]);
	containers[container_cnt++] = container;
	close(report[1]);
	assert_true(container->init > 0);
	if (read(report[0], &err, sizeof(err)) != sizeof(err) || err)
		fail_msg("container %s cannot be made: %s", name, strerror(err));
	close(report[0]);
	root__fill(container, opts);
	return container;
}

/* Its processes are the test's children: a namespace's init ends after they have been reaped. */
void container__kill(struct container *container)
{
	assert_true(container->init > 0);
	kill(container->init, SIGKILL);
	for (size_t i = 0; i < child_cnt; i++)
		if (children[i].container == container)
			child__await_exit(children[i].child, TIMEOUT_MS);
	waitpid(container->init, NULL, 0);
	container->init = 0;
}

char *container__path(const struct container *container, const char *inside)
{
	return format("/proc/%d/root%s", (int)container->init, inside);
}

/* ---- processes inside -------------------------------------------------------------------------
 */

/* Rather than the init, which has as much memory as the test program that it was forked from. */
static bool offer_to_oom_killer(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, "1000", 4) == 4;

	close(fd);
	return done;
}

static void become_inner(const struct container *container, int pidfd, const char *const *argv,
			 const int stdio[3])
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	for (int fd = 0; fd < 3; fd++)
		if (dup2(stdio[fd], fd) < 0)
			_exit(126);
	if (!offer_to_oom_killer() || !group__enter(container->name) ||
	    setns(pidfd, JOINED_NAMESPACES)) {
		perror("become_inner");
		_exit(126);
	}
	execv(argv[0], (char *const *)argv);
	perror(argv[0]);
	_exit(127);
}

/* Forks into the container's PID namespace; only children can be in another one. */
static pid_t fork_inside(int pidfd)
{
	int own = pidfd_open(getpid(), 0);
	pid_t pid;

	assert_true(own >= 0);
	if (setns(pidfd, CLONE_NEWPID))
		fail_msg("cannot enter the container's PID namespace: %s", strerror(errno));
	pid = fork();
	if (!pid)
		return 0;
	assert_int_equal(setns(own, CLONE_NEWPID), 0);
	close(own);
	return pid;
}

struct child *container__run(const struct container *container, const char *const *argv)
{
	struct child *child = calloc(1, sizeof(*child));
	int pidfd = pidfd_open(container->init, 0), in[2];

	assert_non_null(child);
	assert_true(child_cnt < MAX_CHILDREN && pidfd >= 0);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	child->out_fd = memfd_create("stdout", MFD_CLOEXEC);
	child->err_fd = memfd_create("stderr", MFD_CLOEXEC);
	assert_true(child->out_fd >= 0 && child->err_fd >= 0);
	child->pid = fork_inside(pidfd);
	if (!child->pid)
		become_inner(container, pidfd, argv,
			     (const int[3]){in[0], child->out_fd, child->err_fd});
	assert_true(child->pid > 0);
	close(pidfd);
	close(in[0]);
	child->in_fd = in[1];
	children[child_cnt++] = (struct inner_child){child, container};
	return child;
}

struct child *container__leaker(const struct container *container, const char *const *args)
{
	const char *argv[16] = {NULL};
	char *path = format("%s/%s", CONTAINER_LEAKERS, args[0]);
	struct child *leaker;

	argv[0] = path;
	for (size_t i = 1; args[i]; i++) {
		assert_true(i + 1 < sizeof(argv) / sizeof(argv[0]));
		argv[i] = args[i];
	}
	leaker = container__run(container, argv);
	free(child__await_line(leaker, leaker->out_fd, "READY", TIMEOUT_MS));
	free(path);
	return leaker;
}

int inner_pid(pid_t pid)
{
	char *pids = process_status(pid, "NSpid:"), *last;
	int inner;

	assert_non_null(pids);
	last = strrchr(pids, '\t');
	inner = last ? atoi(last + 1) : 0;
	free(pids);
	return inner;
}

struct json_object *container__expect_of(struct child *child, pid_t pid)
{
	struct expects expects = expects__read(child);
	struct json_object *expect = expects__of(&expects, 0);

	assert_int_equal(expect__pid(expect), inner_pid(pid));
	json_object_object_add(expect, "pid", json_object_new_int(pid));
	return expect;
}

struct json_object *container__expect(struct child *leaker)
{
	return container__expect_of(leaker, leaker->pid);
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void release_child(struct child *child)
{
	if (!child->reaped) {
		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
	}
	close(child->in_fd);
	close(child->out_fd);
	close(child->err_fd);
	free(child);
}

static void release_container(struct container *container)
{
	if (container->init > 0) {
		kill(container->init, SIGKILL);
		waitpid(container->init, NULL, 0);
	}
	free(container->name);
	free(container->cgroup);
	free(container);
}

int container__teardown(void **state)
{
	int err;

	runc__remove_all();
	while (child_cnt)
		release_child(children[--child_cnt].child);
	while (container_cnt)
		release_container(containers[--container_cnt]);
	err = harness__teardown(state);
	group__remove_all();
	return err;
}
