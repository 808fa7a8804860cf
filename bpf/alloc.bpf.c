/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocator functions. The probe's cookie says how a function passes its arguments
 * (include/alloc_fn.h).
 *
 * A call is *pending* from its entry to its return, on a small stack per thread; entry and return
 * are matched by the stack pointer. Only the outermost call counts a block: what an allocator calls
 * on the way (malloc inside operator new, mmap inside malloc) belongs to it. A signal handler that
 * runs on top of a pending call is outermost again. Calls that never return (longjmp) are
 * recognised when the stack has been left below them.
 *
 * realloc takes the old block out of the table at entry, when nobody else can hold that address
 * yet, and puts it back if the call fails.
 */
#include "arch.bpf.h"
#include "block.bpf.h"
#include "failure.bpf.h"
#include "maps.bpf.h"
#include "python.bpf.h"
#include "stack.bpf.h"
#include "thread.bpf.h"

/*
 * Two entries with one stack pointer: a tail call (the return address is already the return probe's
 * trampoline), or the first call was left by longjmp and this is the next one.
 */
static __always_inline bool is_tail_call(__u64 ret_pc)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct xol_area *area = BPF_CORE_READ(task, mm, uprobes_state.xol_area);

	return area && BPF_CORE_READ(area, vaddr) == ret_pc;
}

/* Drops pending calls that cannot return any more because the stack was left below them. */
static __noinline int drop_abandoned(struct thread *thread, __u64 sp, __u64 ret_pc)
{
	if (!thread)
		return 0;
	for (int i = 0; i < MAX_PENDING && thread->depth; i++) {
		struct pending *top = PENDING(thread, thread->depth - 1);

		if (top->kind == PENDING_ALTSTACK || sp < top->sp)
			break;
		if (top->kind == PENDING_CALL) {
			if (sp == top->sp && is_tail_call(ret_pc))
				break;
			count(STAT_RETURNS_LOST, 1);
		}
		thread->depth--;
	}
	return 0;
}

static __always_inline __u64 requested_size(struct pt_regs *ctx, __u64 cookie)
{
	__u64 size = function_arg(ctx, ALLOC_FN_SIZE_ARG(cookie));
	__u64 cnt, limit;

	if (!ALLOC_FN_COUNT_ARG(cookie))
		return size;
	cnt = function_arg(ctx, ALLOC_FN_COUNT_ARG(cookie));
	if (!cnt)
		return 0;
	limit = ~0ULL / cnt;
	asm volatile("" : "+r"(limit)); /* or clang makes it a 128-bit product, which BPF has not */
	if (size > limit)
		return ~0ULL; /* the allocator will refuse it */
	return size * cnt;
}

/* A block is handed to realloc: take it out of the table while its fate is open. */
static __always_inline void pending_take_old(struct thread *thread, struct pending *call)
{
	if (block_take(owner_of(thread), call->old_addr, &call->old)) {
		call->flags |= PENDING_HAS_OLD;
		thread->last_freed = call->old_addr;
	} else if (thread->last_freed == call->old_addr) {
		call->old_addr = 0; /* the enclosing call has already taken it */
	} else {
		thread->last_freed = call->old_addr;
	}
}

/* Returns whether the call's return matters. */
static __always_inline bool on_alloc_enter(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), sp;
	struct thread *thread;
	struct pending *call;
	__u32 depth;

	if (!recording)
		return false;
	if (cookie & COOKIE_STEPPED)
		count(STAT_HITS_STEPPED, 1);
	thread = thread_current();
	if (!thread) {
		count(STAT_HITS_FOREIGN, 1);
		return false;
	}
	count(STAT_HITS_ALLOC, 1);
	sp = PT_REGS_SP(ctx);
	if (thread->depth)
		drop_abandoned(thread, sp, function_ret_pc(ctx));
	depth = thread->depth;
	if (depth >= MAX_PENDING) {
		count(STAT_PENDING_FULL, 1);
		return false;
	}
	call = PENDING(thread, depth);
	call->kind = PENDING_CALL;
	call->flags = 0;
	call->sp = sp;
	call->cookie = cookie;
	call->size = requested_size(ctx, cookie);
	call->out = ALLOC_FN_OUT_ARG(cookie) ? function_arg(ctx, ALLOC_FN_OUT_ARG(cookie)) : 0;
	call->old_addr = ALLOC_FN_OLD_ARG(cookie) ? function_arg(ctx, ALLOC_FN_OLD_ARG(cookie)) : 0;
	if (is_outermost(thread, depth) && is_skipped(call->size))
		call->flags |= PENDING_SKIPPED;
	if (call->old_addr && ALLOC_FN_OP(cookie) == ALLOC_OP_REALLOC)
		pending_take_old(thread, call);
	thread->depth = depth + 1;
	return true;
}

