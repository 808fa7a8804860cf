/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/launch.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cpu_time.h"
#include "util/procfs.h"

struct syscall_state {
	unsigned long pc, nr, args[6];
};

/* waitpid for the command: once it has ended, its CPU time is among that of all our children. */
static pid_t wait_for(struct launch *launch, int *status, int options)
{
	uint64_t before = children_cpu_ns();
	pid_t pid = waitpid(launch->pid, status, options);

	launch->cpu_ns += children_cpu_ns() - before;
	return pid;
}

/* The child's side: announce, wait to be let go, exec. An exec error goes home through the pipe. */
static void __attribute__((noreturn)) run_child(char *const *argv, int error_fd, pid_t parent)
{
	sigset_t none;
	int err;

	/* The command gets what it would have had without us: no blocked or ignored signals. */
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* While it waits it must not outlive a tracer that is killed; once it runs, it must. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
	    ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0) {
		raise(SIGSTOP);
		prctl(PR_SET_PDEATHSIG, 0);
		execvp(argv[0], argv);
	}
	err = errno;
	if (write(error_fd, &err, sizeof(err)) != sizeof(err))
		_exit(126);
	_exit(127);
}

int launch__start(char *const *argv, struct launch *ret)
{
	int fds[2], status;
	pid_t pid, parent = getpid();

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(fds[0]);
		close(fds[1]);
		return err;
	}
	if (!pid)
		run_child(argv, fds[1], parent);
	close(fds[1]);
	*ret = (struct launch){.pid = pid, .error_fd = fds[0]};
	if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status)) {
		launch__abort(ret);
		return -EPERM;
	}
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD)) {
		int err = -errno;

		launch__abort(ret);
		return err;
	}
	return 0;
}

/* Whether the program is a dynamic loader that was started by its own name. */
static bool is_loader(pid_t pid)
{
	char *exe = proc_exe(pid);
	const char *name = exe ? strrchr(exe, '/') : NULL;
	bool loader = name && (!strncmp(name, "/ld-", 4) || !strncmp(name, "/ld.so", 6));

	free(exe);
	return loader;
}

/* Where the loader lies, and where the program proper begins: AT_BASE and AT_ENTRY. */
static void read_auxv(struct launch *launch)
{
	char path[40];
	Elf64_auxv_t entry;
	unsigned long base = 0;
	struct proc_maps maps = {0};
	const struct proc_map *map;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/auxv", launch->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	while (read(fd, &entry, sizeof(entry)) == sizeof(entry) && entry.a_type != AT_NULL) {
		if (entry.a_type == AT_BASE)
			base = entry.a_un.a_val;
		if (entry.a_type == AT_ENTRY)
			launch->entry = entry.a_un.a_val;
	}
	close(fd);
	if (!base && is_loader(launch->pid)) {
		/* `ld.so PROGRAM`: the loader is the program, and where it ends is not known. */
		base = launch->entry;
		launch->entry = 0;
	}
	if (!base || proc_maps__read(launch->pid, &maps))
		return;
	map = proc_maps__find(&maps, base);
	for (size_t i = 0; map && i < maps.maps.cnt; i++) {
		const struct proc_map *part = &maps.maps.items[i];

		if (part->ino != map->ino || part->dev != map->dev)
			continue;
		if (!launch->interp_start)
			launch->interp_start = part->start;
		launch->interp_end = part->end;
	}
	proc_maps__free(&maps);
}

#if defined(__x86_64__)
/* A hardware breakpoint: an address in a debug register of this thread, not a byte in its code. */
static void set_entry_breakpoint(pid_t pid, unsigned long addr)
{
	if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), addr) == 0)
		ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]),
		       addr ? 1UL : 0UL);
}

static int read_syscall(pid_t pid, struct syscall_state *ret)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs))
		return -errno;
	*ret = (struct syscall_state){
		.pc = regs.rip,
		.nr = regs.orig_rax,
		.args = {regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9},
	};
	return 0;
}
#else
static void set_entry_breakpoint(pid_t pid, unsigned long addr)
{
	(void)pid;
	(void)addr;
}

