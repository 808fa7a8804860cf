/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Walks a copy of a stack by the tables in a store, as the kernel side does it on the live one
 * (bpf/stack.bpf.c): for stacks that met code whose table was not loaded yet.
 */
#ifndef LEAKSWEEP_UNWIND_WALK_H
#define LEAKSWEEP_UNWIND_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/maps.h"
#include "unwind/store.h"

#define WALK_NOT_LOADED UINT32_MAX

/* Where code is mapped. */
struct walk_code {
	uint64_t start, end;
	uint64_t to_offset; /* + address = file offset */
	uint32_t module;    /* of the store; UNWIND_MODULE_NONE: without a table; WALK_NOT_LOADED */
};

struct stack_walk {
	const struct table_store *store;
	const struct walk_code *code; /* the last that holds an address counts */
	size_t code_cnt;
	const struct raw_stack *raw;

	/* In: the frames so far; out: all of them. */
	uint64_t frames[MAX_FRAMES]; /* FRAME_MODULE_SHIFT */
	uint32_t frame_cnt;

	/* private to walk.c */
	uint64_t look, sp, fp, context, frame;
	bool fp_lost;
	struct unwind_row row;

	bool chained; /* out: some frame was found by a frame pointer, without a rule */
};

/*
 * Goes on to the end. Returns enum unwind_end; UNWIND_UNREADABLE where the copy ends,
 * UNWIND_NO_TABLE at code that is WALK_NOT_LOADED: begin again later.
 */
enum unwind_end stack_walk__finish(struct stack_walk *walk);

#endif
