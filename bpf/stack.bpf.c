/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A walk goes from frame to frame by the rules of include/unwind.h, in the thread's own storage,
 * which no other task's probe can touch. A frame is kept only when code is mapped at its address:
 * what is reported is right as far as it goes, and why it goes no further is told with it.
 *
 * The thread's last walk is remembered with every word that it read; as long as these are the same,
 * so is the stack (struct memo). Stacks are kept once by content: the id is a seeded 64-bit hash of
 * the frames, a second hash tells when two stacks share an id.
 */
#include "share.bpf.h"
#include "arch.bpf.h"
#include "stack.bpf.h"
#include "code.bpf.h"
#include "python.bpf.h"
#include "include/unwind_cfa.h"

#define GO_ON 0
#define TRAMPOLINE_BYTES 0x11

/*
 * A probe on a function's return replaces the return address on the stack by its trampoline; the
 * kernel keeps the real one (struct return_instance, kernel/events/uprobes.c), newest first.
 */
__noinline __u64 stack_real_pc(__u64 slot, __u64 pc)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct return_instance *instance = BPF_CORE_READ(task, utask, return_instances);
	__u64 real_pc = pc, stack, found = 0;

	/* Of several on one slot (tail calls) the oldest holds the address that was there first. */
	for (int i = 0; i < 4 * MAX_PENDING && instance; i++) {
		stack = BPF_CORE_READ(instance, stack);
		if (return_is_at(stack, slot, found)) {
			found = stack;
			real_pc = BPF_CORE_READ(instance, orig_ret_vaddr);
		}
		instance = BPF_CORE_READ(instance, next);
	}
	return real_pc;
}

static __always_inline __u64 trampoline_of_current(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct xol_area *area = BPF_CORE_READ(task, mm, uprobes_state.xol_area);

	return area ? BPF_CORE_READ(area, vaddr) : 0;
}

/* Reads one word of the stack through the window. Returns whether it could be read. */
static __always_inline bool read_word(struct walker *walker, __u64 addr, __u64 *ret_value)
{
	__u64 word = (addr - walker->window_at) / 8;

	if (addr & 7)
		return !bpf_probe_read_user(ret_value, sizeof(*ret_value), (void *)addr);
	if (word >= walker->window_words) {
		/* One long read costs little more than a short one; it fails where the stack's last
		 * page ends. */
		walker->window_words = 0;
		if (bpf_probe_read_user(walker->window, sizeof(walker->window), (void *)addr))
			return !bpf_probe_read_user(ret_value, sizeof(*ret_value), (void *)addr);
		walker->window_at = addr;
		walker->window_words = STACK_WINDOW;
		word = 0;
	}
	*ret_value = walker->window[word & (STACK_WINDOW - 1)];
	return true;
}

/* The same for a walk, which remembers what it depends on. */
static __always_inline bool walk_word(struct walker *walker, __u64 addr, __u64 *ret_value)
{
	__u32 i = walker->walk.depend_cnt;
	__u64 at = addr - walker->memo.sp;

	if (!read_word(walker, addr, ret_value))
		return false;
	if (i >= MAX_DEPENDS || at > (__u32)~0U) {
		walker->walk.depend_cnt = MAX_DEPENDS + 1;
		return true;
	}
	walker->memo.depend_at[i & (MAX_DEPENDS - 1)] = at;
	walker->memo.depend[i & (MAX_DEPENDS - 1)] = *ret_value;
	walker->walk.depend_cnt = i + 1;
	return true;
}

/* Adds the frame that the walk has reached. */
static __always_inline void keep_frame(struct walker *walker, __u64 frame)
{
	walker->stack.frame[walker->walk.frame_cnt++ & (MAX_FRAMES - 1)] = frame;
	stack_hash_add(&walker->walk.hash, frame);
}

