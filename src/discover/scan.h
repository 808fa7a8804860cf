/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The functions of a file that may be allocators: one candidate per function, whatever names it
 * has.
 */
#ifndef LEAKSWEEP_DISCOVER_SCAN_H
#define LEAKSWEEP_DISCOVER_SCAN_H

#include "discover/alloc_names.h"
#include "discover/elf_allocs.h"
#include "discover/elf_file.h"

struct candidate {
	char *symbol; /* owned */
	uint64_t cookie;
	enum alloc_family family;
	uint64_t vaddr, off;
	uint64_t size;	/* by the symbol; 0 = unknown */
	uint64_t avail; /* bytes to the end of the segment */
	uint64_t next;	/* file offset of the next symbol, when there is one */
	uint64_t slot;	/* the GOT slot that it jumps through, 0 = none */
	bool forwards;	/* is only a jump to another candidate */
};

enum marker {
	MARK_MALLOC = 1 << 0, /* defines malloc or free under that very name */
	MARK_IMPORTS_MALLOC = 1 << 1,
	MARK_IMPORTS_FREE = 1 << 2,
	MARK_JEMALLOC = 1 << 3,
	MARK_TCMALLOC = 1 << 4,
	MARK_MIMALLOC = 1 << 5,
	MARK_MUSL = 1 << 6,
	MARK_GLIBC = 1 << 7,
};

struct scan {
	const struct elf_file *file;
	const struct elf_allocs_opts *opts;
	struct elf_allocs *allocs;
	size_t prefix_len, name_max;
	char *name;	    /* scratch: the symbol's name without its version */
	uint32_t markers;   /* enum marker */
	char *other_prefix; /* owned; of a jemalloc with a prefix that was not asked for */
	ARRAY(struct candidate) candidates;
	ARRAY(const char *) unseen; /* names from the table */
};

/*
 * Fills in candidates (by file offset, one per offset), markers, unseen functions and the sentences
 * about what was left out. The caller sets file, opts and allocs. Returns 0 or a negative errno;
 * release with scan__free.
 */
int scan__run(struct scan *scan);
void scan__free(struct scan *scan);

/* Append a printf-style sentence to what is skipped: what is of no harm, and what is a loss. Return
 * 0 or -ENOMEM. */
int scan__skip(struct scan *scan, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int scan__lose(struct scan *scan, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Looks a name up: the user's functions, the table, the table without the prefix. */
bool scan__find_name(const struct scan *scan, const char *name, struct alloc_name *ret);

/* Returns the last candidate at or before file offset `off`, or NULL. */
struct candidate *scan__last_until(const struct scan *scan, uint64_t off);

#endif
