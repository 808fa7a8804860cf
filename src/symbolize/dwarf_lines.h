/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Functions, source lines and inlined calls of addresses, read from a file's DWARF (versions 2 to
 * 5) by libdw. This is a job for a sandbox (util/sandbox.h): it trusts the file as little as libdw
 * does. What it opens not: .dwo and .dwp files of split units; the skeleton's lines serve.
 */
#ifndef LEAKSWEEP_SYMBOLIZE_DWARF_LINES_H
#define LEAKSWEEP_SYMBOLIZE_DWARF_LINES_H

#include <stdint.h>

struct lines_input {
	int fd;			   /* the file that has the debug sections, of 64-bit ELF */
	int alt_fd;		   /* what its .gnu_debugaltlink names; -1 = none */
	const uint64_t *addresses; /* in the file's own address space; sorted, distinct */
	uint32_t cnt;
};

/*
 * The answer is a sequence of chunks, one for each unit that says something, so that what follows
 * may break without loss of what came first. A chunk is a head, the records, the calls, the text.
 * Text is zero-terminated strings, given by their offsets; offset 0 is "" and means unknown.
 */
#define LINES_MAGIC 0x4c4e4531U

struct lines_head {
	uint32_t magic;
	uint32_t record_cnt, call_cnt;
	uint32_t text_size; /* bytes, a multiple of 8; the last one is zero */
};

struct lines_record {
	uint64_t start;	   /* address of the part of the function that holds the address */
	uint32_t index;	   /* of the address */
	uint32_t function; /* text: linkage name if there is one */
	uint32_t file, line;
	uint32_t call_first, call_cnt; /* inlined calls, the innermost first */
};

/* As struct symbol_inline. */
struct lines_call {
	uint32_t function;
	uint32_t file, line;
	uint32_t zero;
};

/*
 * The job; `arg` is a struct lines_input. Returns 0 or a negative errno. It gives up the right to
 * open files for good.
 */
int dwarf_lines__write(void *arg, int output_fd);

/* Shortens "//", "/./" and "/dir/../" in place, by the text alone. */
void normalise_path(char *path);

#endif
