/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stack as a reader sees it: a list of calls. A frame of machine code stands for one call, and
 * for one more for each call that the compiler put into its function.
 */
#ifndef LEAKSWEEP_MODEL_CALL_H
#define LEAKSWEEP_MODEL_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "model/snapshot.h"
#include "model/symbol.h"

/* A place in a stack: walked by call__next, it goes from the leaf to the root. */
struct call {
	uint32_t node;	/* of the stack tree, 0 = behind the root: no call */
	uint32_t idx;	/* inlined call of the node's frame, the innermost is 0; their number = the
			   frame's own function */
	bool in_python; /* only what is written in Python, or called by it, is to be shown from
			   here on (fold.h) */
};

/* What is known of a call. Text is borrowed from the symbols. A call of a Python function is told
 * from another one's by its file, name and first line; it has no module. */
struct call_info {
	uint32_t frame;	      /* index in the snapshot */
	const char *function; /* NULL = no name */
	const char *file;     /* NULL = unknown */
	uint32_t line;	      /* 0 = unknown */
	bool inlined;
	bool is_python;
	uint32_t first_line; /* of a Python function, 0 = unknown */
};

/* Returns how many inlined calls a frame stands for besides its own function. `symbols` has one
 * entry per frame of the snapshot, or is NULL: no names. */
static inline uint32_t frame_inline_cnt(const struct symbol *symbols, uint32_t frame)
{
	return symbols ? symbols[frame].inline_cnt : 0;
}

/* Fills *ret for a call that is one: call.node is not 0. */
void call__read(struct call call, const struct snapshot *snap, const struct symbol *symbols,
		struct call_info *ret);

/* Returns the caller of a call; its node is 0 behind the last one. */
struct call call__next(struct call call, const struct snapshot *snap, const struct symbol *symbols);

/* Returns the path of a frame's module, NULL when it lay in no mapping or is one of Python. */
const char *frame_module_path(const struct snapshot *snap, uint32_t frame);

#endif
