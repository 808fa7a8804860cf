/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is running: the state of the current thread, and the space its process lives in. */
#ifndef LEAKSWEEP_THREAD_BPF_H
#define LEAKSWEEP_THREAD_BPF_H

#include "maps.bpf.h"
#include "share.bpf.h"

static __always_inline struct event *event_reserve(enum event_kind kind, __u32 space)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count(STAT_EVENTS_LOST, 1);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->kind = kind;
	event->space = space;
	event->time_ns = bpf_ktime_get_ns();
	return event;
}

static __always_inline void event_submit_proc(enum event_kind kind, __u32 space, __u32 tgid,
					      __u32 parent, struct task_struct *task)
{
	struct event *event = event_reserve(kind, space);

	if (!event)
		return;
	event->proc.tgid = tgid;
	event->proc.parent = parent;
	event->proc.exit_code = BPF_CORE_READ(task, exit_code);
	bpf_probe_read_kernel_str(event->proc.comm, sizeof(event->proc.comm), &task->comm);
	bpf_ringbuf_submit(event, 0);
}

/* Makes a space for `tgid` unless it has one. Returns the space of the process, or SPACE_NONE
 * (table full). */
static __noinline __u32 space_create(__u32 tgid, __u32 parent)
{
	__u32 id = __sync_fetch_and_add(&next_space, 1) + 1;
	struct space space = {.tgid = tgid, .parent = parent};
	struct proc proc = {.space = id}, *other;

	space.born_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&spaces, &id, &space, BPF_ANY)) {
		count(STAT_SPACES_FULL, 1);
		return SPACE_NONE;
	}
	if (!bpf_map_update_elem(&procs, &tgid, &proc, BPF_NOEXIST))
		return id;
	bpf_map_delete_elem(&spaces, &id);
	other = bpf_map_lookup_elem(&procs, &tgid);
	if (other)
		return other->space;
	count(STAT_SPACES_FULL, 1);
	return SPACE_NONE;
}

/* The slow path of thread_current(): a thread's first hit, or its first after the target list has
 * changed. */
static __noinline struct thread *thread_join(struct task_struct *task, struct thread *thread)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32, space = SPACE_NONE, epoch = target_epoch;
	struct proc *proc = bpf_map_lookup_elem(&procs, &tgid);

	if (proc) {
		if (!(proc->flags & PROC_FINALIZING))
			space = proc->space;
	} else if (trace_all && tgid != own_tgid) {
		space = space_create(tgid, SPACE_NONE);
		if (space)
			event_submit_proc(EV_SPACE_NEW, space, tgid, SPACE_NONE, task);
	}
	if (!space && !thread)
		return NULL;
	if (!thread) {
		thread = bpf_task_storage_get(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!thread) {
			count(STAT_THREADS_LOST, 1);
			return NULL;
		}
	}
	/* A window that begins: the returns of calls that the last one cut off were not seen. */
	if (thread->space != space || in_windows) {
		thread->depth = 0;
		__builtin_memset(thread->pools, 0, sizeof(thread->pools));
	}
	thread->space = space;
	thread->group = space_group(space, task);
	thread->epoch = epoch;
	return space ? thread : NULL;
}

/* Returns the state of the current thread, or NULL when its process is not traced. */
static __always_inline struct thread *thread_current(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *thread = bpf_task_storage_get(&threads, task, 0, 0);

	if (thread && thread->epoch == target_epoch)
		return thread->space ? thread : NULL;
	return thread_join(task, thread);
}

/* The same for events between an entry and its return: never begins to trace a thread. */
static __always_inline struct thread *thread_known(void)
{
	struct thread *thread = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0, 0);

	return thread && thread->space ? thread : NULL;
}

#endif
