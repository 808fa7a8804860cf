/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which files have been looked at for allocators and which are probed. A file is read once and, in
 * host scope, probed once however many processes map it.
 */
#ifndef LEAKSWEEP_ENGINE_PROBER_H
#define LEAKSWEEP_ENGINE_PROBER_H

#include <stdbool.h>

#include "attach/attacher.h"
#include "collect/space_table.h"
#include "discover/elf_allocs.h"
#include "engine/same_files.h"

struct prober;

/* Everything is borrowed. `per_process`: breakpoints only in the processes covered. NULL: no
 * memory. */
struct prober *prober__new(struct attacher *attacher, struct space_table *table,
			   struct same_files *same, const struct elf_allocs_opts *opts,
			   bool per_process);
void prober__free(struct prober *prober);

/*
 * Probes every allocator that the space's code mappings hold and notes the coverage in the space.
 * *ret_new_cnt, if not NULL, is the number of files that were not probed before. Returns 0 or a
 * negative errno; what cannot be probed is no error but coverage.
 */
int prober__cover(struct prober *prober, struct space_info *space, size_t *ret_new_cnt);

/* Reads the files that the space's code is of, so that prober__cover does not have to. Returns 0 or
 * -ENOMEM. */
int prober__prepare(struct prober *prober, struct space_info *space);

/* The space's probes have been taken away (attacher__forget_proc); prober__cover makes them anew.
 */
void prober__forget(struct prober *prober, const struct space_info *space);

/* Returns the main reason why no allocator of the space is probed, as an owned sentence, or NULL if
 * one is. */
char *prober__obstacle(const struct space_info *space);

#endif