/* Goes on to pc, which is code or the end. Returns GO_ON or how the walk ended. */
__noinline int stack_enter_frame(struct thread *thread, struct walker *walker, __u64 pc,
				 bool interrupted)
{
	int rule;

	if (!thread || !walker)
		return UNWIND_BROKEN;
	if (!pc)
		return UNWIND_COMPLETE;
	if (walker->walk.frame_cnt >= MAX_FRAMES)
		return UNWIND_TRUNCATED;
	walker->walk.look = interrupted ? pc : pc - 1;
	rule = code_find_rule(thread, walker, walker->walk.look);
	if (rule == CODE_NOWHERE)
		return UNWIND_NO_CODE;
	/* Nobody has called the end of a signal handler: its first byte is meant. */
	keep_frame(walker, walker->walk.frame + (rule == UNWIND_RULE_SIGNAL && !interrupted));
	walker->walk.pc = pc;
	return rule == CODE_NO_TABLE ? UNWIND_NO_TABLE : GO_ON;
}

/*
 * The signal came between a probed function and its caller, in the trampoline of return probes. On
 * x86-64 that is (arch/x86/kernel/uprobes.c, since 6.11)
 *
 *	0 push %rax; 1 push %rcx; 2 push %r11; 4 mov $nr, %rax; 0xb syscall; 0xd pop %r11;
 *	0xf pop %rcx; 0x10 ret
 *
 * and the system call puts the real return address in the place of rax. Older ones are one trap.
 */
static __always_inline int step_trampoline(struct thread *thread, struct walker *walker, __u64 at)
{
	struct walk *walk = &walker->walk;
	__u64 slot, pc;

	if (at >= 0xd)
		slot = walk->sp + (at == 0xd ? 16 : at == 0xf ? 8 : 0);
	else
		slot = walk->sp + (at == 0 ? -8 : at == 1 ? 0 : at == 2 ? 8 : 16);
	if (!walk_word(walker, slot, &pc))
		return UNWIND_UNREADABLE;
	if (at < 0xd)
		pc = stack_real_pc(slot, pc);
	walk->depend_cnt = MAX_DEPENDS + 1;
	walk->sp = slot + 8;
	walk->context = 0;
	return stack_enter_frame(thread, walker, pc, false);
}

/* Behind a signal handler: the interrupted code, anywhere in its function. */
static __always_inline int step_signal(struct thread *thread, struct walker *walker)
{
	struct walk *walk = &walker->walk;
	__u64 context = walk->sp + SIGNAL_CONTEXT, fp, sp, pc;

	if (!walk_word(walker, unwind_context_word(context, CONTEXT_FP), &fp) ||
	    !walk_word(walker, unwind_context_word(context, CONTEXT_SP), &sp) ||
	    !walk_word(walker, unwind_context_word(context, CONTEXT_PC), &pc))
		return UNWIND_UNREADABLE;
	walk->context = context;
	walk->fp = fp;
	walk->sp = sp;
	walk->fp_lost = false;
	walk->chained = false;
	if (walk->trampoline && pc - walk->trampoline < TRAMPOLINE_BYTES)
		return step_trampoline(thread, walker, pc - walk->trampoline);
	return stack_enter_frame(thread, walker, pc, true);
}

/* Code without a rule: by its frame pointer, if it keeps one. */
static __always_inline int step_chain(struct thread *thread, struct walker *walker)
{
	struct walk *walk = &walker->walk;
	__u64 fp, pc;

	if (!walk->fp && walk->chained)
		return UNWIND_COMPLETE;
	if (walk->fp_lost || walk->fp < walk->sp || walk->fp & 7)
		return UNWIND_NO_RULE;
	if (!walk_word(walker, walk->fp, &fp) || !walk_word(walker, walk->fp + 8, &pc))
		return UNWIND_NO_RULE;
	pc = return_address(pc);
	if (pc == walk->trampoline) {
		pc = stack_real_pc(walk->fp + 8, pc);
		walk->depend_cnt = MAX_DEPENDS + 1;
	}
	if (pc && !is_behind_call(pc))
		return UNWIND_NO_RULE;
	walk->sp = walk->fp + 16;
	walk->fp = fp;
	walk->context = 0;
	walk->chained = true;
	walk->depend_cnt = MAX_DEPENDS + 1; /* it depended on the code's own bytes */
	walker->stack.chained = true;
	return stack_enter_frame(thread, walker, pc, false);
}

