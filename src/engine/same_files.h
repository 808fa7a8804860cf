/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which files of the module table are one file to the kernel. Containers of one image have an
 * overlay each, and each has numbers of its own for the file below; a probe sits in that file, and
 * would be there, and be hit, once for each of them.
 */
#ifndef LEAKSWEEP_ENGINE_SAME_FILES_H
#define LEAKSWEEP_ENGINE_SAME_FILES_H

#include <stdint.h>

#include "attach/unwind_memory.h"
#include "collect/modules.h"

struct same_files;

/* Both are borrowed. Returns NULL when out of memory. */
struct same_files *same_files__new(struct unwind_memory *memory,
				   const struct module_table *modules);
void same_files__free(struct same_files *files);

/* Returns the first module that was asked for of those that are the same file: its index, or the
 * given one when that is the first, or nobody can tell. One whose file was closed is none. */
uint32_t same_files__first(struct same_files *files, uint32_t module);

#endif
