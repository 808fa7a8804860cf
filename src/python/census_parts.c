/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What belongs to an object beside its own block. The structs are those of Include/cpython (list,
 * dict, set, bytearray, unicode objects) and of Modules/_collectionsmodule.c, the same from 3.8 to
 * 3.14 where no version is asked for.
 */
#include <errno.h>
#include <string.h>

#include "python/census_state.h"
#include "python/dict_keys.h"

#define SET_MASK 32
#define SET_TABLE 40
#define SET_SMALL_TABLE 64
#define SET_ENTRY 16
#define BYTEARRAY_ALLOC 24
#define BYTEARRAY_BYTES 32
#define DEQUE_LEFT 24
#define DEQUE_RIGHT 32
#define DEQUE_BLOCK 528 /* left link, 64 objects, right link */
#define DEQUE_BLOCK_CNT 64
#define MAX_PART (1ULL << 40)

/* ---- parts ----------------------------------------------------------------------------------- */

struct taker {
	struct census_state *state;
	census_part_fn take;
	void *arg;
};

static int give(const struct taker *taker, uint64_t addr, uint64_t bytes, bool has_refs)
{
	const struct object_part part = {.addr = addr, .bytes = bytes, .has_refs = has_refs};

	if (addr < 4096 || !bytes || bytes > MAX_PART)
		return 0;
	return taker->take(taker->state, taker->arg, &part);
}

static int give_list(const struct taker *taker, uint64_t list)
{
	const struct python_layout *layout = &taker->state->process->layout;
	uint64_t items, allocated;

	if (!census_read_word(taker->state, list + layout->list_items, &items) ||
	    !census_read_word(taker->state, list + layout->list_allocated, &allocated) ||
	    allocated > MAX_PART / sizeof(items))
		return 0;
	return give(taker, items, allocated * sizeof(items), true);
}

static bool read_keys(const struct census_state *state, uint64_t addr, struct dict_keys *ret)
{
	uint8_t header[DICT_KEYS_HEADER];

	return census_read(state, addr, header, sizeof(header)) &&
	       dict_keys__decode(state->process->layout.version, header, ret);
}

static int give_keys(const struct taker *taker, uint64_t addr)
{
	const struct census_state *state = taker->state;
	struct dict_keys keys;

	/* Each would cost a call: what is outside the pools is large enough by that. */
	if (state->no_sizes && !pool_scan__find(state->scan, addr))
		return give(taker, addr, state->least_large, true);
	/* The table of empty dicts is a constant of the interpreter: no memory that counts. */
	if (!addr || !read_keys(state, addr, &keys))
		return 0;
	return give(taker, addr, keys.bytes, true);
}

static int give_dict(const struct taker *taker, uint64_t dict)
{
	const struct python_layout *layout = &taker->state->process->layout;
	struct dict_keys keys;
	uint64_t at, values;

	if (!census_read_word(taker->state, dict + layout->dict_keys, &at) ||
	    !census_read_word(taker->state, dict + layout->dict_values, &values))
		return 0;
	if (!values)
		return give_keys(taker, at);
	/* Shared keys are their class's. Values are small since 3.11. */
	if (layout->version >= 0x030b)
		return give(taker, values, sizeof(values), true);
	if (taker->state->no_sizes)
		return give(taker, values, taker->state->least_large, true);
	if (!read_keys(taker->state, at, &keys))
		return 0;
	return give(taker, values,
		    (keys.bytes - keys.entries_off) / keys.entry_bytes * sizeof(values), true);
}

static int give_set(const struct taker *taker, uint64_t set)
{
	uint64_t table, mask;

	if (!census_read_word(taker->state, set + SET_TABLE, &table) ||
	    !census_read_word(taker->state, set + SET_MASK, &mask) ||
	    table == set + SET_SMALL_TABLE || mask > MAX_PART / SET_ENTRY)
		return 0;
	return give(taker, table, (mask + 1) * SET_ENTRY, true);
}

