/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/siphash.h"

#include <endian.h>
#include <string.h>

static inline uint64_t rotate(uint64_t x, unsigned int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void round_one(uint64_t v[static 4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static inline void add_word(uint64_t v[static 4], uint64_t word)
{
	v[3] ^= word;
	round_one(v);
	v[0] ^= word;
}

static inline uint64_t load_word(const uint8_t *from)
{
	uint64_t word;

	memcpy(&word, from, sizeof(word));
	return le64toh(word);
}

void siphash__init(struct siphash *hash, const uint8_t key[static SIPHASH_BYTES])
{
	uint64_t k0 = load_word(key), k1 = load_word(key + 8);

	*hash = (struct siphash){
		/* "somepseudorandomlygeneratedbytes"; 0xee = the output is long */
		.v = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d ^ 0xee,
		      k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573},
	};
}

void siphash__update(struct siphash *hash, const void *data, size_t len)
{
	const uint8_t *from = data;
	uint64_t v[4];

	for (; len && hash->len % 8; from++, len--) {
		hash->tail |= (uint64_t)*from << (8 * (hash->len++ % 8));
		if (hash->len % 8)
			continue;
		add_word(hash->v, hash->tail);
		hash->tail = 0;
	}
	/* A copy of our own: `data` may be anything, so the compiler could keep nothing in
	 * registers. */
	memcpy(v, hash->v, sizeof(v));
	hash->len += len;
	for (; len >= 8; from += 8, len -= 8)
		add_word(v, load_word(from));
	memcpy(hash->v, v, sizeof(v));
	for (size_t i = 0; i < len; i++)
		hash->tail |= (uint64_t)from[i] << (8 * i);
}

static uint64_t finish_half(uint64_t v[static 4])
{
	for (int i = 0; i < 3; i++)
		round_one(v);
	return htole64(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

void siphash__final(const struct siphash *hash, uint8_t ret[static SIPHASH_BYTES])
{
	uint64_t v[4], half;

	memcpy(v, hash->v, sizeof(v));
	add_word(v, hash->tail | hash->len << 56);
	v[2] ^= 0xee;
	half = finish_half(v);
	memcpy(ret, &half, sizeof(half));
	v[1] ^= 0xdd;
	half = finish_half(v);
	memcpy(ret + 8, &half, sizeof(half));
}
