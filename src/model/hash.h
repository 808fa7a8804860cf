/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hashes of what the model compares. No secrets: whoever uses them settles equal ones in full. */
#ifndef LEAKSWEEP_MODEL_HASH_H
#define LEAKSWEEP_MODEL_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	hash ^= hash >> 29;
	hash *= 0xbf58476d1ce4e5b9ULL;
	return hash ^ hash >> 32;
}

/* FNV-1a. */
static inline uint64_t hash_bytes(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	return hash;
}

static inline uint64_t hash_text(const char *text)
{
	return hash_bytes(text, strlen(text));
}

#endif