static int give_bytearray(const struct taker *taker, uint64_t array)
{
	uint64_t bytes, allocated;

	if (!census_read_word(taker->state, array + BYTEARRAY_BYTES, &bytes) ||
	    !census_read_word(taker->state, array + BYTEARRAY_ALLOC, &allocated))
		return 0;
	return give(taker, bytes, allocated, false);
}

static int give_deque(const struct taker *taker, uint64_t deque)
{
	const struct python_layout *layout = &taker->state->process->layout;
	uint64_t at, last, cnt;
	int err = 0;

	if (!census_read_word(taker->state, deque + DEQUE_LEFT, &at) ||
	    !census_read_word(taker->state, deque + DEQUE_RIGHT, &last) ||
	    !census_read_word(taker->state, deque + layout->var_size, &cnt))
		return 0;
	/* No more blocks than so many items need; the chain may be a ring, or end in another one.
	 */
	for (cnt = cnt / DEQUE_BLOCK_CNT + 2; cnt; cnt--) {
		err = give(taker, at, DEQUE_BLOCK, true);
		if (err || at == last ||
		    !census_read_word(taker->state, at + DEQUE_BLOCK - sizeof(at), &at))
			break;
	}
	return err;
}

/* What a str keeps beside itself: its UTF-8 form, and the characters of a subclass's object. */
static int give_str(const struct taker *taker, uint64_t str)
{
	const struct python_layout *layout = &taker->state->process->layout;
	struct census_state *state = taker->state;
	uint64_t chars, data, utf8, utf8_len;
	uint32_t bits;
	int err = 0;

	if (!census_read(state, str + layout->unicode_state, &bits, sizeof(bits)))
		return 0;
	if (bits >> 5 & bits >> 6 & 1) /* compact, ASCII: is its own UTF-8 form */
		return 0;
	if (!census_read_word(state, str + layout->ascii_size, &utf8_len) ||
	    !census_read_word(state, str + layout->ascii_size + 8, &utf8))
		return 0;
	if (!(bits >> 5 & 1) && census_read_word(state, str + layout->unicode_size, &data) &&
	    census_read_word(state, str + 16, &chars) && chars < MAX_PART / 4) {
		err = give(taker, data, (chars + 1) * (bits >> 2 & 7), false);
		if (utf8 == data)
			return err;
	}
	if (err >= 0 && utf8 && utf8_len < MAX_PART)
		err = give(taker, utf8, utf8_len + 1, false);
	return err;
}

/* A class's keys are shared by the dicts of its objects (ht_cached_keys, before ht_module). */
static int give_type(const struct taker *taker, const struct object *type)
{
	const struct python_layout *layout = &taker->state->process->layout;
	uint32_t number = python_types__find(taker->state->types, type->addr);
	uint64_t end = layout->type_module ? layout->type_module : type->info->basic_size, keys;

	if (number == TYPE_NONE || !python_types__info(taker->state->types, number)->is_heap ||
	    !census_read_word(taker->state, type->addr + end - sizeof(keys), &keys))
		return 0;
	return give_keys(taker, keys);
}

/*
 * Attributes without a dict: a pointer before the object (3.11: the fourth word; 3.12: the third,
 * less 1, the other bits tell it from a dict). Since 3.13 they are in the object itself.
 */
static int give_values(const struct taker *taker, const struct object *object)
{
	uint16_t version = taker->state->process->layout.version;
	uint64_t values;

	if (!object->info->has_values || version > 0x030c ||
	    !census_read_word(taker->state, object->addr - (version == 0x030b ? 32 : 24), &values))
		return 0;
	if (version == 0x030c)
		values = values & 1 ? values + 1 : 0;
	return give(taker, values, sizeof(values), true);
}

