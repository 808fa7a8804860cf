/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The name of a frame, or why it has none: what symbolize finds out, and profiles and reports show.
 */
#ifndef LEAKSWEEP_MODEL_SYMBOL_H
#define LEAKSWEEP_MODEL_SYMBOL_H

#include <stdint.h>

enum symbol_reason {
	SYMBOL_FOUND = 0,
	SYMBOL_NO_MODULE = 1,  /* the address lay in no known mapping */
	SYMBOL_ANONYMOUS = 2,  /* code made at run time (JIT) */
	SYMBOL_UNREADABLE = 3, /* the file could not be read, or is no proper ELF file */
	SYMBOL_STRIPPED = 4,   /* no symbol table, no debug file */
	SYMBOL_GAP = 5,	       /* symbols, but none covers the address */
};

struct symbol {
	const char *function;	  /* demangled, NULL = none; owned by the symbol table */
	const char *file;	  /* source file, NULL = unknown */
	uint32_t line;		  /* 0 = unknown */
	uint64_t function_offset; /* bytes from the function's start */
	enum symbol_reason reason;
};

#endif
