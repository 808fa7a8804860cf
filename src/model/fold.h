/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nobody leaks in `operator new`: which calls at the leaf side of a stack belong to an allocator or
 * to a language's runtime, so that a report can begin with the first call of the user's own.
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

/*
 * Finds for each node of the stack tree the first call of a stack that ends there which is nobody's
 * runtime. A stack of nothing else keeps the last one before its root functions. Returns an array
 * of snap->nodes.cnt entries that the caller frees, or NULL (no memory). `symbols` as for
 * call__read.
 */
struct call *fold_stacks(const struct snapshot *snap, const struct symbol *symbols);

#endif