/* Pops the call that is returning. Returns it (valid until the next entry) or NULL. */
static __noinline struct pending *pending_pop(struct thread *thread, __u64 sp)
{
	__u32 depth = thread->depth;

	for (int i = 0; i < MAX_PENDING && depth; i++) {
		struct pending *call = PENDING(thread, --depth);

		if (call->kind == PENDING_CALL && call->sp == sp) {
			thread->depth = depth;
			return call;
		}
		if (call->kind == PENDING_CALL)
			count(STAT_RETURNS_LOST, 1);
	}
	count(STAT_RETURNS_UNMATCHED, 1);
	return NULL;
}

/* Returns the address of the new block, 0 when the call failed. */
static __always_inline __u64 returned_block(struct pt_regs *ctx, struct pending *call)
{
	__u64 addr = 0;

	if (!call->out)
		return PT_REGS_RC(ctx);
	if ((__s32)PT_REGS_RC(ctx) != 0) /* posix_memalign: an error number, *out is not touched */
		return 0;
	if (bpf_probe_read_user(&addr, sizeof(addr), (void *)call->out))
		count(STAT_OUT_UNREADABLE, 1);
	return addr;
}

static __always_inline void finish_old(struct thread *thread, struct pending *call, bool failed)
{
	struct block_key key = {.addr = call->old_addr, .space = thread->space};

	if (!(call->flags & PENDING_HAS_OLD)) {
		if (!failed)
			block_unknown(thread->space, call->old_addr);
		return;
	}
	if (!failed) {
		block_ended(owner_of(thread), call->old_addr, &call->old);
		return;
	}
	if (bpf_map_update_elem(&live_blocks, &key, &call->old, BPF_ANY)) {
		block_lost(call->old.size, thread->group, false);
		block_ended(owner_of(thread), call->old_addr, &call->old);
	} else {
		room_taken(thread->group, TABLE_BLOCKS);
		count(STAT_BLOCKS_ADDED, 1);
	}
}

static __always_inline void finish_alloc(struct pt_regs *ctx, struct thread *thread,
					 struct pending *call, __u64 addr)
{
	struct block_key key = {.addr = addr, .space = thread->space};
	struct block block = {.size = call->size, .layer = ALLOC_FN_LAYER(call->cookie)};

	note_new_block(addr);
	block.born_ns = bpf_ktime_get_ns();
	if (thread->last_freed == addr)
		thread->last_freed = 0;
	if (is_outermost(thread, thread->depth)) {
		if (call->flags & PENDING_SKIPPED)
			return;
		block.stack_id = stack_capture(thread, PT_REGS_IP(ctx), PT_REGS_SP(ctx),
					       PT_REGS_FP(ctx), false);
	} else {
		block.flags = BLOCK_NESTED;
		count(STAT_NESTED_ALLOCS, 1);
	}
	block_add(&key, &block, thread->group);
}

static __always_inline void alloc_failed(struct pt_regs *ctx, struct thread *thread,
					 struct pending *call)
{
	__u64 size = call->size, stack_id;

	count(STAT_FAILED_ALLOCS, 1);
	if (!is_outermost(thread, thread->depth))
		return;
	stack_id = stack_capture(thread, PT_REGS_IP(ctx), PT_REGS_SP(ctx), PT_REGS_FP(ctx), false);
	failure_add(thread->space, FAILURE_CAUSE_ALLOC, stack_id, size);
}

