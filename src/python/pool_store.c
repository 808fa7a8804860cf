/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/pool_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/pages.h"
#include "util/array.h"
#include "util/remote.h"

#define PIECE_POOLS 64
#define SLOTS 64 /* pools that were read again and are still there */

struct piece {
	uint8_t *bytes; /* owned */
};

struct pool_store {
	pid_t pid;
	uint32_t pool_bytes;
	uint64_t keep_bytes, kept_bytes;
	ARRAY(struct piece) pieces;
	uint8_t *piece;		/* the last one for copies, owned by `pieces` */
	unsigned int piece_cnt; /* pools in it */
	uint8_t *slots;		/* SLOTS pools, NULL = none was read again */
	uint64_t slot_addrs[SLOTS];
	struct page_map pages; /* open when there are slots */
	struct page_runs runs;
};

struct pool_store *pool_store__new(pid_t pid, uint32_t pool_bytes, uint64_t keep_bytes)
{
	struct pool_store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	store->pid = pid;
	store->pool_bytes = pool_bytes;
	store->keep_bytes = keep_bytes;
	store->pages.fd = -1;
	return store;
}

void pool_store__free(struct pool_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < store->pieces.cnt; i++)
		free(store->pieces.items[i].bytes);
	array_free(&store->pieces);
	array_free(&store->runs.list);
	page_map__close(&store->pages);
	free(store->slots);
	free(store);
}

uint64_t pool_store__kept_bytes(const struct pool_store *store)
{
	return store->kept_bytes;
}

/* ---- copies ---------------------------------------------------------------------------------- */

bool pool_store__take_over(struct pool_store *store, uint8_t *bytes, uint64_t len)
{
	struct piece piece = {bytes};

	if (len > store->keep_bytes - store->kept_bytes || array_push(&store->pieces, piece))
		return false;
	store->kept_bytes += len;
	return true;
}

int pool_store__copy(struct pool_store *store, const uint8_t *data, const uint8_t **ret)
{
	uint64_t len = (uint64_t)PIECE_POOLS * store->pool_bytes;
	uint8_t *copy;

	*ret = NULL;
	if (!store->piece || store->piece_cnt == PIECE_POOLS) {
		if (len > store->keep_bytes - store->kept_bytes)
			return 0;
		store->piece = malloc(len);
		if (!store->piece || !pool_store__take_over(store, store->piece, len)) {
			free(store->piece);
			store->piece = NULL;
			return -ENOMEM;
		}
		store->piece_cnt = 0;
	}
	copy = store->piece + (size_t)store->piece_cnt++ * store->pool_bytes;
	memcpy(copy, data, store->pool_bytes);
	*ret = copy;
	return 0;
}

/* ---- the others ------------------------------------------------------------------------------ */

static bool make_slots(struct pool_store *store)
{
	if (store->slots)
		return true;
	if (page_map__open(store->pid, &store->pages))
		return false;
	store->slots = malloc((size_t)SLOTS * store->pool_bytes);
	if (!store->slots)
		page_map__close(&store->pages);
	return store->slots;
}

/* Only what is in memory is read: nothing is to come back from swap for this. */
static bool read_pool(struct pool_store *store, uint64_t addr, uint8_t *buf)
{
	memset(buf, 0, store->pool_bytes);
	if (page_map__list(&store->pages, addr, addr + store->pool_bytes, &store->runs))
		return false;
	for (size_t i = 0; i < store->runs.list.cnt; i++) {
		const struct page_run *run = &store->runs.list.items[i];
		int err = remote_read(store->pid, run->start, buf + (run->start - addr),
				      run->end - run->start);

		if (err && err != -EFAULT)
			return false;
	}
	return true;
}

const uint8_t *pool_store__read_again(struct pool_store *store, uint64_t addr)
{
	size_t nr = addr / store->pool_bytes % SLOTS;
	uint8_t *slot;

	if (!make_slots(store))
		return NULL;
	slot = store->slots + nr * store->pool_bytes;
	if (store->slot_addrs[nr] == addr)
		return slot;
	store->slot_addrs[nr] = 0;
	if (!read_pool(store, addr, slot))
		return NULL;
	store->slot_addrs[nr] = addr;
	return slot;
}
