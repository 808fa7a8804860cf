/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Of which type an object is, told by its memory from outside. */
#ifndef LEAKSWEEP_PYTHON_TYPES_H
#define LEAKSWEEP_PYTHON_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/process.h"

#define TYPE_NONE UINT32_MAX

struct python_types;

/*
 * Remembers the types of one process; `process` is borrowed. Returns NULL (no memory).
 */
struct python_types *python_types__new(const struct python_process *process);
void python_types__free(struct python_types *types);

/*
 * Tells the type of the object in a block that begins with the `len` bytes of `data` (all of the
 * block, or its first 64). *ret_object is where in the block the object begins (behind the
 * collector's header). Returns a type's number, or TYPE_NONE: the block holds no object that begins
 * in it.
 */
uint32_t python_types__of_block(struct python_types *types, const uint8_t *data, size_t len,
				uint32_t *ret_object);

/* Returns the type's name for people, qualified by its module ("app.Session", "dict"), owned by
 * `types`. */
const char *python_types__name(const struct python_types *types, uint32_t type);

#endif