static __always_inline int on_alloc_exit(struct pt_regs *ctx)
{
	struct thread *thread = thread_known();
	struct pending *call;
	enum alloc_op op;
	bool failed;
	__u64 addr;

	if (!thread || !thread->depth) {
		if (thread && recording)
			count(STAT_RETURNS_UNMATCHED, 1);
		return 0;
	}
	count(STAT_HITS_RETURN, 1);
	call = pending_pop(thread, PT_REGS_SP(ctx) - RETURN_SP_SHIFT);
	if (!call)
		return 0;
	op = ALLOC_FN_OP(call->cookie);
	addr = returned_block(ctx, call);
	failed = !addr;
	if (op == ALLOC_OP_RESIZE) {
		/* xallocx returns the size that the block now really has; below the wish it stayed
		 * as it was. */
		if (addr < call->size || !block_take(owner_of(thread), call->old_addr, &call->old))
			return 0;
		block_ended(owner_of(thread), call->old_addr, &call->old);
		addr = call->old_addr;
	} else if (op == ALLOC_OP_REALLOC && call->old_addr) {
		/* Without memory but with a size nothing has happened; realloc(p, 0) may free and
		 * return NULL. */
		finish_old(thread, call, failed && call->size);
	}
	if (failed && (op != ALLOC_OP_REALLOC || call->size))
		alloc_failed(ctx, thread, call);
	if (!failed)
		finish_alloc(ctx, thread, call, addr);
	return 0;
}

SEC("?uprobe")
int alloc_enter(struct pt_regs *ctx)
{
	NO_PRIVATE_STACK(ctx);
	on_alloc_enter(ctx);
	return 0;
}

SEC("?uprobe")
int alloc_exit(struct pt_regs *ctx)
{
	NO_PRIVATE_STACK(ctx);
	return on_alloc_exit(ctx);
}

/* Session probes (6.13+) call one program for both; a non-zero answer at entry spares the return.
 */
SEC("?uprobe")
int alloc_session(struct pt_regs *ctx)
{
	NO_PRIVATE_STACK(ctx);
	if (bpf_get_func_ip(ctx) != PT_REGS_IP(ctx))
		return on_alloc_exit(ctx);
	return on_alloc_enter(ctx) ? 0 : 1;
}

SEC("?uprobe")
int free_enter(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u64 addr = function_arg(ctx, ALLOC_FN_OLD_ARG(cookie));
	struct thread *thread;
	struct block block;

	NO_PRIVATE_STACK(ctx);
	if (!recording || !addr)
		return 0;
	if (cookie & COOKIE_STEPPED)
		count(STAT_HITS_STEPPED, 1);
	thread = thread_current();
	if (!thread) {
		count(STAT_HITS_FOREIGN, 1);
		return 0;
	}
	count(STAT_HITS_FREE, 1);
	if (block_take(owner_of(thread), addr, &block))
		block_ended(owner_of(thread), addr, &block);
	else if (thread->last_freed != addr)
		block_unknown(thread->space, addr);
	thread->last_freed = addr;
	return 0;
}

/* A signal handler is about to run: what it allocates is its own, whatever call it interrupts. */
SEC("?raw_tp/signal_deliver")
int signal_deliver(struct bpf_raw_tracepoint_args *ctx)
{
	struct k_sigaction *action = (void *)ctx->args[2];
	struct thread *thread = thread_known();
	struct pt_regs regs;
	struct pending *mark;

	if (!thread || !thread->depth)
		return 0;
	if (thread->depth >= MAX_PENDING) {
		count(STAT_PENDING_FULL, 1);
		return 0;
	}
	if (bpf_probe_read_kernel(&regs, sizeof(regs),
				  (void *)bpf_task_pt_regs(bpf_get_current_task_btf())))
		return 0;
	mark = PENDING(thread, thread->depth);
	mark->kind =
		BPF_CORE_READ(action, sa.sa_flags) & 0x08000000 /* SA_ONSTACK */ ? PENDING_ALTSTACK
										 : PENDING_SIGNAL;
	mark->flags = 0;
	mark->sp = PT_REGS_SP(&regs);
	thread->depth++;
	return 0;
}

/* The handler is done: the interrupted call goes on. */
SEC("?tracepoint/syscalls/sys_enter_rt_sigreturn")
int signal_return(void *ctx)
{
	struct thread *thread = thread_known();
	__u32 depth;

	if (!thread)
		return 0;
	depth = thread->depth;
	for (int i = 0; i < MAX_PENDING && depth; i++) {
		if (PENDING(thread, --depth)->kind == PENDING_CALL)
			continue;
		thread->depth = depth;
		break;
	}
	return 0;
}
