/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory of unwind tables, shared with the kernel side, and whose file's code they are for. */
#ifndef LEAKSWEEP_ATTACH_UNWIND_MEMORY_H
#define LEAKSWEEP_ATTACH_UNWIND_MEMORY_H

#include <stdint.h>

#include "include/unwind.h"

/* Descriptors of the maps and the program, borrowed from the attacher, which outlives it. */
struct unwind_maps {
	int modules, cells, files;
	int identify_prog;
	volatile struct code_file *identified; /* the program's answer */
};

struct unwind_memory;

/* Maps the array of modules. Returns 0 or a negative errno. */
int unwind_memory__open(const struct unwind_maps *maps, struct unwind_memory **ret);
void unwind_memory__free(struct unwind_memory *memory);

/* The shared array of MAX_UNWIND_MODULES. */
struct unwind_module *unwind_memory__modules(struct unwind_memory *memory);

#define MAX_CHUNKS_AT_ONCE 32

/*
 * Makes more chunks of UNWIND_CHUNK_CELLS cells, 1 MiB each that the kernel allocates; `ret_cells` has
 * room for `cnt`. Chunks are numbered from 0 on. Returns 0, -ENOSPC (MAX_UNWIND_CHUNKS, or more than
 * MAX_CHUNKS_AT_ONCE) or a negative errno.
 */
int unwind_memory__add_chunks(struct unwind_memory *memory, uint32_t cnt, uint64_t **ret_cells);

/*
 * Finds how the kernel knows the open file (an overlay's real one, for example). Returns 0,
 * -ENOENT (it has none: not a file that can be mapped) or a negative errno.
 */
int unwind_memory__identify(struct unwind_memory *memory, int fd, struct code_file *ret_file);

/* Returns what tells apart the files that have one inode number, on one device one after another. */
static inline uint64_t code_file__life(const struct code_file *file)
{
	return (uint64_t)file->dev << 32 | file->generation;
}

/* Says which module's table serves the file. Returns 0 or a negative errno. */
int unwind_memory__assign(struct unwind_memory *memory, const struct code_file *file,
			  uint32_t module);

/* Forgets that the file was asked for: the next stack that meets it asks again. */
int unwind_memory__forget(struct unwind_memory *memory, const struct code_file *file);

#endif
