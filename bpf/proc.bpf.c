/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of processes. fork gives the child a space of its own that inherits the parent's blocks;
 * nothing is copied: as long as a descendant lives, the ancestor's frees and the descendant's frees
 * of inherited addresses are sent to user space, which works out who owns what (collect/lineage.c).
 * A child that shares its parent's memory (vfork, clone(CLONE_VM)) lives in the parent's space
 * until it execs.
 */
#include "code.bpf.h"
#include "maps.bpf.h"
#include "preempt.bpf.h"
#include "thread.bpf.h"

/* A space has ended and nobody inherits from it any more: its ancestors lose an heir, and so on
 * upwards. */
static __noinline int space_release(__u32 id)
{
	for (int i = 0; i < MAX_LINEAGE; i++) {
		struct space *space = bpf_map_lookup_elem(&spaces, &id), *parent;
		__u32 parent_id;

		if (!space)
			break;
		/* Two last heirs may arrive at once; the one that sets the mark goes on. */
		if (__sync_fetch_and_or(&space->flags, SPACE_RELEASED) & SPACE_RELEASED)
			break;
		parent_id = space->parent;
		if (!parent_id)
			break;
		__sync_fetch_and_sub(&heirs_total, 1);
		parent = bpf_map_lookup_elem(&spaces, &parent_id);
		if (!parent)
			break;
		if (__sync_fetch_and_sub(&parent->heirs, 1) != 1 || !(parent->flags & SPACE_ENDED))
			break;
		id = parent_id;
	}
	return 0;
}

static __always_inline void space_end(__u32 id)
{
	struct space *space = bpf_map_lookup_elem(&spaces, &id);

	if (!space)
		return;
	bpf_map_delete_elem(&python_procs, &id);
	__sync_fetch_and_or(&space->flags, SPACE_ENDED);
	if (!space->heirs)
		space_release(id);
}

UNPREEMPTED(process_fork, "?raw_tp/sched_process_fork")
{
	struct task_struct *parent = (void *)ctx->args[0], *child = (void *)ctx->args[1];
	__u32 parent_tgid = BPF_CORE_READ(parent, tgid), child_tgid = BPF_CORE_READ(child, tgid),
	      id;
	struct proc *proc, borrowed = {.flags = PROC_BORROWED};
	struct python_proc *python;
	struct space *space;

	if (parent_tgid == child_tgid || in_windows)
		return;
	proc = bpf_map_lookup_elem(&procs, &parent_tgid);
	if (!proc)
		return;
	if (BPF_CORE_READ(parent, mm) == BPF_CORE_READ(child, mm)) {
		borrowed.space = proc->space;
		bpf_map_update_elem(&procs, &child_tgid, &borrowed, BPF_ANY);
		return;
	}
	id = proc->space;
	bpf_map_delete_elem(&procs, &child_tgid); /* left over from an exit that was not seen */
	space = bpf_map_lookup_elem(&spaces, &id);
	if (!space)
		return;
	space->last_fork_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&space->heirs, 1);
	__sync_fetch_and_add(&heirs_total, 1);
	python = bpf_map_lookup_elem(&python_procs, &id);
	id = space_create(child_tgid, id);
	if (id) {
		if (python)
			bpf_map_update_elem(&python_procs, &id, python, BPF_ANY);
		event_submit_proc(EV_FORK, id, child_tgid, proc->space, child);
	} else {
		__sync_fetch_and_sub(&space->heirs, 1);
		__sync_fetch_and_sub(&heirs_total, 1);
	}
}

/* Tells what exec has mapped at `addr`: the process may be gone before anybody reads its list. */
static __noinline int tell_code(__u64 addr, __u32 space)
{
	struct found_code found;
	struct event *event;

	if (code_find_mapping(addr, &found) || !found.file.ino)
		return 0;
	event = event_reserve(EV_CODE_MAP, space);
	if (!event)
		return 0;
	event->code.addr = addr;
	event->code.start = found.start;
	event->code.end = found.end;
	event->code.pgoff = found.pgoff << 12;
	event->code.file = found.file;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

static __always_inline void tell_program(struct task_struct *task, __u32 space)
{
	struct pt_regs regs;

	tell_code(BPF_CORE_READ(task, mm, start_code), space);
	/* Where it will begin to run: in its loader, if it has one. */
	if (!bpf_probe_read_kernel(&regs, sizeof(regs),
				   (void *)bpf_task_pt_regs(bpf_get_current_task_btf())))
		tell_code(PT_REGS_IP(&regs), space);
}

UNPREEMPTED(process_exec, "?raw_tp/sched_process_exec")
{
	struct task_struct *task = (void *)ctx->args[0];
	__u32 tgid = bpf_get_current_pid_tgid() >> 32, old = SPACE_NONE, id;
	struct thread *thread = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0, 0);
	struct proc *proc = bpf_map_lookup_elem(&procs, &tgid);
	struct event *event;

	if (proc) {
		old = proc->space;
		if (!(proc->flags & PROC_BORROWED))
			space_end(old);
		bpf_map_delete_elem(&procs, &tgid);
		id = space_create(tgid, SPACE_NONE);
		if (thread) {
			thread->space = id;
			thread->group = space_group(id, task);
			thread->depth = 0;
			__builtin_memset(thread->pools, 0, sizeof(thread->pools));
			thread->syscall_active = 0;
			thread->last_freed = 0;
		}
		if (id)
			event_submit_proc(EV_EXEC, id, tgid, old, task);
		if (id)
			tell_program(task, id);
		return;
	}
	if (!watch_execs || tgid == own_tgid)
		return;
	event = event_reserve(EV_EXEC, SPACE_NONE);
	if (!event)
		return;
	event->flags = EVENT_UNTRACED;
	event->proc.tgid = tgid;
	bpf_probe_read_kernel_str(event->proc.comm, sizeof(event->proc.comm), &task->comm);
	bpf_ringbuf_submit(event, 0);
}

UNPREEMPTED(process_exit, "?raw_tp/sched_process_exit")
{
	struct task_struct *task = (void *)ctx->args[0];
	__u32 tgid = BPF_CORE_READ(task, tgid), id;
	struct proc *proc = bpf_map_lookup_elem(&procs, &tgid);
	bool borrowed;

	if (!proc || BPF_CORE_READ(task, signal, live.counter) > 0)
		return;
	id = proc->space;
	borrowed = proc->flags & PROC_BORROWED;
	/* Two last threads may both see nobody left: one of them takes the process out. */
	if (bpf_map_delete_elem(&procs, &tgid) || borrowed)
		return;
	space_end(id);
	event_submit_proc(EV_EXIT, id, tgid, SPACE_NONE, task);
}

/* A process that is not traced may be wanted where it is now. */
UNPREEMPTED(cgroup_attach, "?raw_tp/cgroup_attach_task")
{
	struct task_struct *task = (void *)ctx->args[2];
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct event *event;

	if (bpf_map_lookup_elem(&procs, &tgid))
		return;
	event = event_reserve(EV_CGROUP_MOVE, SPACE_NONE);
	if (!event)
		return;
	event->flags = EVENT_UNTRACED;
	event->proc.tgid = tgid;
	bpf_ringbuf_submit(event, 0);
}
