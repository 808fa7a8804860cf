/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The places where CPython's object allocator gives and takes blocks, and the moments that matter
 * to a user (MemoryError, the end of the interpreter).
 */
#include "arch.bpf.h"
#include "block.bpf.h"
#include "failure.bpf.h"
#include "python.bpf.h"
#include "stack.bpf.h"
#include "thread.bpf.h"

#define GC_HEAD 16     /* PyGC_Head in front of an object */
#define MAX_BLOCK 512  /* SMALL_REQUEST_THRESHOLD, Objects/obmalloc.c */
#define MAX_CLASSES 64 /* of 8 bytes each before 3.7, else of 16 */

/* ---- objects ----------------------------------------------------------------------------------
 */

/* Returns the block's address, 0 = it could not be read. */
static __always_inline __u64 site_block(struct pt_regs *ctx, __u64 cookie)
{
	__u64 addr = register_of(ctx, PYTHON_SITE_REG(cookie)) + (__s64)PYTHON_SITE_DISP(cookie);

	if (PYTHON_SITE_PLACE(cookie) == PYTHON_PLACE_REG)
		return addr;
	if (bpf_probe_read_user(&addr, sizeof(addr), (void *)addr)) {
		count(STAT_OUT_UNREADABLE, 1);
		return 0;
	}
	return addr;
}

/*
 * Returns the number of the size class of a pool, MAX_CLASSES = that is no pool. For a moment its
 * page may not be there, while the kernel makes a huge one of it or moves it: then it is of the
 * class that this thread last saw it to be of.
 */
static __always_inline __u32 pool_class(struct thread *thread, __u64 pool, __u32 shift)
{
	__u64 *known = &thread->pools[pool >> shift & (KNOWN_POOLS - 1)];
	__u32 class;

	if (bpf_probe_read_user(&class, sizeof(class), (void *)(pool + PYTHON_POOL_CLASS))) {
		count(STAT_POOLS_UNREADABLE, 1);
		return (*known ^ pool) < MAX_CLASSES ? *known ^ pool : MAX_CLASSES;
	}
	if (class >= MAX_CLASSES)
		return MAX_CLASSES;
	*known = pool | class;
	return class;
}

/* Returns the size of the blocks of the pool that holds `addr`, 0 = that is no pool. */
static __always_inline __u64 pool_block_size(struct thread *thread, __u64 addr, __u64 cookie)
{
	__u32 shift = PYTHON_SITE_SHIFT(cookie) & 31, class;
	__u64 size;

	class = pool_class(thread, addr & ~((1ULL << shift) - 1), shift);
	size = ((__u64) class + 1) * PYTHON_SITE_ALIGN(cookie);
	return class < MAX_CLASSES && size <= MAX_BLOCK ? size : 0;
}

static __always_inline void object_made(struct pt_regs *ctx, struct thread *thread, __u64 addr,
					__u64 cookie)
{
	struct block_key key = {.addr = addr, .space = thread->space};
	struct block block = {.layer = LAYER_PYTHON};

	count(STAT_HITS_OBJECT, 1);
	note_new_block(addr);
	block.size = pool_block_size(thread, addr, cookie);
	if (!block.size) {
		count(STAT_OBJECTS_UNSIZED, 1);
		return;
	}
	if (is_skipped(block.size))
		return;
	block.born_ns = bpf_ktime_get_ns();
	block.stack_id =
		stack_capture(thread, PT_REGS_IP(ctx), PT_REGS_SP(ctx), PT_REGS_FP(ctx), true);
	block_add(&key, &block, thread->group);
}

static __always_inline void object_freed(struct thread *thread, __u64 addr)
{
	struct block block;

	count(STAT_HITS_OBJECT_FREE, 1);
	if (block_take(owner_of(thread), addr, &block))
		block_ended(owner_of(thread), addr, &block);
	else
		count(STAT_OBJECTS_UNKNOWN, 1);
}