static int read_syscall(pid_t pid, struct syscall_state *ret)
{
	struct user_regs_struct regs;
	struct iovec io = {.iov_base = &regs, .iov_len = sizeof(regs)};

	if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &io))
		return -errno;
	*ret = (struct syscall_state){.pc = regs.pc, .nr = regs.regs[8]};
	memcpy(ret->args, regs.regs, sizeof(ret->args));
	return 0;
}
#endif

int launch__exec(struct launch *launch)
{
	int status, err = 0;

	if (ptrace(PTRACE_CONT, launch->pid, NULL, NULL))
		return -errno;
	for (;;) {
		if (wait_for(launch, &status, 0) < 0)
			return -errno;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (read(launch->error_fd, &err, sizeof(err)) != sizeof(err))
				err = EPERM;
			close(launch->error_fd);
			launch->error_fd = -1;
			launch->exited = true;
			return -err;
		}
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
			break;
		ptrace(PTRACE_CONT, launch->pid, NULL, WSTOPSIG(status));
	}
	close(launch->error_fd);
	launch->error_fd = -1;
	read_auxv(launch);
	launch->in_loader = true;
	if (launch->entry)
		set_entry_breakpoint(launch->pid, launch->entry);
	return 0;
}

static void release(struct launch *launch)
{
	set_entry_breakpoint(launch->pid, 0);
	ptrace(PTRACE_DETACH, launch->pid, NULL, NULL);
	launch->in_loader = false;
}

/* Whether the loader is done: code outside it makes system calls, or the entry point was reached.
 */
static bool left_loader(const struct launch *launch, const struct syscall_state *state)
{
	return state->pc < launch->interp_start || state->pc >= launch->interp_end;
}

int launch__next_library(struct launch *launch)
{
	struct syscall_state state = {0};
	unsigned long signal = 0;
	int status;

	if (!launch->interp_start) { /* static: all of it is mapped already */
		release(launch);
		return 0;
	}
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, launch->pid, NULL, signal) ||
		    wait_for(launch, &status, 0) < 0) {
			launch->in_loader = false;
			return -errno;
		}
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			launch->in_loader = false;
			launch->exited = true;
			launch->wait_status = status;
			return 0;
		}
		signal = 0;
		if (WSTOPSIG(status) == SIGTRAP && status >> 16 == 0) { /* the entry point */
			release(launch);
			return 0;
		}
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			signal = status >> 16 ? 0 : WSTOPSIG(status);
			continue;
		}
		if (read_syscall(launch->pid, &state) || left_loader(launch, &state)) {
			release(launch);
			return 0;
		}
		/* Seen at its entry and at its return; looking twice does no harm. */
		if ((state.nr == __NR_mmap || state.nr == __NR_mprotect) &&
		    state.args[2] & PROT_EXEC)
			return 1;
	}
}

bool launch__reap(struct launch *launch)
{
	int status;

	if (!launch->exited && launch->pid > 0 &&
	    wait_for(launch, &status, WNOHANG) == launch->pid &&
	    (WIFEXITED(status) || WIFSIGNALED(status))) {
		launch->exited = true;
		launch->wait_status = status;
	}
	return launch->exited;
}

void launch__wait(struct launch *launch)
{
	int status;

	if (launch->exited || wait_for(launch, &status, 0) != launch->pid)
		return;
	launch->exited = true;
	launch->wait_status = status;
}

void launch__abort(struct launch *launch)
{
	if (launch->error_fd >= 0)
		close(launch->error_fd);
	launch->error_fd = -1;
	if (launch->exited) /* its number may be somebody else's by now */
		return;
	kill(launch->pid, SIGKILL);
	waitpid(launch->pid, NULL, 0);
	launch->exited = true;
}
