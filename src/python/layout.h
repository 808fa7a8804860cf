/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where CPython keeps things, by version: offsets of fields in bytes (64-bit, no debug build).
 * Sources: the headers of each version, Include/internal/pycore_*.h and Include/cpython; for 3.13
 * and later what the build itself tells (_Py_DebugOffsets) goes first.
 */
#ifndef LEAKSWEEP_PYTHON_LAYOUT_H
#define LEAKSWEEP_PYTHON_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "include/python.h"
#include "python/build.h"

struct python_layout {
	uint16_t version; /* as struct python_build */
	/* _PyRuntime */
	uint16_t runtime_key; /* u32 pthread key of the thread state; the s32 before it tells
				 whether it was made */
	uint16_t runtime_interpreters; /* first interpreter */
	/* interpreter */
	uint16_t interp_next, interp_threads;	/* next interpreter; first thread state */
	uint16_t interp_gc_generations;		/* heads of the collector's lists of objects ... */
	uint16_t interp_gc_cnt, interp_gc_step; /* ... how many, and bytes from one to the next */
	/* thread state */
	uint16_t thread_next, thread_interp, thread_id; /* thread_id: pthread_self() */
	/* what the kernel side needs; addresses, mask apart, and thread data are not filled in */
	struct python_proc frames;
	/* objects */
	uint16_t object_type; /* in PyObject */
	uint16_t var_size;    /* in PyVarObject */
	uint16_t type_name, type_basic_size, type_item_size, type_flags, type_dict,
		type_dict_offset,
		type_module;	/* in PyTypeObject; type_module: heap types' ht_module, 0 = none */
	uint16_t gc_head;	/* bytes in front of an object that the collector knows */
	uint16_t managed_words; /* pointers in front of that for the types that have
				   `managed_flags` (3.11 and later), 0 = none */
	uint64_t managed_flags;
	uint16_t list_items, list_allocated; /* in PyListObject: pointer to them, how many fit */
	uint16_t dict_used, dict_keys, dict_values; /* in PyDictObject */
	uint16_t unicode_state, ascii_size,
		unicode_size;		/* PyASCIIObject, PyCompactUnicodeObject */
	uint16_t bytes_data;		/* in PyBytesObject */
	uint16_t pool_shift, alignment; /* pymalloc: a pool has 1 << shift bytes */
};

/*
 * Fills in the layout of a build. Returns 0 or -ENOTSUP with *ret_reason, a static sentence for
 * people ("free-threaded builds ..."). Untested builds of a known version may pass:
 * python_process__check decides.
 */
int python_layout__of(const struct python_build *build, struct python_layout *ret,
		      const char **ret_reason);

#endif
