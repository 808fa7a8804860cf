/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Of the blocks that are live: those in the heaps of which it is known what is resident. */
#include "collect/pass.h"

#include <errno.h>
#include <stdlib.h>

#include "bpf/sample.bpf.h"

/* glibc's malloc.c on 64-bit machines: a size before each block, multiples of 16 bytes. */
#define CHUNK_HEADER 8
#define CHUNK_ALIGN 16
#define LEAST_CHUNK 32

static int compare_spaces(const void *a, const void *b)
{
	const struct resident_pass *x = a, *y = b;

	return x->view->space < y->view->space ? -1 : x->view->space > y->view->space;
}

int pass__begin_residents(struct collector *c)
{
	c->residents.cnt = 0;
	for (size_t i = 0; i < c->opts->resident_cnt; i++) {
		const struct resident_pass resident = {.view = &c->opts->residents[i]};

		if (array_push(&c->residents, resident))
			return -ENOMEM;
	}
	if (c->residents.cnt)
		qsort(c->residents.items, c->residents.cnt, sizeof(struct resident_pass),
		      compare_spaces);
	return 0;
}

static struct resident_pass *find(const struct collector *c, uint32_t space)
{
	const struct resident_view view = {.space = space};
	const struct resident_pass key = {.view = &view};

	if (!c->residents.cnt)
		return NULL;
	return bsearch(&key, c->residents.items, c->residents.cnt, sizeof(key), compare_spaces);
}

static int compare_address(const void *key, const void *item)
{
	const struct heap_range *range = item;
	uint64_t addr = *(const uint64_t *)key;

	return addr < range->start ? -1 : addr >= range->end;
}

static uint64_t chunk_bytes(uint64_t size)
{
	uint64_t chunk = (size + CHUNK_HEADER + CHUNK_ALIGN - 1) & ~(uint64_t)(CHUNK_ALIGN - 1);

	return chunk < LEAST_CHUNK ? LEAST_CHUNK : chunk;
}

void pass__count_heap(struct collector *c, uint32_t space, const struct found_block *found)
{
	struct resident_pass *resident;

	if (found->block->layer != LAYER_MALLOC)
		return;
	resident = find(c, space);
	if (!resident || !resident->view->heap_cnt ||
	    !bsearch(&found->addr, resident->view->heaps, resident->view->heap_cnt,
		     sizeof(struct heap_range), compare_address))
		return;
	/* What a call within another one took is in use as well, but the outer one tells of it. */
	if (!(found->block->flags & BLOCK_NESTED))
		resident->live_bytes += found->bytes;
	resident->used_bytes +=
		(unsigned __int128)chunk_bytes(found->block->size) * found->count_q16 >>
		WEIGHT_SHIFT;
}

void pass__tell_resident(const struct collector *c, uint32_t space, struct snap_resident *ret)
{
	const struct resident_pass *resident = find(c, space);

	if (!resident)
		return;
	*ret = resident->view->resident;
	ret->heaps_live_bytes = resident->live_bytes;
	ret->heaps_used_bytes = resident->used_bytes;
}
