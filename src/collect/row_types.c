/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/row_types.h"

#include <errno.h>
#include <stdlib.h>

#include "util/remote.h"

#define BATCH 512 /* blocks */

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

/* Reads the beginning of `cnt` blocks of one process; ret_read tells which could be read. */
static void read_batch(const struct large_block *blocks, size_t cnt, uint8_t *bytes, bool *ret_read)
{
	for (size_t i = 0; i < cnt; i++)
		ret_read[i] = !remote_read(blocks[i].pid, blocks[i].addr,
					   bytes + i * LARGE_READ_BYTES, LARGE_READ_BYTES);
}

int row_types__read_large(struct row_types *types)
{
	uint8_t *bytes = malloc((size_t)BATCH * LARGE_READ_BYTES);
	bool was_read[BATCH];
	size_t cnt;
	int err = 0;

	if (!bytes)
		return -ENOMEM;
	if (types->large.cnt)
		qsort(types->large.items, types->large.cnt, sizeof(struct large_block),
		      compare_pids);
	for (size_t begin = 0; begin < types->large.cnt && !err; begin += cnt) {
		const struct large_block *blocks = &types->large.items[begin];

		for (cnt = 1; cnt < BATCH && begin + cnt < types->large.cnt; cnt++)
			if (blocks[cnt].pid != blocks[0].pid)
				break;
		read_batch(blocks, cnt, bytes, was_read);
		for (size_t i = 0; i < cnt && !err; i++) {
			uint32_t object, type;

			if (!was_read[i])
				continue;
			type = python_types__of_block(blocks[i].types, bytes + i * LARGE_READ_BYTES,
						      LARGE_READ_BYTES, &object);
			type = python_owners__of(blocks[i].owners, blocks[i].addr, type);
			err = row_types__add(types, blocks[i].row, type, blocks[i].bytes,
					     blocks[i].count_q16);
		}
	}
	types->large.cnt = 0;
	free(bytes);
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
