/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names for the frames of a snapshot, in one batch: each module's symbol tables are read and sorted
 * once. Today: ELF tables (.dynsym, .symtab, of the file or of its separate debug file found by
 * build-id or .gnu_debuglink). Lines and inlined calls have their place in the answer and come with
 * the DWARF reader.
 */
#ifndef LEAKSWEEP_SYMBOLIZE_SYMBOLIZER_H
#define LEAKSWEEP_SYMBOLIZE_SYMBOLIZER_H

#include <stddef.h>
#include <stdint.h>

#include "model/snapshot.h"
#include "model/symbol.h"

struct symbolizer;

/* Returns a symbolizer that caches modules by (dev, inode) over many snapshots, or NULL (no
 * memory). */
struct symbolizer *symbolizer__new(void);
void symbolizer__free(struct symbolizer *symbolizer);

/*
 * Names all frames of the snapshot. *ret_symbols is an array of snap->frames.cnt entries that the
 * caller frees; the strings belong to the symbolizer. Returns 0 or a negative errno; a frame
 * without a name is no error.
 */
int symbolizer__resolve(struct symbolizer *symbolizer, const struct snapshot *snap,
			struct symbol **ret_symbols);

/* Returns one short sentence for people, e.g. "stripped: no symbol table and no debug file". */
const char *symbol_reason__text(enum symbol_reason reason);

#endif
