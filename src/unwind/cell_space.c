/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/cell_space.h"

#include <stdbool.h>
#include <string.h>

void cell_space__free(struct cell_space *space)
{
	for (size_t i = 0; i < space->chunks.cnt; i++)
		array_free(&space->chunks.items[i].gaps);
	array_free(&space->chunks);
	space->free_cnt = 0;
}

/* Makes room for one gap more than there can be now: taking cells can split a gap. */
static int reserve_gap(struct cell_chunk *chunk)
{
	size_t wanted = (size_t)chunk->max_gaps + 1, cap = chunk->gaps.cap ? chunk->gaps.cap : 8;
	struct cell_range *grown;

	while (cap < wanted)
		cap *= 2;
	if (cap > chunk->gaps.cap) {
		grown = realloc(chunk->gaps.items, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		chunk->gaps.items = grown;
		chunk->gaps.cap = cap;
	}
	chunk->max_gaps++;
	return 0;
}

int cell_space__add_chunk(struct cell_space *space)
{
	struct cell_chunk chunk = {.free_cnt = UNWIND_CHUNK_CELLS};
	int err;

	err = reserve_gap(&chunk);
	if (err)
		return err;
	chunk.gaps.items[chunk.gaps.cnt++] = (struct cell_range){
		.at = (uint32_t)space->chunks.cnt << UNWIND_CHUNK_BITS,
		.cnt = UNWIND_CHUNK_CELLS,
	};
	err = array_push(&space->chunks, chunk);
	if (err)
		array_free(&chunk.gaps);
	else
		space->free_cnt += UNWIND_CHUNK_CELLS;
	return err;
}

static void remove_gap(struct cell_chunk *chunk, size_t i)
{
	chunk->gaps.cnt--;
	memmove(&chunk->gaps.items[i], &chunk->gaps.items[i + 1],
		(chunk->gaps.cnt - i) * sizeof(struct cell_range));
}

static int take_from(struct cell_chunk *chunk, uint32_t cnt, uint32_t *ret_at)
{
	struct cell_range *gap;
	int err;

	if (chunk->free_cnt < cnt)
		return -ENOSPC;
	for (size_t i = 0; i < chunk->gaps.cnt; i++) {
		gap = &chunk->gaps.items[i];
		if (gap->cnt < cnt)
			continue;
		err = reserve_gap(chunk);
		if (err)
			return err;
		gap = &chunk->gaps.items[i];
		*ret_at = gap->at;
		gap->at += cnt;
		gap->cnt -= cnt;
		chunk->free_cnt -= cnt;
		if (!gap->cnt)
			remove_gap(chunk, i);
		return 0;
	}
	return -ENOSPC;
}

int cell_space__take(struct cell_space *space, uint32_t cnt, uint32_t *from_chunk, uint32_t *ret_at)
{
	size_t chunk_cnt = space->chunks.cnt, chunk = *from_chunk;
	int err = -ENOSPC;

	for (size_t i = 0; i < chunk_cnt && err == -ENOSPC; i++, chunk++) {
		if (chunk >= chunk_cnt)
			chunk = 0;
		err = take_from(&space->chunks.items[chunk], cnt, ret_at);
		if (err)
			continue;
		space->free_cnt -= cnt;
		*from_chunk = (uint32_t)chunk;
		return 0;
	}
	return err;
}

/* Returns the index of the first gap behind `at`. */
static size_t find_gap(const struct cell_chunk *chunk, uint32_t at)
{
	size_t low = 0, high = chunk->gaps.cnt, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (chunk->gaps.items[middle].at > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void cell_space__give(struct cell_space *space, struct cell_range range)
{
	struct cell_chunk *chunk = &space->chunks.items[range.at >> UNWIND_CHUNK_BITS];
	size_t i = find_gap(chunk, range.at);
	struct cell_range *next = &chunk->gaps.items[i], *last = next - 1;
	bool joins_last = i && last->at + last->cnt == range.at;
	bool joins_next = i < chunk->gaps.cnt && range.at + range.cnt == next->at;

	chunk->free_cnt += range.cnt;
	space->free_cnt += range.cnt;
	if (joins_last && joins_next) {
		last->cnt += range.cnt + next->cnt;
		remove_gap(chunk, i);
	} else if (joins_last) {
		last->cnt += range.cnt;
	} else if (joins_next) {
		next->at = range.at;
		next->cnt += range.cnt;
	} else {
		memmove(next + 1, next, (chunk->gaps.cnt - i) * sizeof(*next));
		*next = range;
		chunk->gaps.cnt++;
	}
}