int census_each_part(struct census_state *state, const struct object *object, census_part_fn take,
		     void *arg)
{
	const struct taker taker = {.state = state, .take = take, .arg = arg};
	int err = give_values(&taker, object);

	if (err < 0)
		return err;
	switch (object->info->kind) {
	case KIND_LIST:
		err = give_list(&taker, object->addr);
		break;
	case KIND_DICT:
		err = give_dict(&taker, object->addr);
		break;
	case KIND_SET:
		err = give_set(&taker, object->addr);
		break;
	case KIND_BYTEARRAY:
		err = give_bytearray(&taker, object->addr);
		break;
	case KIND_DEQUE:
		err = give_deque(&taker, object->addr);
		break;
	case KIND_STR:
		err = give_str(&taker, object->addr);
		break;
	case KIND_TYPE:
		err = give_type(&taker, object);
		break;
	}
	return err < 0 ? err : 0;
}

/* ---- dicts of objects ------------------------------------------------------------------------ */

uint64_t census_dict_of(const struct census_state *state, const struct object *object)
{
	const struct python_layout *layout = &state->process->layout;
	const struct type_info *info = object->info;
	uint8_t head[OBJECT_PEEK];
	uint64_t dict, bytes;

	if (info->has_values) {
		if (!census_read_word(state, object->addr - 24, &dict))
			return 0;
		return layout->version == 0x030c && dict & 1 ? 0 : dict;
	}
	if (info->dict_offset > 0) {
		if ((uint64_t)info->dict_offset > info->basic_size - sizeof(dict) ||
		    !census_read_word(state, object->addr + (uint64_t)info->dict_offset, &dict))
			return 0;
		return dict;
	}
	/* From the end of an object with items. */
	if (!info->dict_offset || info->dict_offset < -64 || !info->item_size ||
	    !census_read(state, object->addr, head, layout->var_size + sizeof(dict)))
		return 0;
	bytes = python_types__object_bytes(state->types, info, head,
					   layout->var_size + sizeof(dict));
	if (bytes > MAX_PART)
		return 0;
	bytes = (bytes + 7) & ~7ULL;
	return census_read_word(state, object->addr + bytes + (uint64_t)info->dict_offset, &dict)
		       ? dict
		       : 0;
}

/* ---- who has what ---------------------------------------------------------------------------- */

/* Makes the dict at `addr` the attributes of an object of the type. */
static void name_dict(struct census_state *state, uint64_t addr, uint32_t type)
{
	const struct pool *pool = addr ? pool_scan__find(state->scan, addr) : NULL;
	uint32_t i, *class;

	if (!pool || addr - pool->addr < PYTHON_POOL_HEADER)
		return;
	i = (uint32_t)((addr - pool->addr - PYTHON_POOL_HEADER) / pool->block_size);
	if (!pool_scan__block_is_live(state->scan, pool, i))
		return;
	class = &state->classes[pool->live_at + i];
	if (!CLASS_IS_OBJECT(*class) || CLASS_IS_OWN_DICT(*class) ||
	    census_object_in(state, pool, i, *class).addr != addr ||
	    strcmp(python_types__name(state->types, CLASS_TYPE(*class)), "dict"))
		return;
	*class = CLASS_OF(type, true);
}

static int name_dict_of_block(struct census_state *state, void *arg, const struct pool *pool,
			      uint32_t i, uint32_t *class)
{
	struct object object;

	(void)arg;
	if (!CLASS_IS_OBJECT(*class) || CLASS_IS_OWN_DICT(*class))
		return 0;
	object = census_object_in(state, pool, i, *class);
	if (object.info->has_values || object.info->dict_offset)
		name_dict(state, census_dict_of(state, &object), object.type);
	return 0;
}

void census_name_dicts(struct census_state *state)
{
	struct object object;
	uint32_t meta;

	census_each_block(state, name_dict_of_block, NULL);
	for (size_t i = 0; i < state->large.cnt; i++) {
		object = (struct object){
			.addr = state->large.items[i].addr,
			.type = state->large.items[i].type,
			.info = python_types__info(state->types, state->large.items[i].type),
		};
		name_dict(state, census_dict_of(state, &object), object.type);
	}
	for (uint32_t type = 0; type < python_types__cnt(state->types); type++) {
		uint64_t dict = python_types__info(state->types, type)->dict;

		meta = python_types__find(state->types,
					  python_types__info(state->types, type)->meta);
		if (meta != TYPE_NONE)
			name_dict(state, dict, meta);
	}
}

