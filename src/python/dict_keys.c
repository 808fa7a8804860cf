/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/dict_keys.h"

#include <string.h>

#define MAX_LOG2_SIZE 40
#define GENERAL 24 /* PyDictKeyEntry: hash, key, value */
#define UNICODE 16 /* PyDictUnicodeEntry: key, value */

static uint64_t word64(const uint8_t *data, size_t off)
{
	uint64_t value;

	memcpy(&value, data + off, sizeof(value));
	return value;
}

/* dk_refcnt, dk_size, dk_lookup, dk_usable, dk_nentries, indices. */
static bool decode_of_38(const uint8_t *header, struct dict_keys *ret)
{
	uint64_t refs = word64(header, 0), size = word64(header, 8), cnt = word64(header, 32);
	uint64_t index_bytes, usable = size * 2 / 3;

	if (!refs || refs >> 40 || !size || size & (size - 1) || size >> MAX_LOG2_SIZE ||
	    cnt > usable)
		return false;
	index_bytes = size <= 0xff ? 1 : size <= 0xffff ? 2 : size <= 0xffffffff ? 4 : 8;
	*ret = (struct dict_keys){
		.entries_off = 40 + size * index_bytes,
		.entry_cnt = cnt,
		.entry_bytes = GENERAL,
		.key_off = 8,
		.value_off = 16,
	};
	ret->bytes = ret->entries_off + usable * GENERAL;
	return true;
}

/* dk_refcnt, bytes: dk_log2_size, dk_log2_index_bytes, dk_kind; dk_usable, dk_nentries, indices. */
static bool decode_of_311(const uint8_t *header, struct dict_keys *ret)
{
	uint64_t refs = word64(header, 0), cnt = word64(header, 24), usable;
	uint8_t size = header[8], index = header[9], kind = header[10];

	/* The empty table has 8 bytes of indices for one slot. */
	if (!refs || refs >> 40 || size > MAX_LOG2_SIZE || kind > 2 || index > size + 3)
		return false;
	usable = (1ULL << size) * 2 / 3;
	if (cnt > usable)
		return false;
	*ret = (struct dict_keys){
		.entries_off = 32 + (1ULL << index),
		.entry_cnt = cnt,
		.entry_bytes = kind ? UNICODE : GENERAL,
		.key_off = kind ? 0 : 8,
		.value_off = kind ? 8 : 16,
	};
	ret->bytes = ret->entries_off + usable * ret->entry_bytes;
	return true;
}

bool dict_keys__decode(uint16_t version, const uint8_t header[static DICT_KEYS_HEADER],
		       struct dict_keys *ret)
{
	return version < 0x030b ? decode_of_38(header, ret) : decode_of_311(header, ret);
}
