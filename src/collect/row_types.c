/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/row_types.h"

#include <errno.h>
#include <stdlib.h>

#include "util/remote.h"

void row_types__free(struct row_types *types)
{
	array_free(&types->counts);
	array_free(&types->large);
	hashmap__free(&types->index);
	hashmap__free(&types->heads);
}

void row_types__clear(struct row_types *types)
{
	types->counts.cnt = 0;
	types->large.cnt = 0;
	hashmap__clear(&types->index);
	hashmap__clear(&types->heads);
}

int row_types__add(struct row_types *types, uint32_t row, uint32_t type, int64_t bytes,
		   int64_t count_q16)
{
	struct type_count count = {.type = type};
	uint64_t *slot, *head;
	bool is_new;

	if (types->counts.cnt >= UINT32_MAX || array_reserve_one(&types->counts))
		return -ENOMEM;
	head = hashmap__insert(&types->heads, row, 0, NULL);
	if (!head)
		return -ENOMEM;
	slot = hashmap__insert(&types->index, row, type, &is_new);
	if (!slot)
		return -ENOMEM;
	if (is_new) {
		count.next = *head;
		types->counts.items[types->counts.cnt++] = count;
		*slot = *head = types->counts.cnt;
	}
	types->counts.items[*slot - 1].bytes += bytes;
	types->counts.items[*slot - 1].count_q16 += count_q16;
	return 0;
}

int row_types__add_large(struct row_types *types, const struct large_block *block)
{
	if (types->large.cnt >= MAX_LARGE_READS)
		return 0;
	return array_push(&types->large, *block);
}

static int compare_pids(const void *a, const void *b)
{
	const struct large_block *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* Reads the beginning of a block and counts its type; one that cannot be read has none. */
static int read_large(struct row_types *types, const struct large_block *block)
{
	uint8_t bytes[LARGE_READ_BYTES];
	uint32_t object, type;

	if (remote_read(block->pid, block->addr, bytes, sizeof(bytes)))
		return 0;
	type = python_types__of_block(block->types, bytes, sizeof(bytes), &object);
	type = python_owners__of(block->owners, block->addr, type);
	return row_types__add(types, block->row, type, block->bytes, block->count_q16);
}

int row_types__read_large(struct row_types *types)
{
	int err = 0;

	/* The files of few processes are kept open (util/remote.c). */
	if (types->large.cnt)
		qsort(types->large.items, types->large.cnt, sizeof(struct large_block),
		      compare_pids);
	for (size_t i = 0; i < types->large.cnt && !err; i++)
		err = read_large(types, &types->large.items[i]);
	types->large.cnt = 0;
	return err;
}

const struct type_count *row_types__first(const struct row_types *types, uint32_t row)
{
	uint64_t *head = hashmap__find(&types->heads, row, 0);

	return head ? &types->counts.items[*head - 1] : NULL;
}

const struct type_count *row_types__next(const struct row_types *types,
					 const struct type_count *count)
{
	return count->next ? &types->counts.items[count->next - 1] : NULL;
}
