/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory the tool itself may take: anonymous memory, beside the kernel's tables. It grows
 * with what these can hold, since that is what user space reads from them. The children that
 * compile unwind tables and read debug information have limits of their own (util/sandbox.h).
 */
#ifndef LEAKSWEEP_ATTACH_TOOL_MEMORY_H
#define LEAKSWEEP_ATTACH_TOOL_MEMORY_H

#include <stdint.h>

#include "attach/attacher.h"

/* Frames that are kept of a stack, on average; deeper ones take the room of others. */
#define TOOL_FRAMES_A_STACK 64

/* Frees of inherited blocks are kept, one for so many blocks that the table has room for. */
#define BLOCKS_A_FREE 4

/* Returns bytes, at most, with all tables full. */
uint64_t tool_memory__bound(const struct attacher_opts *opts);

/* Returns the bytes that it takes now; 0 when /proc does not tell. */
uint64_t tool_memory__used(void);

/* Gives the kernel back what was freed. */
void tool_memory__release(void);

#endif
