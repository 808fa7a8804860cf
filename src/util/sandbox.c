/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The child is a fork without exec: it has the job's input in its memory already. The parent may
 * have threads, so until the job begins only async-signal-safe functions are called. glibc's malloc
 * works in such a child, most else that takes locks does not have to.
 *
 * What the limits stop: endless work (ITIMER_PROF, with RLIMIT_CPU behind it), endless waiting, as
 * for a file system that does not answer (ITIMER_REAL), memory (RLIMIT_AS), output (RLIMIT_FSIZE),
 * children of its own (RLIMIT_NPROC). Who waits so that no signal ends it, as for a FUSE server, is
 * left behind by the parent, which has a limit of its own.
 */
#include "util/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/child.h"
#include "util/clock.h"

#define NOBODY 65534
#define PATIENCE 10	/* a job that waits its turn may take so many times its CPU time, */
#define PATIENCE_SEC 10 /* and this */
#define GRACE_NS (5 * NS_PER_SEC) /* until the end of that is seen */
#define KILL_NS NS_PER_SEC	  /* a child that is killed may take so long to end */
#define MAX_CPU_SEC 1000000	  /* beyond this there is no limit worth the name */
#define MAX_ERRNO 4095		  /* of the kernel (include/linux/err.h) */

struct plan {
	int (*job)(void *arg, int output_fd);
	void *arg;
	const struct sandbox_limits *limits;
	int *keep_fds; /* owned; sorted, with the output among them */
	size_t keep_cnt;
	int output_fd;
	pid_t parent;
	sigset_t no_signals; /* empty */
};

/* ---- in the child --------------------------------------------------------------------------- */

static void __attribute__((noreturn)) give_up(void)
{
	_exit(126);
}

/* The parent's handlers are not the job's: their data may be half-changed by another thread. */
static void reset_signals(const struct plan *plan)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = SIG_DFL;
	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &action, NULL); /* refused for SIGKILL, SIGSTOP and libc's own */
	sigprocmask(SIG_SETMASK, &plan->no_signals, NULL);
}

static bool close_others(const struct plan *plan)
{
	unsigned int next = 0;

	for (size_t i = 0; i < plan->keep_cnt; i++) {
		unsigned int keep = (unsigned int)plan->keep_fds[i];

		if (keep > next && close_range(next, keep - 1, 0))
			return false;
		next = keep + 1;
	}
	return !close_range(next, ~0U, 0);
}

/* Returns the size of the address space in bytes, 0 = unknown. */
static uint64_t memory_now(void)
{
	char text[64];
	uint64_t pages = 0;
	ssize_t len;
	int fd;

	fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	len = read(fd, text, sizeof(text));
	close(fd);
	for (ssize_t i = 0; i < len && text[i] >= '0' && text[i] <= '9'; i++)
		pages = pages * 10 + (uint64_t)(text[i] - '0');
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Lowers a limit, never raises it. */
static bool limit(__rlimit_resource_t resource, uint64_t soft, uint64_t hard)
{
	struct rlimit now;

	if (getrlimit(resource, &now))
		return false;
	if (hard < now.rlim_max)
		now.rlim_max = hard;
	now.rlim_cur = soft < now.rlim_max ? soft : now.rlim_max;
	return !setrlimit(resource, &now);
}

static bool limit_memory(uint64_t bytes)
{
	uint64_t now = memory_now();

	if (!now)
		return false;
	if (bytes > (uint64_t)INT64_MAX - now)
		return true;
	return limit(RLIMIT_AS, now + bytes, now + bytes);
}

/* Returns for how many seconds a job may wait and work; 0 = for ever. */
static uint64_t wall_sec(uint64_t cpu_ns)
{
	uint64_t cpu_sec = cpu_ns / NS_PER_SEC;

	return cpu_sec < MAX_CPU_SEC ? cpu_sec * PATIENCE + PATIENCE_SEC : 0;
}

static bool limit_time(uint64_t cpu_ns)
{
	struct itimerval cpu = {.it_value = {.tv_sec = (time_t)(cpu_ns / NS_PER_SEC),
					     .tv_usec = cpu_ns % NS_PER_SEC / 1000 + 1}};
	struct itimerval wall = {.it_value.tv_sec = (time_t)wall_sec(cpu_ns)};
	rlim_t sec = (rlim_t)cpu.it_value.tv_sec + 2;

	if (!wall.it_value.tv_sec)
		return true;
	if (cpu.it_value.tv_usec >= 1000000)
		cpu.it_value.tv_usec = 999999;
	return !setitimer(ITIMER_PROF, &cpu, NULL) && !setitimer(ITIMER_REAL, &wall, NULL) &&
	       limit(RLIMIT_CPU, sec, sec + 1);
}

/* By system call: glibc's functions change all threads that they believe in. */
static bool drop_identity(void)
{
	if (geteuid())
		return true;
	return !syscall(SYS_setgroups, 0, NULL) &&
	       !syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) &&
	       !syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY);
}

