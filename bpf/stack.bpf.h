/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stacks: walked by frame pointers into the thread's own scratch, kept once by content. The id is a
 * seeded 64-bit hash of the frames; a second hash in the value tells when two stacks share an id.
 */
#ifndef LEAKSWEEP_STACK_BPF_H
#define LEAKSWEEP_STACK_BPF_H

#include "arch.bpf.h"
#include "maps.bpf.h"
#include "thread.bpf.h"

static __always_inline void stack_hash_add(struct stack_hash *hash, __u64 pc)
{
	hash->id = (hash->id ^ pc) * 0x9e3779b97f4a7c15ULL;
	hash->id ^= hash->id >> 32;
	hash->check = (hash->check + pc) * 0xd6e8feb86659fd93ULL;
	hash->check ^= hash->check >> 29;
}

/* See stack.bpf.c. */
__u64 stack_real_pc(__u64 slot, __u64 pc);

/* Reads a frame {caller's frame pointer, return address} through the window. Returns false when it
 * is unreadable. */
static __always_inline bool stack_read_frame(struct thread *thread, __u64 *window_at, __u64 fp,
					     __u64 frame[2])
{
	__u64 word = (fp - *window_at) / 8;

	if (word >= STACK_WINDOW - 1) {
		/* One long read costs little more than a short one; it fails where the stack's last
		 * page ends. */
		if (bpf_probe_read_user(thread->window, sizeof(thread->window), (void *)fp)) {
			*window_at = 0;
			return !bpf_probe_read_user(frame, 2 * sizeof(__u64), (void *)fp);
		}
		*window_at = fp;
		word = 0;
	}
	frame[0] = thread->window[word & (STACK_WINDOW - 1)];
	frame[1] = thread->window[(word + 1) & (STACK_WINDOW - 1)];
	return true;
}

/* Walks from the frame in thread->stack.pc[0 .. cnt-1] on. Returns how the walk ended. */
static __noinline __u32 stack_walk(struct thread *thread, struct stack_hash *hash, __u64 sp,
				   __u64 fp)
{
	__u64 window_at = 0, frame[2] = {};
	__u32 cnt, slot;

	if (!thread || !hash)
		return UNWIND_LOST;
	for (cnt = thread->stack.frame_cnt; cnt < MAX_FRAMES; cnt++) {
		if (!fp)
			break;
		if (fp < sp || fp & 7 || !stack_read_frame(thread, &window_at, fp, frame)) {
			thread->stack.frame_cnt = cnt;
			return UNWIND_BROKEN;
		}
		if (thread->depth)
			frame[1] = stack_real_pc(fp + 8, frame[1]);
		if (!frame[1])
			break;
		slot = cnt;
		asm volatile("%0 &= 127"
			     : "+r"(slot)); /* for the verifier, which does not follow the count */
		thread->stack.pc[slot] = frame[1];
		stack_hash_add(hash, frame[1]);
		sp = fp + sizeof(frame);
		fp = frame[0];
	}
	thread->stack.frame_cnt = cnt;
	return cnt < MAX_FRAMES ? UNWIND_COMPLETE : UNWIND_TRUNCATED;
}

/* Stores the stack in the thread's scratch. Returns its id, or STACK_LOST (counted). */
static __noinline __u64 stack_store(struct thread *thread, struct stack_hash *hash)
{
	struct stack_frames *stored;
	struct stack_hash *known;
	__u64 id;
	int err; /* not long, as in block_add() */

	if (!thread || !hash)
		return STACK_LOST;
	id = hash->id ? hash->id : 1;
	known = &thread->known[id & (KNOWN_STACKS - 1)];
	if (known->id == id && known->check == hash->check)
		return id;
	stored = bpf_map_lookup_elem(&stack_frames, &id);
	if (stored) {
		if (stored->check == hash->check && stored->frame_cnt == thread->stack.frame_cnt) {
			known->id = id;
			known->check = hash->check;
			return id;
		}
		count(STAT_STACK_COLLISIONS, 1);
		return STACK_LOST;
	}
	thread->stack.check = hash->check;
	err = bpf_map_update_elem(&stack_frames, &id, &thread->stack, BPF_NOEXIST);
	if (err && err != -17 /* EEXIST: another thread was faster */) {
		count(STAT_STACKS_LOST, 1);
		return STACK_LOST;
	}
	return id;
}

/*
 * Takes the stack of user code that is at `pc` with stack and frame pointer `sp` and `fp`;
 * `caller`, if not 0, is the frame above `pc` that the frame pointer does not know of yet. Returns
 * the stack's id or STACK_LOST.
 */
static __always_inline __u64 stack_capture(struct thread *thread, __u64 pc, __u64 caller, __u64 sp,
					   __u64 fp)
{
	struct stack_hash hash = {.id = hash_seed, .check = ~hash_seed};

	thread->stack.pc[0] = pc;
	thread->stack.frame_cnt = 1;
	stack_hash_add(&hash, pc);
	if (caller) {
		thread->stack.pc[1] = caller;
		thread->stack.frame_cnt = 2;
		stack_hash_add(&hash, caller);
	}
	thread->stack.end = stack_walk(thread, &hash, sp, fp);
	if (thread->stack.end == UNWIND_TRUNCATED)
		count(STAT_STACKS_TRUNCATED, 1);
	return stack_store(thread, &hash);
}

#endif
