/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/hashmap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

/* Keys come from strangers: without a secret they could choose ones that collide. */
static uint64_t hash_secret(void)
{
	static uint64_t secret;
	const void *random;

	if (secret)
		return secret;
	random = (const void *)(uintptr_t)getauxval(AT_RANDOM); /* 16 bytes from the kernel */
	if (random)
		memcpy(&secret, random, sizeof(secret));
	secret |= 1;
	return secret;
}

static size_t slot_of(const struct hashmap *map, uint64_t key, uint64_t key2)
{
	uint64_t hash = (key ^ hash_secret() ^ (key2 << 32 | key2 >> 32)) * 0x9e3779b97f4a7c15ULL;

	hash ^= hash >> 29;
	hash *= 0xbf58476d1ce4e5b9ULL;
	return (hash ^ hash >> 32) & (map->cap - 1);
}

/* Finds the slot of the key, or the empty slot where it belongs. The map has an empty slot. */
static struct hashmap_slot *find_slot(const struct hashmap *map, uint64_t key, uint64_t key2)
{
	size_t i = slot_of(map, key, key2);

	while (map->slots[i].used && (map->slots[i].key != key || map->slots[i].key2 != key2))
		i = (i + 1) & (map->cap - 1);
	return &map->slots[i];
}

static int grow(struct hashmap *map)
{
	struct hashmap bigger = {.cap = map->cap ? map->cap * 2 : 64, .cnt = map->cnt};

	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -1;
	for (size_t i = 0; i < map->cap; i++)
		if (map->slots[i].used)
			*find_slot(&bigger, map->slots[i].key, map->slots[i].key2) = map->slots[i];
	free(map->slots);
	*map = bigger;
	return 0;
}

void hashmap__free(struct hashmap *map)
{
	free(map->slots);
	*map = (struct hashmap){0};
}

void hashmap__clear(struct hashmap *map)
{
	if (map->slots)
		memset(map->slots, 0, map->cap * sizeof(*map->slots));
	map->cnt = 0;
}

uint64_t *hashmap__find(const struct hashmap *map, uint64_t key, uint64_t key2)
{
	struct hashmap_slot *slot;

	if (!map->cnt)
		return NULL;
	slot = find_slot(map, key, key2);
	return slot->used ? &slot->value : NULL;
}

uint64_t *hashmap__insert(struct hashmap *map, uint64_t key, uint64_t key2, bool *ret_new)
{
	struct hashmap_slot *slot;

	if (map->cnt * 10 >= map->cap * 7 && grow(map))
		return NULL;
	slot = find_slot(map, key, key2);
	if (ret_new)
		*ret_new = !slot->used;
	if (!slot->used) {
		*slot = (struct hashmap_slot){.key = key, .key2 = key2, .used = true};
		map->cnt++;
	}
	return &slot->value;
}

bool hashmap__remove(struct hashmap *map, uint64_t key, uint64_t key2)
{
	struct hashmap_slot *hole;
	size_t i, j, home;

	if (!map->cnt)
		return false;
	hole = find_slot(map, key, key2);
	if (!hole->used)
		return false;
	/* Close the gap: move back every follower whose home lies at or before the hole. */
	i = hole - map->slots;
	for (j = (i + 1) & (map->cap - 1); map->slots[j].used; j = (j + 1) & (map->cap - 1)) {
		home = slot_of(map, map->slots[j].key, map->slots[j].key2);
		if (((j - home) & (map->cap - 1)) >= ((j - i) & (map->cap - 1))) {
			map->slots[i] = map->slots[j];
			i = j;
		}
	}
	map->slots[i].used = false;
	map->cnt--;
	return true;
}
