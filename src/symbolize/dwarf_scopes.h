/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which function of a DWARF unit covers an address, and through which inlined calls (DWARF 5,
 * 3.3). Works on hostile input only in the sense that it does not recurse and writes nowhere it
 * should not; what libdw does with it is why all of this runs in a sandbox.
 */
#ifndef LEAKSWEEP_SYMBOLIZE_DWARF_SCOPES_H
#define LEAKSWEEP_SYMBOLIZE_DWARF_SCOPES_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/array.h"

#define NO_CALL UINT32_MAX

/* An inlined call (DW_TAG_inlined_subroutine) and the one around it. */
struct scope_call {
	Dwarf_Die die;
	uint32_t outer; /* index, or NO_CALL */
};

/* What is known of one address. */
struct scope {
	bool wanted; /* lies in the unit that is looked at, and is not answered yet */
	bool found;  /* `function` is set */
	bool settled;
	Dwarf_Die function;
	uint64_t start, len; /* the part of the function that holds the address */
	uint32_t innermost;  /* index of a call, or NO_CALL */
	uint32_t depth;	     /* calls from there to the function */
};

struct scopes {
	const uint64_t *addresses; /* borrowed; sorted, distinct */
	struct scope *items;	   /* one for each address */
	size_t cnt;
	uint64_t min_address; /* what begins below was thrown away by the linker */
	ARRAY(struct scope_call) calls;
};

/*
 * Marks the addresses in the ranges of `die` as wanted, as far as they are not found yet. Returns
 * how many they are.
 */
size_t scopes__want(struct scopes *scopes, Dwarf_Die *die);

/*
 * Looks through a unit for the functions and calls around its wanted addresses. Returns 0 or
 * -ENOMEM.
 */
int scopes__find(struct scopes *scopes, Dwarf_Die *unit);

#endif