struct claim {
	uint32_t class;	 /* whose part it is */
	bool with_heads; /* round: objects that the collector knows go first */
};

static int claim_large(struct census_state *state, uint32_t class, const struct object_part *part)
{
	uint64_t *slot;
	bool is_new;

	if (part->bytes < state->least_large || !census_is_memory(state, part->addr) ||
	    state->parts.cnt > state->memory_bytes / state->least_large || /* a liar's overlap */
	    (state->max_parts && state->parts.cnt >= state->max_parts))
		return PART_KNOWN;
	slot = hashmap__insert(&state->parts, part->addr, 0, &is_new);
	if (!slot)
		return -ENOMEM;
	if (!is_new)
		return PART_KNOWN;
	*slot = class;
	if (state->sums) {
		state->sums[class].bytes += part->bytes;
		state->sums[class].large_bytes += part->bytes;
	}
	return 0;
}

static int claim_part(struct census_state *state, void *arg, const struct object_part *part)
{
	const struct pool *pool = pool_scan__find(state->scan, part->addr);
	const struct claim *claim = arg;
	uint32_t i, *class;

	if (!pool)
		return claim_large(state, claim->class, part);
	if (part->addr - pool->addr < PYTHON_POOL_HEADER)
		return PART_KNOWN;
	i = (uint32_t)((part->addr - pool->addr - PYTHON_POOL_HEADER) / pool->block_size);
	class = &state->classes[pool->live_at + i];
	if (!pool_scan__block_is_live(state->scan, pool, i) || *class & CLASS_PART)
		return PART_KNOWN;
	/*
	 * An object with a head is one for certain: values may be inside their object. Without a
	 * head it was one by two words only, which a list's items may have, too.
	 */
	if (CLASS_IS_OBJECT(*class) && census_object_in(state, pool, i, *class).info->head)
		return PART_KNOWN;
	*class = CLASS_PART | claim->class;
	if (state->sums)
		state->sums[claim->class].bytes += pool->block_size;
	return 0;
}

static const struct type_info plain_dict = {.kind = KIND_DICT};

static int claim_parts_of(struct census_state *state, void *arg, const struct pool *pool,
			  uint32_t i, uint32_t *class)
{
	struct claim *claim = arg;
	struct object object;

	if (!CLASS_IS_OBJECT(*class))
		return 0;
	claim->class = *class;
	if (CLASS_IS_OWN_DICT(*class)) {
		/* Its class is that of its owner: it is a dict all the same. */
		if (!claim->with_heads)
			return 0;
		object = (struct object){
			.addr = pool->addr + PYTHON_POOL_HEADER + (uint64_t)i * pool->block_size +
				state->process->layout.gc_head,
			.info = &plain_dict,
		};
	} else {
		object = census_object_in(state, pool, i, *class);
		if (!!object.info->head != claim->with_heads)
			return 0;
	}
	return census_each_part(state, &object, claim_part, claim);
}

int census_assign_parts(struct census_state *state)
{
	struct claim claim = {0};
	struct object object;
	int err = 0;

	for (int round = 0; !err && round < 2; round++) {
		claim.with_heads = !round;
		err = census_each_block(state, claim_parts_of, &claim);
	}
	for (size_t i = 0; !err && i < state->large.cnt; i++) {
		const struct large_object *large = &state->large.items[i];

		object = (struct object){
			.addr = large->addr,
			.type = large->type,
			.info = python_types__info(state->types, large->type),
		};
		claim.class = CLASS_OF(large->type, false);
		err = census_each_part(state, &object, claim_part, &claim);
	}
	return err;
}
