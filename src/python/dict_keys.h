/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of a dict's keys (struct _dictkeysobject): Objects/dict-common.h up to 3.10,
 * Include/internal/pycore_dict.h since.
 */
#ifndef LEAKSWEEP_PYTHON_DICT_KEYS_H
#define LEAKSWEEP_PYTHON_DICT_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#define DICT_KEYS_HEADER 40 /* bytes; what decoding needs of a table */

struct dict_keys {
	uint64_t bytes;	      /* of the whole table */
	uint64_t entries_off; /* of the first entry, from the table's begin */
	uint64_t entry_cnt;   /* begun */
	uint16_t entry_bytes;
	uint16_t key_off, value_off; /* in an entry: pointers to objects */
};

/* Decodes a header; false = it is none (freed, or changed meanwhile). */
bool dict_keys__decode(uint16_t version, const uint8_t header[static DICT_KEYS_HEADER],
		       struct dict_keys *ret);

#endif
