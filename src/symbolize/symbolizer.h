/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names for the frames of a snapshot, in one batch: functions from ELF symbol tables (of the file,
 * of its separate debug file found by build-id or .gnu_debuglink, or of .gnu_debugdata), source
 * lines and inlined calls from DWARF, kernel functions from /proc/kallsyms. Debug files come over
 * the network only if DEBUGINFOD_URLS is set in the environment.
 */
#ifndef LEAKSWEEP_SYMBOLIZE_SYMBOLIZER_H
#define LEAKSWEEP_SYMBOLIZE_SYMBOLIZER_H

#include <stddef.h>
#include <stdint.h>

#include "model/snapshot.h"
#include "model/symbol.h"

struct symbolizer;

/* What there was no time for. */
struct late_lines {
	size_t file_cnt;
	uint64_t least_cpu_ns; /* with less it is no use to try again; 0 if there are none */
};

/* Returns a symbolizer that caches modules by (dev, inode) over many snapshots, or NULL (no
 * memory). */
struct symbolizer *symbolizer__new(void);

/* The same with debug files under another folder than /usr/lib/debug and other kernel symbols. */
struct symbolizer *symbolizer__new_at(const char *debug_root, const char *kallsyms);

void symbolizer__free(struct symbolizer *symbolizer);

/*
 * Names all frames of the snapshot. *ret_symbols is an array of snap->frames.cnt entries that the
 * caller frees; the strings belong to the symbolizer, those of Python frames to the snapshot.
 * Returns 0 or a negative errno; a frame without a name is no error.
 */
int symbolizer__resolve(struct symbolizer *symbolizer, const struct snapshot *snap,
			struct symbol **ret_symbols);

/*
 * The same within so much CPU time for lines and inlined calls, and for the names that only DWARF
 * has; a later snapshot gets what there was no time for.
 */
int symbolizer__resolve_within(struct symbolizer *symbolizer, const struct snapshot *snap,
			       uint64_t cpu_ns, struct symbol **ret_symbols,
			       struct late_lines *ret_late);

/* Returns one short sentence for people, e.g. "stripped: no symbol table and no debug file". */
const char *symbol_reason__text(enum symbol_reason reason);
const char *line_reason__text(enum line_reason reason);

#endif
