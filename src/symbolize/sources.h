/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where names come from: the files that frames lie in, each with its symbol tables and the file
 * that holds its DWARF. Files are told apart by descriptor, not by path: (device, inode, size,
 * modification time), so processes and snapshots share them and a replaced library gets its own.
 */
#ifndef LEAKSWEEP_SYMBOLIZE_SOURCES_H
#define LEAKSWEEP_SYMBOLIZE_SOURCES_H

#include <stdbool.h>
#include <stdint.h>

#include "model/snapshot.h"
#include "model/symbol.h"
#include "symbolize/elf_symbols.h"
#include "util/array.h"
#include "util/elf_image.h"
#include "util/hashmap.h"
#include "util/regular_file.h"

#define NO_SOURCE UINT32_MAX

struct debuginfod;

struct source {
	struct file_identity identity;
	struct elf_symbols *symbols; /* NULL when the file cannot be read */
	enum symbol_reason reason;   /* of a frame without a name, SYMBOL_FOUND = SYMBOL_GAP */
	int fd;			     /* the file; borrowed, of the snapshot in work */
	int debug_fd;		     /* the separate debug file, -1 = none */
	int alt_fd;		     /* what dwz took out of the one with the DWARF, -1 = none */
	bool is_remote;		     /* the file may wait for a server each time */
	bool own_dwarf;		     /* the file has DWARF itself */
	bool replaced;		     /* a newer source of the file knows more */
	unsigned int failures;	     /* of the reader of its DWARF */
	uint64_t in_vain_ns;	     /* CPU time in which he found nothing, the last time */
	uint32_t next;		     /* an older source of the same inode, or NO_SOURCE */
};

/* Zero-initialise, set `vdso` to NO_SOURCE and `debug_root`. */
struct sources {
	ARRAY(struct source) list;
	struct hashmap index; /* (dev, ino) -> newest source */
	uint32_t vdso;
	const char *debug_root;	       /* borrowed */
	struct debuginfod *debuginfod; /* made when first needed */
};

void sources__free(struct sources *sources);

/*
 * Finds or makes the source of a module. Returns 0 or -ENOMEM. *ret_source is NO_SOURCE when there
 * is nothing to look into, *ret_reason then says why; a file whose server does not answer is asked
 * again the next time. A source's number never changes, pointers are valid until the next call.
 */
int sources__open(struct sources *sources, const struct snap_module *module, uint32_t *ret_source,
		  enum symbol_reason *ret_reason);

/*
 * Takes in debug files that were fetched; sources__open then finds a new source for such a file.
 * Returns 0 or -ENOMEM; *ret_any tells whether there were any.
 */
int sources__fetch(struct sources *sources, bool *ret_any);

/* Returns the descriptor of the file with the source's DWARF, or -1. */
int source__dwarf_fd(const struct source *source);

#endif
