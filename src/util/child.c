/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"

#define LONGEST_MS 60000
#define MAX_LEFT 64
#define NAP_MS 10 /* without a descriptor that tells of the end */

/* Who was left. */
static struct {
	pthread_mutex_t lock;
	pid_t pids[MAX_LEFT]; /* 0 = none */
} left = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Returns at the end of the process, at `until_ns`, or at some time before. */
static void await_end(int pidfd, uint64_t now_ns, uint64_t until_ns)
{
	uint64_t ms = (until_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
	uint64_t longest_ms = pidfd >= 0 ? LONGEST_MS : NAP_MS;
	struct pollfd end = {.fd = pidfd, .events = POLLIN};

	poll(&end, 1, (int)(ms < longest_ms ? ms : longest_ms));
}

pid_t child__fork(void)
{
	sigset_t all, old;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (!pid)
		return 0;
	if (pid < 0)
		pid = -errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid;
}

int child__wait(pid_t pid, uint64_t until_ns, int *ret_status)
{
	uint64_t now_ns;
	int pidfd = -1;
	pid_t ended;

	while (!(ended = waitpid(pid, ret_status, WNOHANG)) &&
	       (now_ns = clock_ns(CLOCK_MONOTONIC)) < until_ns) {
		if (pidfd < 0)
			pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		await_end(pidfd, now_ns, until_ns);
	}
	if (pidfd >= 0)
		close(pidfd);
	if (!ended)
		return -ETIMEDOUT;
	return ended < 0 ? -errno : 0;
}

/* Puts the child, 0 = none, where one has ended. */
static void reap_left(pid_t pid)
{
	int status;

	pthread_mutex_lock(&left.lock);
	for (size_t i = 0; i < MAX_LEFT; i++) {
		if (left.pids[i] && child__wait(left.pids[i], 0, &status) != -ETIMEDOUT)
			left.pids[i] = 0;
		if (!left.pids[i]) {
			left.pids[i] = pid;
			pid = 0;
		}
	}
	pthread_mutex_unlock(&left.lock);
}

void child__leave(pid_t pid)
{
	reap_left(pid);
}

void child__reap_left(void)
{
	reap_left(0);
}

void child__offer_to_oom_killer(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "1000", 4) != 4) {
		/* Then it is chosen by its size. */
	}
	close(fd);
}
