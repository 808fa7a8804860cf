/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Python code objects that the kernel side has told of, by the numbers that frames call them.
 */
#ifndef LEAKSWEEP_COLLECT_CODES_H
#define LEAKSWEEP_COLLECT_CODES_H

#include <stdint.h>

#include "python/code_object.h"
#include "util/hashmap.h"

/* As many as the kernel side remembers to have told (python_code_ids in bpf/maps.bpf.h). */
#define MAX_CODES (1U << 18)

/* Zero-initialise to make an empty table. */
struct code_table {
	struct hashmap by_id; /* {number, 0} -> struct code_entry, private to codes.c */
	uint64_t lost_cnt;    /* records that found no room */
};

void code_table__free(struct code_table *table);

/*
 * Adds what a record says; `version`, `rest` and `rest_len` as for code_object__decode. A number
 * that is known already, or one too many, changes nothing. Returns 0 or -ENOMEM.
 */
int code_table__add(struct code_table *table, const struct python_code *record, uint16_t version,
		    const uint8_t *rest, uint32_t rest_len);

/* Returns the code object of that number, owned by the table, or NULL. */
const struct code_object *code_table__find(const struct code_table *table, uint32_t id);

/* Frees the code objects of the spaces that are keys {space, 0} of `spaces`. */
void code_table__purge(struct code_table *table, const struct hashmap *spaces);

#endif
