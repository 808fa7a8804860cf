/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To whom the blocks belong that hold no object themselves: a list's items, a dict's table, the
 * values of an object's attributes ...; told as a census tells them, from the same code.
 */
#ifndef LEAKSWEEP_PYTHON_OWNERS_H
#define LEAKSWEEP_PYTHON_OWNERS_H

#include <stdbool.h>
#include <stdint.h>

#include "python/pools.h"
#include "python/types.h"

/* Flags beside a type's number; TYPE_NONE has none of them. */
#define OWNER_DICT_OF (1U << 31)   /* the dict that has such an object's attributes */
#define OWNER_FREE_LIST (1U << 30) /* kept by the interpreter for the next object of the type */

struct python_owners;

/*
 * Begins without having looked: that is done when it is first needed. `types` and `scan` (with
 * data) are borrowed; `types` must not be asked any more when `scan` has gone. *room is how many
 * bytes may be taken, less each time, and is borrowed, too. NULL: no memory.
 */
struct python_owners *python_owners__new(struct python_types *types, const struct pool_scan *scan,
					 uint64_t *room);
void python_owners__free(struct python_owners *owners);

/*
 * Tells whose the block at `addr` is, whether of a pool or of malloc, that python_types__of_block
 * has told to be of `type`: TYPE_NONE is made the type of the owner, and a dict may turn out to be
 * one of attributes. Returns a type's number, possibly with a flag, or TYPE_NONE: nobody's, or not
 * known. With `owners` NULL that is `type`.
 *
 * The first call that cannot do without goes over all objects of the scan: linear in these, and 4
 * bytes a block of the pools, some 50 for each part that malloc gave out.
 */
uint32_t python_owners__of(struct python_owners *owners, uint64_t addr, uint32_t type);

/* Whether some owners are not known for want of room. False without `owners`. */
bool python_owners__is_cut(const struct python_owners *owners);

/* Returns the owned name for people ("list", "dict of app.Session", "tuple (free list)"), or NULL
 * (no memory). */
char *python_owner__name(const struct python_types *types, uint32_t owner);

#endif
