/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nobody leaks in `operator new`: which calls at the leaf side of a stack belong to an allocator or
 * to a language's runtime, so that a report can begin with the first call of the user's own.
 *
 * A stack with Python frames reads like a traceback: the interpreter's own machine code is left out
 * of all of it, and with it what ran before the first Python frame - main, the start of a thread -
 * unless a program of the user's stands between. What Python called (extension modules, libraries)
 * stays.
 */
#ifndef LEAKSWEEP_MODEL_FOLD_H
#define LEAKSWEEP_MODEL_FOLD_H

#include "model/call.h"

/*
 * Whether a function works for its caller when it allocates: allocators and wrappers of them, the C
 * library, containers. Decided by the name, the source file and the path of its module; each may be
 * NULL. What calls back later (threads, std::function) is none, as the user's code may be inlined
 * there.
 */
bool is_runtime_function(const char *function, const char *file, const char *module);

/* Whether nothing but the start of a program or a thread calls the function. */
bool is_root_function(const char *function);

/* Whether a module works for Python code alone: a program that is nothing but an interpreter, its
 * standard library's modules, what they call with. */
bool is_python_module(const char *path);

/* What a frame is to the stacks that run through it. */
struct frame_fold {
	uint32_t runtime_cnt; /* calls at its leaf side that are runtime */
	bool whole;	      /* all of them are */
	bool is_root;	      /* nothing but the start of a program or a thread */
	bool is_main;	      /* what a program starts with */
	bool is_python;	      /* a Python frame */
	bool is_interpreter;  /* works for Python code: left out of stacks that have some */
};

struct folding {
	struct frame_fold *frames; /* per frame of the snapshot */
	struct call *begins;	   /* per node of the stack tree */
};

/*
 * Finds for each node of the stack tree the first call of a stack that ends there which is nobody's
 * runtime. A stack of nothing else keeps the last one before its root functions. `symbols` as for
 * call__read. Returns 0 or -ENOMEM; to be freed with folding__free.
 */
int fold_stacks(const struct snapshot *snap, const struct symbol *symbols, struct folding *ret);
void folding__free(struct folding *folding);

/* As call__next, without what is left out. */
struct call folding__next(const struct folding *folding, struct call call,
			  const struct snapshot *snap, const struct symbol *symbols);

/*
 * Whether machine code is left out of stacks with Python frames that run through a node: there it
 * tells nobody anything, and stacks that differ in nothing else are one.
 */
bool folding__leaves_out(const struct folding *folding, const struct snapshot *snap, uint32_t node);

/* Goes to the next frame by which a stack is told from others. */
struct call folding__next_frame(const struct folding *folding, struct call call,
				const struct snapshot *snap);

#endif
