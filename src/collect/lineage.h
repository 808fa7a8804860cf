/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who owns what after fork. A child owns a copy of every block that lived in its parent at that
 * moment. Nothing is copied when it forks (most children exec at once); the copy is worked out when
 * somebody asks, from
 *   - the parent's blocks that live now and were there before the fork,
 *   - the parent's blocks that it has freed since (EV_ANCESTOR_FREE),
 *   - what the parent itself had inherited, minus what it freed of that before the fork,
 * minus what the child has freed (EV_UNKNOWN_FREE). Pure.
 */
#ifndef LEAKSWEEP_COLLECT_LINEAGE_H
#define LEAKSWEEP_COLLECT_LINEAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "collect/space_table.h"
#include "util/array.h"
#include "util/hashmap.h"

struct held_block {
	uint64_t addr;
	struct block block;
};

/* Live blocks of the spaces that living descendants inherit from, taken from the block table by the
 * caller. */
struct lineage {
	const struct space_table *table;
	struct hashmap by_space; /* {space, 0} -> index + 1 */
	ARRAY(struct held_blocks {
		uint32_t space;
		ARRAY(struct held_block) blocks;
	})
	held;
};

/* One block that a space inherited. */
struct inherited_block {
	uint64_t addr;
	const struct block *block;
	bool freed; /* by the child, meanwhile */
};

struct inherited_blocks {
	ARRAY(struct inherited_block) blocks;
	uint64_t unknown_frees; /* frees in the child that match nothing it inherited */
};

/* Begins: finds out which spaces are ancestors of living ones, or of ended ones whose frees have
 * not been looked into. Returns 0 or -ENOMEM. */
int lineage__begin(struct lineage *lineage, const struct space_table *table);
void lineage__free(struct lineage *lineage);

/* Whether blocks of this space are wanted, and adding one. Returns 0 or -ENOMEM. */
bool lineage__wants(const struct lineage *lineage, uint32_t space);
int lineage__add(struct lineage *lineage, uint32_t space, uint64_t addr, const struct block *block);

/*
 * Lists what `space` inherited. Pointers lead into `lineage` and the table and live as long as they
 * do not change. Returns 0 or -ENOMEM; free with inherited_blocks__free.
 */
int lineage__inherited(const struct lineage *lineage, const struct space_info *space,
		       struct inherited_blocks *ret);
void inherited_blocks__free(struct inherited_blocks *blocks);

#endif
