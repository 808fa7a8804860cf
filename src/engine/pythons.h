/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Python interpreters of the processes that are traced: recognised by their files, checked in
 * the living process, their object allocators probed, their pools looked at for every report.
 */
#ifndef LEAKSWEEP_ENGINE_PYTHONS_H
#define LEAKSWEEP_ENGINE_PYTHONS_H

#include <stdbool.h>
#include <stdint.h>

#include "attach/attacher.h"
#include "collect/python_view.h"
#include "collect/space_table.h"
#include "engine/same_files.h"
#include "include/python.h"

struct pythons_opts {
	const char *cache_dir; /* of what was found out about files; NULL = none */
	bool no_objects;       /* only frames: what pymalloc gives out is not followed */
	bool frees;	       /* frees of objects are probed too (attacher_opts.object_frees) */
	bool per_process;
	bool in_windows; /* no probes but by pythons__probe, which wants per_process */
	bool until_exit; /* the end of the interpreter is nothing special */
};

struct pythons;

/* `look_bytes`: what a look may take of the tool's own memory. The rest is borrowed. NULL: no
 * memory. */
struct pythons *pythons__new(const struct pythons_opts *opts, uint64_t look_bytes,
			     struct attacher *attacher, struct space_table *table,
			     struct same_files *same);
void pythons__free(struct pythons *pythons);

/*
 * Looks for an interpreter in what the space maps and puts its probes in place. `from_start`: the
 * process has not run yet. Returns 0 or -ENOMEM; what cannot be done is told with the views.
 */
int pythons__cover(struct pythons *pythons, struct space_info *space, bool from_start);

/* Tells how the pools of the space's interpreter are read, once it is known. */
bool pythons__pools(const struct pythons *pythons, uint32_t space, struct pool_scan_opts *ret);

/* Puts the probes of the space's interpreter in place, if it has one, until
 * attacher__forget_proc. Returns 0 or -ENOMEM. */
int pythons__probe(struct pythons *pythons, uint32_t space);

/*
 * Goes on with what waits: interpreters that were not initialised yet are checked; once recording
 * has begun, pools are looked at, so that what was there before is known. Returns 0 or -ENOMEM.
 */
int pythons__poll(struct pythons *pythons, bool is_recording);

/* Returns in how many milliseconds pythons__poll has something to do, -1 = not by itself. */
int pythons__wait_ms(const struct pythons *pythons);

/* Returns the version (struct python_build) of the space's interpreter, 0 = it has none. */
uint16_t pythons__version(const struct pythons *pythons, uint32_t space);

/* Forgets the interpreters of spaces that the space table has no more. Views are gone then. */
void pythons__drop_purged(struct pythons *pythons);

/*
 * Looks at the pools of all running Pythons, for a report. *ret_views belong to `pythons` and are
 * valid until the next call or pythons__end_look. Returns 0 or -ENOMEM.
 */
int pythons__look(struct pythons *pythons, const struct python_view **ret_views, size_t *ret_cnt);
void pythons__end_look(struct pythons *pythons);

/* The same without looking at pools: what is known of the interpreters. */
int pythons__views(struct pythons *pythons, const struct python_view **ret_views, size_t *ret_cnt);

/* Returns of how many Pythons it is not told whose some parts are, for want of look_bytes. */
size_t pythons__cut_cnt(const struct pythons *pythons);

#endif