static __always_inline struct unwind_regs regs_of(const struct walk *walk)
{
	return (struct unwind_regs){
		.pc = walk->pc,
		.sp = walk->sp,
		.fp = walk->fp,
		.context = walk->context,
		.fp_lost = walk->fp_lost,
	};
}

/* Finds the CFA of the frame. Returns GO_ON or how the walk ended. */
static __always_inline int find_cfa(struct walker *walker, __u64 *ret_cfa)
{
	struct unwind_regs regs = regs_of(&walker->walk);
	struct unwind_cfa cfa;
	__u64 value; /* read outside of the struct, which then needs no stack */
	int err;

	err = unwind_find_cfa(&walker->walk.row, &regs, &cfa);
	if (err)
		return err;
	value = cfa.value;
	if (cfa.indirect && !walk_word(walker, value, &value))
		return UNWIND_UNREADABLE;
	*ret_cfa = value + cfa.add;
	return GO_ON;
}

/* To the caller's frame. Returns GO_ON or how the walk ended. */
static __always_inline int step_rule(struct thread *thread, struct walker *walker)
{
	struct walk *walk = &walker->walk;
	struct unwind_caller caller;
	struct unwind_regs regs;
	__u64 cfa, fp, pc;
	int err;

	err = find_cfa(walker, &cfa);
	if (err)
		return err;
	regs = regs_of(walk);
	err = unwind_find_caller(&walk->row, &regs, cfa, &caller);
	if (err)
		return err;
	walk->fp_lost = caller.fp_lost;
	fp = caller.fp;
	if (caller.fp_saved && !walk_word(walker, fp, &fp))
		return UNWIND_UNREADABLE;
	if (!walk_word(walker, caller.pc_at, &pc))
		return UNWIND_UNREADABLE;
	if (pc && pc == walk->trampoline) {
		pc = stack_real_pc(caller.pc_at, pc);
		walk->depend_cnt = MAX_DEPENDS + 1;
	}
	walk->sp = cfa;
	walk->fp = fp;
	walk->context = 0;
	walk->chained = false;
	return stack_enter_frame(thread, walker, pc, false);
}

__noinline int stack_step(struct thread *thread, struct walker *walker)
{
	if (!thread || !walker)
		return UNWIND_BROKEN;
	switch (walker->walk.row.rule) {
	case UNWIND_RULE_END:
		return UNWIND_COMPLETE;
	case UNWIND_RULE_SIGNAL:
		return step_signal(thread, walker);
	case UNWIND_RULE_NONE:
		return step_chain(thread, walker);
	default:
		return step_rule(thread, walker);
	}
}

/* What was known of the code is forgotten when it may have changed. */
static __noinline int check_code_epoch(struct thread *thread, struct walker *walker)
{
	__u32 epoch;

	if (!thread || !walker)
		return 0;
	epoch = code_epochs[thread->space & (CODE_EPOCHS - 1)];
	if (!mappings_watched)
		epoch += bpf_ktime_get_ns() >> 24;
	if (thread->code_space == thread->space && thread->code_epoch == epoch)
		return 0;
	thread->code_space = thread->space;
	thread->code_epoch = epoch;
	walker->memo.stack_id = STACK_LOST;
	for (int i = 0; i < KNOWN_RULES; i++)
		thread->rules[i].pc = 0;
	return 0;
}

/* Whether every word that the last walk depended on is unchanged. */
__noinline bool stack_memo_holds(struct walker *walker)
{
	__u64 value;

	if (!walker)
		return false;
	for (__u32 i = 0; i < MAX_DEPENDS; i++) {
		if (i >= walker->memo.depend_cnt)
			break;
		if (!read_word(walker, walker->memo.sp + walker->memo.depend_at[i], &value) ||
		    value != walker->memo.depend[i])
			return false;
	}
	return true;
}

