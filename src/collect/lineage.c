/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/lineage.h"

#include <errno.h>

#define MAX_GENERATIONS 32

static struct held_blocks *held_of(const struct lineage *lineage, uint32_t space)
{
	uint64_t *slot = hashmap__find(&lineage->by_space, space, 0);

	return slot ? &lineage->held.items[*slot - 1] : NULL;
}

/* Marks all ancestors of a space as wanted. */
static int want_ancestors(struct lineage *lineage, const struct space_info *space)
{
	for (int i = 0; i < MAX_GENERATIONS && space && space->parent; i++) {
		struct held_blocks held = {.space = space->parent};
		bool is_new;
		uint64_t *slot = hashmap__insert(&lineage->by_space, space->parent, 0, &is_new);

		if (!slot)
			return -ENOMEM;
		if (!is_new)
			break; /* and so are the ancestors above */
		if (array_push(&lineage->held, held)) {
			hashmap__remove(&lineage->by_space, space->parent, 0);
			return -ENOMEM;
		}
		*slot = lineage->held.cnt;
		space = space_table__find(lineage->table, space->parent);
	}
	return 0;
}

int lineage__begin(struct lineage *lineage, const struct space_table *table)
{
	int err = 0;

	*lineage = (struct lineage){.table = table};
	for (size_t i = 0; i < table->spaces.cnt && !err; i++)
		if (table->spaces.items[i]->state == PROC_RUNNING ||
		    table->spaces.items[i]->unknown_free_cnt)
			err = want_ancestors(lineage, table->spaces.items[i]);
	return err;
}

void lineage__free(struct lineage *lineage)
{
	for (size_t i = 0; i < lineage->held.cnt; i++)
		array_free(&lineage->held.items[i].blocks);
	array_free(&lineage->held);
	hashmap__free(&lineage->by_space);
}

bool lineage__wants(const struct lineage *lineage, uint32_t space)
{
	return lineage->held.cnt && hashmap__find(&lineage->by_space, space, 0);
}

int lineage__add(struct lineage *lineage, uint32_t space, uint64_t addr, const struct block *block)
{
	struct held_blocks *held = held_of(lineage, space);
	struct held_block item = {.addr = addr, .block = *block};

	return held && array_push(&held->blocks, item) ? -ENOMEM : 0;
}

/* Adds what `parent` owned itself at time `at_ns`. */
static int add_own(const struct lineage *lineage, const struct space_info *parent, uint64_t at_ns,
		   struct inherited_blocks *out)
{
	const struct held_blocks *held = held_of(lineage, parent->id);

	for (size_t i = 0; held && i < held->blocks.cnt; i++) {
		const struct held_block *h = &held->blocks.items[i];
		struct inherited_block item = {.addr = h->addr, .block = &h->block};

		if (h->block.born_ns < at_ns && array_push(&out->blocks, item))
			return -ENOMEM;
	}
	for (size_t i = 0; i < parent->ancestor_frees.cnt; i++) {
		const struct freed_block *f = &parent->ancestor_frees.items[i];
		struct inherited_block item = {.addr = f->addr, .block = &f->block};

		if (f->block.born_ns < at_ns && f->time_ns > at_ns &&
		    array_push(&out->blocks, item))
			return -ENOMEM;
	}
	return 0;
}

int lineage__inherited(const struct lineage *lineage, const struct space_info *space,
		       struct inherited_blocks *ret)
{
	const struct space_info *chain[MAX_GENERATIONS + 1] = {space};
	struct inherited_blocks out = {0};
	size_t generations = 0, kept;
	int err = 0;

	while (generations < MAX_GENERATIONS && chain[generations]->parent) {
		chain[generations + 1] =
			space_table__find(lineage->table, chain[generations]->parent);
		if (!chain[generations + 1])
			break;
		generations++;
	}
	/* From the oldest ancestor down: what each had at the moment its child was born. */
	for (size_t g = generations; g > 0 && !err; g--) {
		const struct space_info *parent = chain[g], *child = chain[g - 1];

		kept = 0;
		for (size_t i = 0; i < out.blocks.cnt; i++) {
			uint64_t *freed =
				hashmap__find(&parent->unknown_frees, out.blocks.items[i].addr, 0);

			if (!freed || *freed >> 1 > child->born_ns)
				out.blocks.items[kept++] = out.blocks.items[i];
		}
		out.blocks.cnt = kept;
		err = add_own(lineage, parent, child->born_ns, &out);
	}
	if (err) {
		inherited_blocks__free(&out);
		return err;
	}
	out.unknown_frees = space->unknown_free_cnt;
	for (size_t i = 0; i < out.blocks.cnt; i++) {
		uint64_t *freed = hashmap__find(&space->unknown_frees, out.blocks.items[i].addr, 0);

		if (!freed)
			continue;
		out.blocks.items[i].freed = true;
		if (!(*freed & 1) && out.unknown_frees) /* an address may be listed twice when a
					  free in between was lost */
			out.unknown_frees--;
	}
	*ret = out;
	return 0;
}

void inherited_blocks__free(struct inherited_blocks *blocks)
{
	array_free(&blocks->blocks);
}
