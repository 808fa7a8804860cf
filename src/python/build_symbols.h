/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The symbols of an ELF file, of the dynamic table first and then of .symtab where there is one
 * (gABI chapter 4; DT_GNU_HASH as GNU ld and lld write it). Tables above the limits are left out.
 */
#ifndef LEAKSWEEP_PYTHON_BUILD_SYMBOLS_H
#define LEAKSWEEP_PYTHON_BUILD_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/elf_image.h"

/* A symbol that the file defines. */
struct build_symbol {
	const char *name; /* valid during the call */
	uint64_t vaddr, size;
	uint8_t type; /* STT_... */
};

/* Called for each defined symbol with a name; anything but 0 ends the walk and is its result. */
typedef int (*build_symbol_fn)(void *arg, const struct build_symbol *symbol);

/* Walks the dynamic symbols. Returns 0 (also when there are none), what `fn` returned, or a
 * negative errno. */
int build_symbols__each_dynamic(const struct elf_image *image, build_symbol_fn fn, void *arg);

/* The same for .symtab. */
int build_symbols__each_static(const struct elf_image *image, build_symbol_fn fn, void *arg);

/* A symbol by name; vaddr 0 = the file does not define it. */
struct build_place {
	const char *name; /* given */
	uint64_t vaddr, size;
};

/*
 * Finds the places by their names, each in the first table that has it. `only_dynamic` leaves out
 * .symtab: what others can be bound to. Returns 0 or a negative errno.
 */
int build_symbols__find(const struct elf_image *image, bool only_dynamic,
			struct build_place *places, size_t place_cnt);

#endif