static __always_inline void count_end(__u32 end)
{
	switch (end) {
	case UNWIND_COMPLETE:
		return;
	case UNWIND_TRUNCATED:
		return count(STAT_STACKS_TRUNCATED, 1);
	case UNWIND_NO_TABLE:
		return count(STAT_STACKS_NO_TABLE, 1);
	case UNWIND_NO_RULE:
		return count(STAT_STACKS_NO_RULE, 1);
	case UNWIND_ODD_RULE:
		return count(STAT_STACKS_ODD_RULE, 1);
	case UNWIND_UNREADABLE:
		return count(STAT_STACKS_UNREADABLE, 1);
	case UNWIND_NO_CODE:
		return count(STAT_STACKS_NO_CODE, 1);
	default:
		return count(STAT_STACKS_BROKEN, 1);
	}
}

/* Stores the stack in the thread's scratch. Returns its id, or STACK_LOST (counted). */
static __noinline __u64 store(struct walker *walker)
{
	struct stack_frames *stored;
	struct stack_hash *known, *hash;
	__u64 id;
	int err; /* not long, as in block_add() */

	if (!walker)
		return STACK_LOST;
	hash = &walker->walk.hash;
	id = hash->id;
	known = &walker->known[id & (KNOWN_STACKS - 1)];
	if (known->id == id && known->check == hash->check)
		return id;
	stored = bpf_map_lookup_elem(&stack_frames, &id);
	if (stored) {
		if (stored->check == hash->check && stored->frame_cnt == walker->stack.frame_cnt) {
			known->id = id;
			known->check = hash->check;
			return id;
		}
		count(STAT_STACK_COLLISIONS, 1);
		return STACK_LOST;
	}
	if (!has_room(walker->group, TABLE_STACKS)) {
		room_refused(walker->group, TABLE_STACKS);
		count(STAT_STACKS_LOST, 1);
		return STACK_LOST;
	}
	walker->stack.check = hash->check;
	err = bpf_map_update_elem(&stack_frames, &id, &walker->stack, BPF_NOEXIST);
	if (!err)
		room_taken(walker->group, TABLE_STACKS);
	if (err && err != -EEXIST) { /* else another thread was faster */
		count(STAT_STACKS_LOST, 1);
		return STACK_LOST;
	}
	return id;
}

/* Copies the return addresses that probes have replaced. */
static __always_inline void copy_returns(struct raw_stack *raw)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct return_instance *instance = BPF_CORE_READ(task, utask, return_instances);
	__u32 cnt = 0;

	for (int i = 0; i < MAX_RAW_RETURNS; i++) {
		if (!instance)
			break;
		raw->returns[i].slot = BPF_CORE_READ(instance, stack);
		raw->returns[i].pc = BPF_CORE_READ(instance, orig_ret_vaddr);
		cnt = i + 1;
		instance = BPF_CORE_READ(instance, next);
	}
	raw->return_cnt = cnt;
}

/*
 * Hands the rest of the stack to user space, which gets the table that is missing. Returns the id
 * under which it will be known, or STACK_LOST when there is no room.
 */
static __noinline __u64 defer(struct thread *thread, struct walker *walker)
{
	struct raw_stack *raw;
	struct walk *walk;

	if (!thread || !walker)
		return STACK_LOST;
	walk = &walker->walk;
	raw = bpf_ringbuf_reserve(&raw_stacks, sizeof(*raw), 0);
	if (!raw)
		return STACK_LOST;
	/* An id of its own: equal frames so far need not go on equally. */
	walk->hash.id ^= __sync_fetch_and_add(&deferred_stacks, 1) * 0xc2b2ae3d27d4eb4fULL;
	raw->stack_id = store(walker);
	if (!raw->stack_id) {
		bpf_ringbuf_discard(raw, 0);
		return STACK_LOST;
	}
	raw->time_ns = bpf_ktime_get_ns();
	raw->pc = walk->look;
	raw->sp = walk->sp;
	raw->fp = walk->fp;
	raw->context = walk->context;
	raw->space = thread->space;
	raw->fp_lost = walk->fp_lost;
	raw->trampoline = walk->trampoline;
	copy_returns(raw);
	raw->len = 0;
	for (int i = 0; i < RAW_STACK_PIECES; i++) {
		if (bpf_probe_read_user(raw->bytes + i * RAW_STACK_PIECE, RAW_STACK_PIECE,
					(void *)(walk->sp + i * RAW_STACK_PIECE)))
			break;
		raw->len = (i + 1) * RAW_STACK_PIECE;
	}
	count(STAT_STACKS_DEFERRED, 1);
	walk->hash.id = raw->stack_id;
	bpf_ringbuf_submit(raw, 0);
	return walk->hash.id;
}

