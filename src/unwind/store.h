/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places tables in the cells that the kernel side reads (include/unwind.h). Memory only: who gives
 * the chunks is somebody else's business.
 */
#ifndef LEAKSWEEP_UNWIND_STORE_H
#define LEAKSWEEP_UNWIND_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "include/unwind.h"
#include "unwind/table.h"

struct table_store;

struct table_store_usage {
	uint64_t used_cells, cells; /* of 8 bytes */
	uint32_t modules;	    /* tables that are loaded now */
	uint64_t evictions;
};

/*
 * `modules` is the shared array of MAX_UNWIND_MODULES entries, zeroed; entry 0 is never used, entry
 * UNWIND_MODULE_VDSO only when asked for by number. At most `max_chunks` chunks will be added.
 * Returns NULL when out of memory.
 */
struct table_store *table_store__new(struct unwind_module *modules, uint32_t max_chunks);
void table_store__free(struct table_store *store);

/* Adds a shared chunk of UNWIND_CHUNK_CELLS cells; chunks are numbered from 0 on. Returns 0,
 * -ENOSPC (max_chunks) or -ENOMEM. */
int table_store__add_chunk(struct table_store *store, uint64_t *cells);

/*
 * Copies a table and publishes it under the module number `module`, 0 = a new one. A table without
 * rows makes a module that is UNWIND_MODULE_BARE. A module that has a table already gets the new one
 * as after an eviction. Returns 0, -ENOSPC (add a chunk, or evict), -E2BIG (more than max_chunks
 * could hold), -ENFILE (no number left) or -ENOMEM.
 */
int table_store__put(struct table_store *store, const struct unwind_table *table, uint32_t module,
		     uint32_t *ret_module);

/*
 * Takes away the table that the kernel side looked into longest ago, but not that of `keep_module`
 * nor the vdso's; waits until no reader can be in it. Returns how many cells are free again, 0 =
 * there is none to take.
 */
size_t table_store__evict(struct table_store *store, uint32_t keep_module);

void table_store__usage(const struct table_store *store, struct table_store_usage *ret);

/* Finds the row at a file offset as the kernel side does. */
struct unwind_row table_store__find(const struct table_store *store, uint32_t module,
				    uint64_t offset);

#endif