/* Returns where the block begins that holds an object, 0 = in no pool. */
static __always_inline __u64 block_of_object(__u64 object, __u64 size, __u64 cookie)
{
	__u64 first =
		(object & ~((1ULL << (PYTHON_SITE_SHIFT(cookie) & 31)) - 1)) + PYTHON_POOL_HEADER;

	if (!size || object < first + GC_HEAD)
		return size && object == first ? object : 0;
	if ((object - GC_HEAD - first) % size == 0)
		return object - GC_HEAD;
	return (object - first) % size == 0 ? object : 0;
}

/*
 * The interpreter keeps freed objects of some types for the next ones. The block has never left it,
 * but what is in it now was made here (as tracemalloc has it, _PyTraceMalloc_NewReference).
 */
static __always_inline void object_renewed(struct pt_regs *ctx, struct thread *thread, __u64 object,
					   __u64 cookie)
{
	struct block_key key = {.space = thread->space};
	struct block block = {.layer = LAYER_PYTHON}, old;

	count(STAT_HITS_OBJECT, 1);
	block.size = pool_block_size(thread, object, cookie);
	key.addr = block_of_object(object, block.size, cookie);
	if (!key.addr || is_skipped(block.size))
		return;
	if (block_take(owner_of(thread), key.addr, &old))
		block_ended(owner_of(thread), key.addr, &old);
	block.born_ns = bpf_ktime_get_ns();
	block.stack_id =
		stack_capture(thread, PT_REGS_IP(ctx), PT_REGS_SP(ctx), PT_REGS_FP(ctx), true);
	block_add(&key, &block, thread->group);
}

SEC("?uprobe")
int python_site(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), addr;
	struct thread *thread;

	NO_PRIVATE_STACK(ctx);
	if (!recording)
		return 0;
	if (cookie & COOKIE_STEPPED)
		count(STAT_HITS_STEPPED, 1);
	thread = thread_current();
	if (!thread) {
		count(STAT_HITS_FOREIGN, 1);
		return 0;
	}
	addr = site_block(ctx, cookie);
	if (!addr)
		return 0;
	switch (PYTHON_SITE_OP(cookie)) {
	case PYTHON_OP_ALLOC:
		object_made(ctx, thread, addr, cookie);
		break;
	case PYTHON_OP_FREE:
		object_freed(thread, addr);
		break;
	case PYTHON_OP_RENEW:
		object_renewed(ctx, thread, addr, cookie);
		break;
	}
	return 0;
}

/* ---- moments ----------------------------------------------------------------------------------
 */

/* MemoryError is about to be raised. */
SEC("?uprobe")
int python_no_memory(struct pt_regs *ctx)
{
	struct thread *thread;
	__u64 stack_id;

	NO_PRIVATE_STACK(ctx);
	if (!recording)
		return 0;
	thread = thread_current();
	if (!thread)
		return 0;
	stack_id = stack_capture(thread, PT_REGS_IP(ctx), PT_REGS_SP(ctx), PT_REGS_FP(ctx), true);
	failure_add(thread->space, FAILURE_CAUSE_MEMORY_ERROR, stack_id, 0);
	return 0;
}

/*
 * The interpreter is about to tear everything down: what is live now is what the program kept. The
 * process is not looked at any more.
 */
SEC("?uprobe")
int python_finalize(struct pt_regs *ctx)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct thread *thread;
	struct event *event;
	struct proc *proc;

	NO_PRIVATE_STACK(ctx);
	if (!recording)
		return 0;
	thread = thread_current();
	proc = bpf_map_lookup_elem(&procs, &tgid);
	if (!thread || !proc)
		return 0;
	event = event_reserve(EV_PYTHON_FINALIZE, thread->space);
	if (event)
		bpf_ringbuf_submit(event, 0);
	__sync_fetch_and_or(&proc->flags, PROC_FINALIZING);
	__sync_fetch_and_add(&target_epoch, 1);
	return 0;
}