static __always_inline void begin_walk(struct walker *walker, __u64 sp, __u64 fp, __u64 python)
{
	struct walk *walk = &walker->walk;

	walk->sp = sp;
	walk->fp = fp;
	walk->context = 0;
	walk->trampoline = trampoline_of_current();
	walk->hash = stack_hash_begin(hash_seed ^ python);
	walk->depend_cnt = 0;
	walk->frame_cnt = 0;
	walk->fp_lost = false;
	walk->chained = false;
	walker->stack.chained = false;
	walker->stack.python = python;
}

/* A function that calls no other may keep its return address in a register alone. */
static __noinline int step_leaf(struct thread *thread, struct walker *walker)
{
	__u64 pc = return_address(link_register()), saved;
	struct walk *walk;

	if (!thread || !walker)
		return UNWIND_BROKEN;
	walk = &walker->walk;
	if (!pc || pc == walk->trampoline || !is_behind_call(pc))
		return GO_ON;
	if (!walk_word(walker, walk->fp + 8, &saved) || return_address(saved) == pc)
		return GO_ON; /* it has a frame, which is next */
	return stack_enter_frame(thread, walker, pc, false);
}

static __always_inline __u32 walk_all(struct thread *thread, struct walker *walker, __u64 pc,
				      bool at_pc)
{
	int end;

	if (!walker)
		return UNWIND_LOST;
	end = stack_enter_frame(thread, walker, pc, at_pc);
	if (!ARCH_HAS_TABLES && !end)
		end = step_leaf(thread, walker);
	for (int i = 0; i <= MAX_FRAMES && !end; i++)
		end = stack_step(thread, walker);
	stack_hash_end(&walker->walk.hash, end);
	return end;
}

__noinline __u64 stack_capture(struct thread *thread, __u64 pc, __u64 sp, __u64 fp, bool at_pc)
{
	struct walker *walker;
	struct memo *memo;
	__u64 id, python;

	if (!thread)
		return STACK_LOST;
	walker = bpf_task_storage_get(&walkers, bpf_get_current_task_btf(), 0,
				      BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!walker) {
		count(STAT_STACKS_LOST, 1);
		return STACK_LOST;
	}
	memo = &walker->memo;
	walker->group = thread->group;
	python = python_cnt ? python_capture(thread) : 0;
	check_code_epoch(thread, walker);
	walker->window_words = 0;
	if (memo->stack_id && memo->pc == pc && memo->at_pc == at_pc && memo->sp == sp &&
	    memo->fp == fp && memo->python == python && stack_memo_holds(walker)) {
		count(STAT_STACKS_REUSED, 1);
		count_end(memo->end);
		return memo->stack_id;
	}
	memo->stack_id = STACK_LOST;
	memo->sp = sp; /* depends are told from here */
	begin_walk(walker, sp, fp, python);
	walker->stack.end = walk_all(thread, walker, pc, at_pc);
	walker->stack.frame_cnt = walker->walk.frame_cnt;
	count(STAT_STACKS_WALKED, 1);
	count(STAT_FRAMES_WALKED, walker->walk.frame_cnt);
	if (walker->stack.end == UNWIND_NO_TABLE) {
		id = defer(thread, walker);
		if (id)
			return id;
	}
	count_end(walker->stack.end);
	id = store(walker);
	if (walker->walk.depend_cnt <= MAX_DEPENDS && walker->stack.end != UNWIND_NO_TABLE) {
		memo->pc = pc;
		memo->at_pc = at_pc;
		memo->python = python;
		memo->fp = fp;
		memo->end = walker->stack.end;
		memo->depend_cnt = walker->walk.depend_cnt;
		memo->stack_id = id;
	}
	return id;
}