static void __attribute__((noreturn)) run_child(const struct plan *plan)
{
	const struct sandbox_limits *limits = plan->limits;

	reset_signals(plan);
	if (!close_others(plan))
		give_up();
	child__offer_to_oom_killer();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || !limit_memory(limits->memory_bytes) ||
	    !limit(RLIMIT_FSIZE, limits->output_bytes, limits->output_bytes) ||
	    !limit(RLIMIT_CORE, 0, 0) || !limit(RLIMIT_NPROC, 0, 0) || !drop_identity())
		give_up();
	/*
	 * After the change of credentials, which would undo both. Who cannot be dumped cannot be
	 * traced by others of the same identity either, and starts no core_pattern program, which
	 * RLIMIT_CORE does not prevent (core(5)).
	 */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 0) ||
	    getppid() != plan->parent || !limit_time(limits->cpu_ns))
		give_up();
	_exit(plan->job(plan->arg, plan->output_fd) ? 1 : 0);
}

int sandbox__answer_error(int output_fd, int err)
{
	ssize_t put = write(output_fd, &err, sizeof(err));

	if (put < 0)
		return -errno;
	return put == sizeof(err) ? 0 : -EIO;
}

/* ---- in the parent -------------------------------------------------------------------------- */

static int compare_fds(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static int plan_fds(struct plan *plan, const int *keep_fds, size_t keep_cnt)
{
	size_t cnt = 0;

	plan->keep_fds = malloc((keep_cnt + 1) * sizeof(int));
	if (!plan->keep_fds)
		return -ENOMEM;
	for (size_t i = 0; i < keep_cnt; i++)
		if (keep_fds[i] >= 0)
			plan->keep_fds[cnt++] = keep_fds[i];
	plan->keep_fds[cnt++] = plan->output_fd;
	qsort(plan->keep_fds, cnt, sizeof(int), compare_fds);
	/* Without repeats: each is the end of a range. */
	plan->keep_cnt = 1;
	for (size_t i = 1; i < cnt; i++)
		if (plan->keep_fds[i] != plan->keep_fds[plan->keep_cnt - 1])
			plan->keep_fds[plan->keep_cnt++] = plan->keep_fds[i];
	return 0;
}

int sandbox__start(int (*job)(void *arg, int output_fd), void *arg, const int *keep_fds,
		   size_t keep_cnt, const struct sandbox_limits *limits, struct sandbox *ret)
{
	struct plan plan = {.job = job, .arg = arg, .limits = limits, .parent = getpid()};
	uint64_t sec = wall_sec(limits->cpu_ns);
	pid_t pid;
	int err;

	child__reap_left();
	plan.output_fd = memfd_create("leaksweep-job", MFD_CLOEXEC);
	if (plan.output_fd < 0)
		return -errno;
	err = plan_fds(&plan, keep_fds, keep_cnt);
	if (err)
		goto cleanup;
	sigemptyset(&plan.no_signals);
	pid = child__fork();
	if (!pid)
		run_child(&plan);
	err = pid < 0 ? pid : 0;
	if (!err)
		*ret = (struct sandbox){
			.pid = pid,
			.output_fd = plan.output_fd,
			.until_ns = sec ? clock_ns(CLOCK_MONOTONIC) + sec * NS_PER_SEC + GRACE_NS
					: UINT64_MAX,
		};
cleanup:
	free(plan.keep_fds);
	if (err)
		close(plan.output_fd);
	return err;
}

static void stop(struct sandbox *sandbox)
{
	int status;

	kill(sandbox->pid, SIGKILL);
	if (child__wait(sandbox->pid, clock_ns(CLOCK_MONOTONIC) + KILL_NS, &status) == -ETIMEDOUT)
		child__leave(sandbox->pid);
	sandbox->pid = 0;
}

int sandbox__wait(struct sandbox *sandbox)
{
	int err, status;

	if (sandbox->pid <= 0)
		return -ECHILD;
	err = child__wait(sandbox->pid, sandbox->until_ns, &status);
	if (err == -ETIMEDOUT) {
		stop(sandbox);
		return -ETIME;
	}
	sandbox->pid = 0;
	if (err)
		return err;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFSIGNALED(status)) {
		switch (WTERMSIG(status)) {
		case SIGPROF:
		case SIGXCPU:
		case SIGALRM:
			return -ETIME;
		case SIGXFSZ:
			return -EFBIG;
		}
	}
	return -EPIPE;
}

int sandbox__answered_error(int output_fd)
{
	struct stat st;
	int err;

	if (fstat(output_fd, &st))
		return -errno;
	if (st.st_size != sizeof(err))
		return 0;
	if (pread(output_fd, &err, sizeof(err), 0) != sizeof(err))
		return -EPIPE;
	return err < 0 && err >= -MAX_ERRNO ? err : -EPIPE;
}

void sandbox__close(struct sandbox *sandbox)
{
	if (sandbox->pid > 0)
		stop(sandbox);
	if (sandbox->output_fd >= 0)
		close(sandbox->output_fd);
	sandbox->output_fd = -1;
}
