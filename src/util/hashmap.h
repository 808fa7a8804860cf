/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open-addressing hash map from a pair of 64-bit keys to a 64-bit value. */
#ifndef LEAKSWEEP_UTIL_HASHMAP_H
#define LEAKSWEEP_UTIL_HASHMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hashmap_slot {
	uint64_t key, key2, value;
	bool used;
};

/* Zero-initialise to make an empty map. */
struct hashmap {
	struct hashmap_slot *slots;
	size_t cnt, cap;
};

/* Frees the slots and leaves an empty map. */
void hashmap__free(struct hashmap *map);

/* Removes every entry, keeping the memory. */
void hashmap__clear(struct hashmap *map);

/* Returns a pointer to the value of {key, key2}, valid until the next insert, or NULL. */
uint64_t *hashmap__find(const struct hashmap *map, uint64_t key, uint64_t key2);

/*
 * Returns a pointer to the value of {key, key2}, inserted as 0 when it was absent (*ret_new tells,
 * and may be NULL). NULL = out of memory.
 */
uint64_t *hashmap__insert(struct hashmap *map, uint64_t key, uint64_t key2, bool *ret_new);

/* Removes {key, key2}. Returns whether it was there. */
bool hashmap__remove(struct hashmap *map, uint64_t key, uint64_t key2);

#endif
