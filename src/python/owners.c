/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A census without its sums, and without the search for what lies outside the pools: objects in
 * pools are the owners of nearly all parts, wherever those are. Classes, which malloc gives room
 * to, are known by their objects.
 */
#include "python/owners.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/census_state.h"
#include "util/format.h"

#define TYPE_OF(owner) ((owner) & ~(OWNER_DICT_OF | OWNER_FREE_LIST))
#define PART_BYTES 64 /* in a table that may be growing */

struct python_owners {
	struct census_state state;
	uint64_t *room;
	uint32_t dict; /* number of the type dict; TYPE_NONE = not met */
	bool is_made;
	int err; /* why it could not be made */
};

struct python_owners *python_owners__new(struct python_types *types, const struct pool_scan *scan,
					 uint64_t *room)
{
	struct python_owners *owners = calloc(1, sizeof(*owners));

	if (!owners)
		return NULL;
	owners->state.process = python_types__process(types);
	owners->state.types = types;
	owners->state.scan = scan;
	owners->state.no_sizes = true;
	owners->room = room;
	owners->dict = TYPE_NONE;
	return owners;
}

void python_owners__free(struct python_owners *owners)
{
	if (!owners)
		return;
	census_state__free(&owners->state);
	free(owners);
}

/* A class is known by its objects, and has parts of its own. */
static int add_classes(struct census_state *state)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < python_types__cnt(state->types); i++) {
		const struct type_info *info = python_types__info(state->types, i);
		struct large_object class = {.addr = info->addr};

		if (!info->is_heap)
			continue;
		class.type = python_types__find(state->types, info->meta);
		if (class.type != TYPE_NONE)
			err = array_push(&state->large, class);
	}
	return err;
}

static int make(struct python_owners *owners)
{
	struct census_state *state = &owners->state;
	uint64_t bytes = (census_bit_cnt(state->scan) + 1) * sizeof(*state->classes);
	int err;

	if (!state->scan->pools.cnt)
		return -ENODATA;
	if (bytes + PART_BYTES > *owners->room)
		return -E2BIG;
	*owners->room -= bytes;
	state->max_parts = *owners->room / PART_BYTES;
	err = census_classify(state);
	if (!err)
		err = add_classes(state);
	if (err)
		return err;
	census_name_dicts(state);
	err = census_assign_parts(state);
	*owners->room -= state->parts.cnt * PART_BYTES;
	array_free(&state->memory.list);
	array_free(&state->large);
	return err;
}

bool python_owners__is_cut(const struct python_owners *owners)
{
	return owners &&
	       (owners->err == -E2BIG || (owners->is_made && !owners->err &&
					  owners->state.parts.cnt >= owners->state.max_parts));
}

static bool is_plain_dict(struct python_owners *owners, uint32_t type)
{
	const struct python_types *types = owners->state.types;

	if (owners->dict == TYPE_NONE && python_types__info(types, type)->kind == KIND_DICT &&
	    !strcmp(python_types__name(types, type), "dict"))
		owners->dict = type;
	return type == owners->dict;
}

/* ---- free lists ------------------------------------------------------------------------------ */

static uint64_t word_at(const uint8_t *data, size_t off)
{
	uint64_t word;

	memcpy(&word, data + off, sizeof(word));
	return word;
}

/*
 * Up to 3.13 a list, dict or tuple that waits for its next use keeps its type and its size; its
 * count is 0, and the collector does not know it (Objects/listobject.c, dictobject.c,
 * tupleobject.c). A type's number and flag, or TYPE_NONE.
 */
static uint32_t free_list_of(const struct census_state *state, const struct pool *pool, uint32_t i)
{
	uint8_t data[POOL_MAX_BLOCK];
	const struct python_layout *layout = &state->process->layout;
	const uint32_t head = layout->gc_head, room = pool->block_size;
	const struct type_info *info;
	uint64_t bytes;
	uint32_t type;

	if (head + layout->var_size + sizeof(bytes) > room ||
	    !pool_scan__read_block(state->scan, pool, i, data) || word_at(data, 0) ||
	    word_at(data, head))
		return TYPE_NONE;
	type = python_types__find(state->types, word_at(data, head + layout->object_type));
	if (type == TYPE_NONE)
		return TYPE_NONE;
	info = python_types__info(state->types, type);
	if (info->is_heap || info->head != head ||
	    (info->kind != KIND_LIST && info->kind != KIND_DICT && info->kind != KIND_TUPLE) ||
	    (strcmp(info->name, "list") && strcmp(info->name, "dict") &&
	     strcmp(info->name, "tuple")))
		return TYPE_NONE;
	bytes = python_types__object_bytes(state->types, info, data + head, room - head);
	if (bytes > room - head || room - head - bytes >= layout->alignment)
		return TYPE_NONE;
	return type | OWNER_FREE_LIST;
}

/* ---- answers --------------------------------------------------------------------------------- */

static uint32_t owner_of_class(uint32_t class)
{
	class &= ~CLASS_PART;
	if (class < CLASS_FIRST)
		return TYPE_NONE;
	return CLASS_TYPE(class) | (CLASS_IS_OWN_DICT(class) ? OWNER_DICT_OF : 0);
}

static uint32_t find(const struct census_state *state, uint64_t addr)
{
	const struct pool *pool = pool_scan__find(state->scan, addr);
	uint32_t i, class;
	uint64_t *slot;

	if (!pool) {
		slot = hashmap__find(&state->parts, addr, 0);
		return slot ? owner_of_class((uint32_t)*slot) : TYPE_NONE;
	}
	if (addr - pool->addr < PYTHON_POOL_HEADER)
		return TYPE_NONE;
	i = (uint32_t)((addr - pool->addr - PYTHON_POOL_HEADER) / pool->block_size);
	if (!pool_scan__block_is_live(state->scan, pool, i))
		return TYPE_NONE;
	class = state->classes[pool->live_at + i];
	return class == CLASS_NONE ? free_list_of(state, pool, i) : owner_of_class(class);
}

uint32_t python_owners__of(struct python_owners *owners, uint64_t addr, uint32_t type)
{
	uint32_t owner;

	if (!owners || (type != TYPE_NONE && !is_plain_dict(owners, type)))
		return type;
	if (!owners->is_made) {
		owners->is_made = true;
		owners->err = make(owners);
	}
	if (owners->err)
		return type;
	owner = find(&owners->state, addr);
	/* A dict is told by more than what somebody takes for a part of his. */
	if (type != TYPE_NONE && !(owner != TYPE_NONE && owner & OWNER_DICT_OF))
		return type;
	return owner;
}

char *python_owner__name(const struct python_types *types, uint32_t owner)
{
	const char *name = python_types__name(types, TYPE_OF(owner));

	if (owner == TYPE_NONE)
		return strdup("?");
	if (owner & OWNER_DICT_OF)
		return format_text("dict of %s", name);
	return owner & OWNER_FREE_LIST ? format_text("%s (free list)", name) : strdup(name);
}
