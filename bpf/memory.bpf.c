/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls that change a traced process's mappings. Each that succeeds is one event; the ranges
 * are kept in user space (collect/ranges.c). Inside a pending allocation call they are the
 * allocator's own business and marked so.
 */
#include "arch.bpf.h"
#include "code.bpf.h"
#include "failure.bpf.h"
#include "maps.bpf.h"
#include "stack.bpf.h"
#include "thread.bpf.h"

#define ENOMEM 12
#define PROT_EXEC 4
#define MAP_ANONYMOUS 0x20

SEC("?tracepoint/syscalls/sys_enter_mmap")
int memory_enter(struct trace_event_raw_sys_enter *ctx)
{
	struct task_struct *task;
	struct thread *thread;

	if (!recording)
		return 0;
	thread = thread_current();
	if (!thread)
		return 0;
	count(STAT_HITS_SYSCALL, 1);
	thread->syscall_active = 1;
	thread->syscall_begin_ns = bpf_ktime_get_ns();
	bpf_probe_read_kernel(thread->syscall_args, sizeof(thread->syscall_args), ctx->args);
	if ((__u32)ctx->id == NR_BRK) {
		task = (void *)bpf_get_current_task();
		thread->syscall_brk = BPF_CORE_READ(task, mm, brk);
	}
	return 0;
}

/* Whether the call has made code appear where other code may have been. */
static __always_inline bool has_mapped_code(struct thread *thread, long nr, long ret)
{
	switch (nr) {
	case NR_MMAP:
	case NR_MPROTECT:
	case NR_PKEY_MPROTECT:
		return thread->syscall_args[2] & PROT_EXEC;
	case NR_MREMAP:
		return ret != (long)thread->syscall_args[0] && is_code(ret);
	default:
		return false;
	}
}

static __always_inline void read_file(struct event *event, __u32 fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **slot, *file = NULL;

	if (fd >= BPF_CORE_READ(table, max_fds))
		return;
	slot = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), slot + fd);
	event->map.dev = BPF_CORE_READ(file, f_inode, i_sb, s_dev);
	event->map.ino = BPF_CORE_READ(file, f_inode, i_ino);
	event->map.generation = BPF_CORE_READ(file, f_inode, i_generation);
}

static __always_inline void fill_map(struct event *event, struct thread *thread, long nr, long ret)
{
	event->map.addr = nr == NR_MMAP ? (__u64)ret : thread->syscall_args[0];
	event->map.len = thread->syscall_args[1];
	if (nr == NR_MUNMAP)
		return;
	event->map.prot = thread->syscall_args[2];
	event->map.tgid = bpf_get_current_pid_tgid() >> 32;
	if (nr != NR_MMAP)
		return;
	event->map.flags = thread->syscall_args[3];
	if (event->map.flags & MAP_ANONYMOUS)
		return;
	event->map.pgoff = thread->syscall_args[5];
	read_file(event, thread->syscall_args[4]);
}

static __always_inline enum event_kind kind_of_syscall(long nr)
{
	switch (nr) {
	case NR_MMAP:
		return EV_MMAP;
	case NR_MUNMAP:
		return EV_MUNMAP;
	case NR_MREMAP:
		return EV_MREMAP;
	case NR_BRK:
		return EV_BRK;
	default:
		return EV_MPROTECT;
	}
}

SEC("?tracepoint/syscalls/sys_exit_mmap")
int memory_exit(struct trace_event_raw_sys_exit *ctx)
{
	struct thread *thread = thread_known();
	long nr = (__u32)ctx->id, ret = ctx->ret; /* the upper half of id is not initialised */
	__u64 stack_id = STACK_LOST;
	struct event *event;

	if (!thread || !thread->syscall_active)
		return 0;
	thread->syscall_active = 0;
	if (ret == -ENOMEM && is_outermost(thread, thread->depth) &&
	    (nr == NR_MMAP || nr == NR_MREMAP))
		return failure_add(thread->space, FAILURE_CAUSE_MAPPING, stack_capture_entry(thread, false),
				   thread->syscall_args[nr == NR_MMAP ? 1 : 2]);
	if (ret < 0 && ret > -4096)
		return 0;
	if (nr == NR_BRK && (__u64)ret == thread->syscall_brk)
		return 0; /* a question, or a refusal */
	if (has_mapped_code(thread, nr, ret))
		code_has_changed(thread);
	if (nr != NR_MUNMAP)
		stack_id = stack_capture_entry(thread, false);
	event = event_reserve(kind_of_syscall(nr), thread->space);
	if (!event)
		return 0;
	event->begin_ns = thread->syscall_begin_ns;
	event->stack_id = stack_id;
	if (!is_outermost(thread, thread->depth))
		event->flags |= EVENT_IN_ALLOCATOR;
	if (nr == NR_MREMAP) {
		event->remap.old_addr = thread->syscall_args[0];
		event->remap.old_len = thread->syscall_args[1];
		event->remap.addr = ret;
		event->remap.len = thread->syscall_args[2];
		event->remap.flags = thread->syscall_args[3];
	} else if (nr == NR_BRK) {
		event->remap.old_addr = thread->syscall_brk;
		event->remap.addr = ret;
	} else {
		fill_map(event, thread, nr, ret);
	}
	if (nr == NR_MMAP && event->map.ino && event->map.prot & PROT_EXEC)
		event->kind = EV_EXEC_MAP;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* The kernel kills a process to get its memory. */
SEC("?tracepoint/oom/mark_victim")
int oom_victim(struct trace_event_raw_mark_victim *ctx)
{
	__u32 tgid = ctx->pid;
	struct proc *proc = bpf_map_lookup_elem(&procs, &tgid);
	struct event *event;

	if (!proc)
		return 0;
	event = event_reserve(EV_OOM_KILL, proc->space);
	if (!event)
		return 0;
	event->proc.tgid = tgid;
	bpf_ringbuf_submit(event, 0);
	return 0;
}
