/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What types.c knows of a type, for the census. */
#ifndef LEAKSWEEP_PYTHON_TYPE_INFO_H
#define LEAKSWEEP_PYTHON_TYPE_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/pools.h"
#include "python/types.h"

#define OBJECT_PEEK 64 /* first bytes of a block that tell what is in it */

/* How objects of a type, or of one derived from it, are laid out. */
enum object_kind {
	KIND_OTHER = 0,
	KIND_LEAF, /* refers to nothing: float, complex */
	KIND_INT,
	KIND_STR,
	KIND_BYTES,
	KIND_BYTEARRAY,
	KIND_TUPLE,
	KIND_LIST,
	KIND_DICT,
	KIND_SET, /* frozenset, too */
	KIND_DEQUE,
	KIND_TYPE,
	KIND_FRAMED, /* ends with a frame of any size: generators, coroutines, frames since 3.11 */
};

struct type_info {
	uint64_t addr, basic_size, item_size, flags;
	uint64_t meta; /* address of the type's own type */
	int64_t dict_offset;
	uint64_t dict; /* address of the type's own dict, 0 = none */
	uint32_t head; /* bytes in front of an object: the collector's header and managed pointers
			*/
	uint8_t kind;  /* enum object_kind */
	bool is_heap;
	bool has_values; /* its objects may keep attributes without a dict (3.11 and later) */
	char *name;	 /* owned */
};

#define TYPE_FLAG_INLINE_VALUES (1ULL << 2) /* 3.13, Include/object.h */
#define TYPE_FLAG_MANAGED_DICT (1ULL << 4)  /* 3.11 */
#define TYPE_FLAG_HEAP (1ULL << 9)
#define TYPE_FLAG_READY (1ULL << 12)
#define TYPE_FLAG_GC (1ULL << 14)

/* Tells that what lies in these pools is no type: types are larger than pymalloc's blocks. */
void python_types__set_pools(struct python_types *types, const struct pool_scan *scan);

const struct python_process *python_types__process(const struct python_types *types);
uint32_t python_types__cnt(const struct python_types *types);
/* Valid as long as `types`. */
const struct type_info *python_types__info(const struct python_types *types, uint32_t type);

/* Returns the number of the type object at an address, or TYPE_NONE. */
uint32_t python_types__find(struct python_types *types, uint64_t addr);

/*
 * As python_types__of_block with the block's size (UINT64_MAX = not known): an object that would
 * not fit is none.
 */
uint32_t python_types__of_sized_block(struct python_types *types, const uint8_t *data, size_t len,
				      uint64_t block_size, uint32_t *ret_object);

/* Whether `count` may be a living object's reference count (Include/object.h, refcount.h). */
bool python_types__is_refcount(const struct python_types *types, uint64_t count);

/*
 * Returns the bytes of an object of the type, without its head, by its first `len` bytes (at least
 * 16); the least that it can have where they do not tell.
 */
uint64_t python_types__object_bytes(const struct python_types *types, const struct type_info *info,
				    const uint8_t *object, size_t len);

/* Returns the owned text of the str object at `addr`, or NULL. */
char *python_str__read(const struct python_process *process, uint64_t addr);

/*
 * Returns the owned name for people of the type object at `addr`, or NULL. `name_at` is tp_name,
 * `heap_size` sizeof(PyHeapTypeObject); *module_key keeps the address of the str "__module__" from
 * one call to the next (0 at first).
 */
char *python_type__read_name(const struct python_process *process, uint64_t addr, uint64_t name_at,
			     uint64_t dict, bool is_heap, uint64_t heap_size, uint64_t *module_key);

#endif
