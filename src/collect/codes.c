/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/codes.h"

#include <errno.h>
#include <stdlib.h>

struct code_entry {
	uint32_t space;
	struct code_object code;
};

static struct code_entry *entry_of(const struct hashmap_slot *slot)
{
	return slot->used ? (struct code_entry *)(uintptr_t)slot->value : NULL;
}

static void free_entry(struct code_entry *entry)
{
	if (entry)
		code_object__free(&entry->code);
	free(entry);
}

void code_table__free(struct code_table *table)
{
	for (size_t i = 0; i < table->by_id.cap; i++)
		free_entry(entry_of(&table->by_id.slots[i]));
	hashmap__free(&table->by_id);
}

int code_table__add(struct code_table *table, const struct python_code *record, uint16_t version,
		    const uint8_t *rest, uint32_t rest_len)
{
	struct code_entry *entry;
	uint64_t *slot;
	int err;

	if (hashmap__find(&table->by_id, record->id, 0))
		return 0;
	if (table->by_id.cnt >= MAX_CODES) {
		table->lost_cnt++;
		return 0;
	}
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->space = record->space;
	err = code_object__decode(record, version, rest, rest_len, &entry->code);
	if (err) {
		free(entry);
		return err;
	}
	slot = hashmap__insert(&table->by_id, record->id, 0, NULL);
	if (!slot) {
		free_entry(entry);
		return -ENOMEM;
	}
	*slot = (uintptr_t)entry;
	return 0;
}

const struct code_object *code_table__find(const struct code_table *table, uint32_t id)
{
	uint64_t *slot = hashmap__find(&table->by_id, id, 0);

	return slot ? &((const struct code_entry *)(uintptr_t)*slot)->code : NULL;
}

void code_table__purge(struct code_table *table, const struct hashmap *spaces)
{
	ARRAY(uint64_t) gone = {0};

	for (size_t i = 0; i < table->by_id.cap; i++) {
		const struct hashmap_slot *slot = &table->by_id.slots[i];
		struct code_entry *entry = entry_of(slot);

		/* Removing moves other slots: afterwards. Without memory it stays, unused. */
		if (entry && hashmap__find(spaces, entry->space, 0) && array_push(&gone, slot->key))
			break;
	}
	for (size_t i = 0; i < gone.cnt; i++) {
		uint64_t *slot = hashmap__find(&table->by_id, gone.items[i], 0);

		free_entry((struct code_entry *)(uintptr_t)*slot);
		hashmap__remove(&table->by_id, gone.items[i], 0);
	}
	array_free(&gone);
}
