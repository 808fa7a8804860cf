/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sees to it that the kernel side has the unwind tables of the code that is traced: before a
 * process's probes fire for what it maps then, at once for what a stack meets later.
 */
#ifndef LEAKSWEEP_ENGINE_UNWINDER_H
#define LEAKSWEEP_ENGINE_UNWINDER_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/attacher.h"
#include "collect/space_table.h"
#include "include/events.h"
#include "model/snapshot.h"
#include "unwind/walk.h"

struct unwinder_opts {
	const char *cache_dir; /* NULL = no cache on disk */
	uint64_t cache_bytes;
	uint64_t memory_bytes; /* of tables in the kernel */
};

struct unwinder;

/* Everything is borrowed. Returns 0 or a negative errno. */
int unwinder__new(const struct unwinder_opts *opts, struct attacher *attacher,
		  struct space_table *table, struct unwinder **ret);
void unwinder__free(struct unwinder *unwinder);

/*
 * Loads the tables of all code that the space maps and that have none yet. Returns 0 or -ENOMEM;
 * a file without a table is no error: its frames are told as what they are.
 */
int unwinder__cover(struct unwinder *unwinder, const struct space_info *space);

/* Answers EV_CODE_NEW, EV_CODE_WANTED and EV_CODE_MAP; others are ignored. Same contract. */
int unwinder__apply(struct unwinder *unwinder, const struct event *event);

/*
 * Lists where the space's code was mapped at `time_ns` (CLOCK_MONOTONIC) and which tables are for it,
 * for stack_walk__finish. Returns 0 or -ENOMEM; `ret_code` is an array for the caller to free.
 */
int unwinder__list_code(const struct unwinder *unwinder, const struct space_info *space,
			uint64_t time_ns, struct walk_code **ret_code, size_t *ret_cnt);

const struct table_store *unwinder__store(const struct unwinder *unwinder);

/* Fills in snap->unwind. */
void unwinder__tell(const struct unwinder *unwinder, struct snapshot *snap);

#endif
