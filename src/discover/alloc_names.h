/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allocator functions that are known by name, and how each passes its arguments. Sources: C23,
 * malloc(3), posix_memalign(3), the Itanium C++ ABI's mangling, and the headers jemalloc/jemalloc.h
 * (5.3), gperftools/tcmalloc.h (2.10) and mimalloc.h (2.0 to 3.1).
 */
#ifndef LEAKSWEEP_DISCOVER_ALLOC_NAMES_H
#define LEAKSWEEP_DISCOVER_ALLOC_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "include/alloc_fn.h"

/* In the order in which a function with several names is called. */
enum alloc_family {
	FAMILY_USER = 0, /* named by the user */
	FAMILY_C = 1,
	FAMILY_CXX = 2, /* operator new and delete */
	FAMILY_OWN = 3, /* an allocator's own interface */
	FAMILY_UNSEEN =
		4, /* makes or frees blocks in a way that no probe on it could tell; cookie 0 */
};

struct alloc_name {
	const char *name;
	uint64_t cookie; /* ALLOC_FN(...) */
	enum alloc_family family;
};

/* Longest name that alloc_names__find can find. */
#define MAX_ALLOC_NAME 48

/* Returns the function of that exact name, or NULL. */
const struct alloc_name *alloc_names__find(const char *name);

/* Returns the whole table, sorted by name, and its length. */
const struct alloc_name *alloc_names__all(size_t *ret_cnt);

#endif
