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
	SYMBOL_KERNEL = 6,     /* kernel code whose symbols are hidden (kptr_restrict) */
	SYMBOL_LOST = 7,       /* a Python function that there was no room to tell of */
};

/* Why a frame has no source line. */
enum line_reason {
	LINE_FOUND = 0,
	LINE_NO_DEBUG_INFO = 1, /* neither in the file nor in a separate one */
	LINE_GAP = 2,		/* debug information, but not for this address */
	LINE_BROKEN = 3,	/* damaged, or too costly to read */
	LINE_LATE = 4,		/* not read yet: it may be, the next time */
};

/* A call that the compiler put into the function that made it. */
struct symbol_inline {
	const char *function; /* demangled */
	const char *file;     /* NULL = unknown */
	uint32_t line;	      /* 0 = unknown */
};

/* All text is owned by the symbolizer, that of a Python frame by the snapshot. */
struct symbol {
	const char *function;	  /* demangled, NULL = none */
	const char *file;	  /* source file, NULL = unknown */
	uint32_t line;		  /* 0 = unknown */
	uint64_t function_offset; /* bytes from the function's start */
	enum symbol_reason reason;
	enum line_reason line_reason;
	/*
	 * Inlined calls at this address, the innermost first: its line is where the address is; the
	 * line of each next one, and of the function itself in the end, is where it makes the call.
	 */
	const struct symbol_inline *inlines;
	uint32_t inline_cnt;
};

#endif
