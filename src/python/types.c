/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An object is told by its type pointer: what it leads to must be a type object (its own type, and
 * so on, end at PyType_Type), the type must say that so many bytes lie in front of its objects as
 * there are, and the word before must be able to be a reference count. A freed object kept in one
 * of the interpreter's free lists has none.
 */
#include "python/types.h"

#include <stdlib.h>
#include <string.h>

#include "python/type_info.h"
#include "util/array.h"
#include "util/hashmap.h"
#include "util/remote.h"

#define TYPE_BYTES 416	    /* sizeof(PyTypeObject) at most */
#define MAX_DEPTH 32	    /* of metaclasses and of bases */
#define MAX_SIZE (1U << 24) /* of an object without its items */
#define MAX_FOREIGN (1 << 20)
#define MAX_CHAINED (1 << 20) /* types read only because others lead to them */
#define RECENT_CNT 4096

/* Py_TPFLAGS_..._SUBCLASS of Include/object.h */
#define IS_INT (1ULL << 24)
#define IS_LIST (1ULL << 25)
#define IS_TUPLE (1ULL << 26)
#define IS_BYTES (1ULL << 27)
#define IS_STR (1ULL << 28)
#define IS_DICT (1ULL << 29)
#define IS_TYPE (1ULL << 31)

struct recent {
	uint64_t addr;
	uint32_t type;
};

struct python_types {
	const struct python_process *process;
	const struct pool_scan *scan; /* NULL = not known */
	uint64_t type_type;	      /* PyType_Type; 0 = not read yet */
	uint64_t heap_size;	      /* sizeof(PyHeapTypeObject) */
	uint64_t module_key;	      /* the str "__module__", 0 = not met yet */
	ARRAY(struct type_info *) infos;
	uint32_t chained_cnt;
	struct hashmap by_addr; /* address -> number, TYPE_NONE for what is none */
	struct recent recent[RECENT_CNT];
};

struct raw_type {
	uint8_t bytes[TYPE_BYTES];
};

static uint64_t word64(const uint8_t *data, size_t off)
{
	uint64_t value;

	memcpy(&value, data + off, sizeof(value));
	return value;
}

struct python_types *python_types__new(const struct python_process *process)
{
	struct python_types *types = calloc(1, sizeof(*types));

	if (types)
		types->process = process;
	return types;
}

static void free_info(struct type_info *info)
{
	if (info)
		free(info->name);
	free(info);
}

void python_types__free(struct python_types *types)
{
	if (!types)
		return;
	for (size_t i = 0; i < types->infos.cnt; i++)
		free_info(types->infos.items[i]);
	array_free(&types->infos);
	hashmap__free(&types->by_addr);
	free(types);
}

void python_types__set_pools(struct python_types *types, const struct pool_scan *scan)
{
	types->scan = scan;
}

const struct python_process *python_types__process(const struct python_types *types)
{
	return types->process;
}

uint32_t python_types__cnt(const struct python_types *types)
{
	return (uint32_t)types->infos.cnt;
}

const struct type_info *python_types__info(const struct python_types *types, uint32_t type)
{
	return types->infos.items[type];
}

const char *python_types__name(const struct python_types *types, uint32_t type)
{
	return type < types->infos.cnt ? types->infos.items[type]->name : "?";
}

/* ---- one type -------------------------------------------------------------------------------- */

bool python_types__is_refcount(const struct python_types *types, uint64_t count)
{
	/* 3.14 splits the word: the count, its overflow, flags. */
	if (types->process->layout.version >= 0x030e)
		return (uint32_t)count && !(count >> 32 & 0xffff);
	return count && !(count >> 40);
}

static bool read_raw(const struct python_types *types, uint64_t addr, struct raw_type *ret)
{
	const struct python_layout *layout = &types->process->layout;
	uint64_t basic_size, item_size;

	/* User space, and where the compiler and the allocators put them. */
	if (addr < 4096 || addr >> 47 || addr & 7 ||
	    remote_read(types->process->pid, addr, ret->bytes, layout->type_dict_offset + 8))
		return false;
	basic_size = word64(ret->bytes, layout->type_basic_size);
	item_size = word64(ret->bytes, layout->type_item_size);
	return python_types__is_refcount(types, word64(ret->bytes, 0)) &&
	       word64(ret->bytes, layout->type_flags) & TYPE_FLAG_READY &&
	       basic_size >= layout->var_size && basic_size <= MAX_SIZE && item_size <= MAX_SIZE;
}

/* PyType_Type is the type of PyCode_Type. */
static bool find_type_type(struct python_types *types)
{
	const struct python_process *process = types->process;
	struct raw_type raw;
	uint64_t addr;

	if (types->type_type)
		return true;
	if (remote_read(process->pid, process->frames.code_type + process->layout.object_type,
			&addr, sizeof(addr)) ||
	    !read_raw(types, addr, &raw) || word64(raw.bytes, process->layout.object_type) != addr)
		return false;
	types->type_type = addr;
	types->heap_size = word64(raw.bytes, process->layout.type_basic_size);
	return true;
}

/* Whether `meta`, the type of what may be a type, makes it one. */
static bool is_metaclass(struct python_types *types, uint64_t meta)
{
	const struct python_layout *layout = &types->process->layout;
	const uint64_t *known = hashmap__find(&types->by_addr, meta, 0);
	struct raw_type raw;

	if (known && *known != TYPE_NONE)
		return types->infos.items[*known]->flags & IS_TYPE;
	for (int i = 0; i < MAX_DEPTH; i++) {
		if (meta == types->type_type)
			return true;
		if (++types->chained_cnt > MAX_CHAINED || !read_raw(types, meta, &raw) ||
		    !(word64(raw.bytes, layout->type_flags) & IS_TYPE))
			return false;
		meta = word64(raw.bytes, layout->object_type);
	}
	return false;
}

static enum object_kind kind_by_flags(uint64_t flags)
{
	return flags & IS_INT	  ? KIND_INT
	       : flags & IS_LIST  ? KIND_LIST
	       : flags & IS_TUPLE ? KIND_TUPLE
	       : flags & IS_BYTES ? KIND_BYTES
	       : flags & IS_STR	  ? KIND_STR
	       : flags & IS_DICT  ? KIND_DICT
	       : flags & IS_TYPE  ? KIND_TYPE
				  : KIND_OTHER;
}

static enum object_kind kind_by_name(const char *name, bool is_heap, uint16_t version)
{
	static const struct {
		const char *name;
		enum object_kind kind;
		uint16_t since;
	} known[] = {
		{"float", KIND_LEAF, 0},
		{"complex", KIND_LEAF, 0},
		{"bytearray", KIND_BYTEARRAY, 0},
		{"set", KIND_SET, 0},
		{"frozenset", KIND_SET, 0},
		{"generator", KIND_FRAMED, 0x030b},
		{"coroutine", KIND_FRAMED, 0x030b},
		{"async_generator", KIND_FRAMED, 0x030b},
		{"frame", KIND_FRAMED, 0x030b},
	};

	if (!strcmp(name, "collections.deque"))
		return KIND_DEQUE;
	for (size_t i = 0; !is_heap && i < sizeof(known) / sizeof(known[0]); i++)
		if (version >= known[i].since && !strcmp(name, known[i].name))
			return known[i].kind;
	return KIND_OTHER;
}

/* The kind of a class is that of what it is derived from. */
static enum object_kind kind_of(struct python_types *types, const struct raw_type *first)
{
	const struct python_layout *layout = &types->process->layout;
	enum object_kind kind = kind_by_flags(word64(first->bytes, layout->type_flags));
	struct raw_type raw = *first;

	for (int i = 0; kind == KIND_OTHER && i < MAX_DEPTH; i++) {
		char name[32] = "";
		uint64_t base = word64(raw.bytes, layout->type_dict - sizeof(base));

		/* The names that matter are short and no class of a program. */
		remote_read(types->process->pid, word64(raw.bytes, layout->type_name), name,
			    sizeof(name));
		name[sizeof(name) - 1] = 0;
		kind = kind_by_name(name, word64(raw.bytes, layout->type_flags) & TYPE_FLAG_HEAP,
				    layout->version);
		if (!base || ++types->chained_cnt > MAX_CHAINED || !read_raw(types, base, &raw))
			break;
	}
	return kind;
}

static bool look_at(struct python_types *types, uint64_t addr, struct type_info *ret)
{
	const struct python_layout *layout = &types->process->layout;
	struct raw_type raw;
	uint64_t flags;

	if (!find_type_type(types) || !read_raw(types, addr, &raw) ||
	    !is_metaclass(types, word64(raw.bytes, layout->object_type)))
		return false;
	flags = word64(raw.bytes, layout->type_flags);
	*ret = (struct type_info){
		.addr = addr,
		.basic_size = word64(raw.bytes, layout->type_basic_size),
		.item_size = word64(raw.bytes, layout->type_item_size),
		.flags = flags,
		.meta = word64(raw.bytes, layout->object_type),
		.dict_offset = (int64_t)word64(raw.bytes, layout->type_dict_offset),
		.dict = word64(raw.bytes, layout->type_dict),
		.kind = kind_of(types, &raw),
		.is_heap = flags & TYPE_FLAG_HEAP,
		.has_values = layout->managed_words && flags & TYPE_FLAG_MANAGED_DICT,
	};
	if (flags & TYPE_FLAG_GC)
		ret->head = layout->gc_head;
	if (flags & layout->managed_flags)
		ret->head += layout->managed_words * sizeof(uint64_t);
	ret->name = python_type__read_name(types->process, addr,
					   word64(raw.bytes, layout->type_name), ret->dict,
					   ret->is_heap, types->heap_size, &types->module_key);
	return ret->name;
}

/* What is no type is not worth more memory: only the types are kept. */
static void forget_foreign(struct python_types *types)
{
	uint64_t *slot;

	hashmap__clear(&types->by_addr);
	for (size_t i = 0; i < types->infos.cnt; i++) {
		slot = hashmap__insert(&types->by_addr, types->infos.items[i]->addr, 0, NULL);
		if (slot)
			*slot = i;
	}
}

static uint32_t remember(struct python_types *types, uint64_t addr)
{
	struct type_info *info = calloc(1, sizeof(*info));
	uint32_t number = TYPE_NONE;
	uint64_t *slot;

	if (!info)
		return TYPE_NONE;
	if (!look_at(types, addr, info)) {
		free_info(info);
		if (types->by_addr.cnt > MAX_FOREIGN + types->infos.cnt)
			forget_foreign(types);
	} else if (array_push(&types->infos, info)) {
		free_info(info);
		return TYPE_NONE;
	} else {
		number = (uint32_t)types->infos.cnt - 1;
	}
	slot = hashmap__insert(&types->by_addr, addr, 0, NULL);
	if (slot)
		*slot = number;
	return number;
}

uint32_t python_types__find(struct python_types *types, uint64_t addr)
{
	struct recent *recent = &types->recent[(addr >> 4 ^ addr >> 16) % RECENT_CNT];
	uint64_t *slot;

	if (recent->addr == addr && addr)
		return recent->type;
	if (addr < 4096 || addr >> 47 || addr & 7 ||
	    (types->scan && pool_scan__find(types->scan, addr)))
		return TYPE_NONE;
	slot = hashmap__find(&types->by_addr, addr, 0);
	*recent = (struct recent){
		.addr = addr,
		.type = slot ? (uint32_t)*slot : remember(types, addr),
	};
	return recent->type;
}

/* ---- objects --------------------------------------------------------------------------------- */

static uint64_t str_bytes(const struct python_layout *layout, const struct type_info *info,
			  const uint8_t *object, size_t len)
{
	uint64_t chars = word64(object, 16);
	uint32_t state;

	if (len < layout->unicode_state + sizeof(state) || chars >> 40)
		return info->basic_size;
	memcpy(&state, object + layout->unicode_state, sizeof(state));
	if (!(state >> 5 & 1)) /* not compact: its characters are elsewhere */
		return info->basic_size;
	if (state >> 6 & 1)
		return layout->ascii_size + chars + 1;
	return layout->unicode_size + (chars + 1) * (state >> 2 & 7);
}

/* struct _dictvalues of 3.13: capacity, size, embedded, valid; pointers; the order of insertion. */
static uint64_t inline_values_bytes(const struct type_info *info, const uint8_t *object, size_t len)
{
	uint64_t capacity;

	if (len <= info->basic_size)
		return 0;
	capacity = object[info->basic_size];
	return 8 + capacity * 8 + (capacity + 7) / 8 * 8;
}

uint64_t python_types__object_bytes(const struct python_types *types, const struct type_info *info,
				    const uint8_t *object, size_t len)
{
	const struct python_layout *layout = &types->process->layout;
	uint64_t bytes = info->basic_size, items = 0;
	int64_t size;

	if (len < layout->var_size + sizeof(size))
		return bytes;
	size = (int64_t)word64(object, layout->var_size);
	if (info->kind == KIND_STR)
		return str_bytes(layout, info, object, len);
	if (info->kind == KIND_INT && layout->version >= 0x030c)
		items = (uint64_t)size >> 3;
	else if (info->item_size && info->kind != KIND_FRAMED)
		items = size < 0 ? -(uint64_t)size : (uint64_t)size;
	if (items >> 40)
		return UINT64_MAX;
	bytes += items * info->item_size;
	if (info->has_values && info->flags & TYPE_FLAG_INLINE_VALUES)
		bytes += inline_values_bytes(info, object, len);
	return bytes;
}

/*
 * In a program at a fixed low address a pointer to one of its objects looks like a count: the items
 * of a list may be [None, int].
 */
static bool is_object_address_instead(struct python_types *types, uint64_t count)
{
	uint64_t words[2];

	if (count < 65536 || count & 7 ||
	    remote_read(types->process->pid, count, words, sizeof(words)))
		return false;
	return python_types__is_refcount(types, words[0]) &&
	       python_types__find(types, words[1]) != TYPE_NONE;
}

/* The type of an object that begins at `off` of the block, or TYPE_NONE. */
static uint32_t type_at(struct python_types *types, const uint8_t *data, size_t len,
			uint64_t block_size, uint32_t off)
{
	const struct python_layout *layout = &types->process->layout;
	const struct type_info *info;
	uint64_t count;
	uint32_t type;

	if (off + layout->var_size > len)
		return TYPE_NONE;
	count = word64(data, off);
	if (!python_types__is_refcount(types, count))
		return TYPE_NONE;
	type = python_types__find(types, word64(data, off + layout->object_type));
	if (type == TYPE_NONE)
		return TYPE_NONE;
	info = python_types__info(types, type);
	/* A str that is all of a piece is shorter than its type says. */
	if (info->head != off || info->head > block_size ||
	    (info->kind != KIND_STR && info->head + info->basic_size > block_size) ||
	    python_types__object_bytes(types, info, data + off, len - off) >
		    block_size - info->head ||
	    is_object_address_instead(types, count))
		return TYPE_NONE;
	return type;
}

uint32_t python_types__of_sized_block(struct python_types *types, const uint8_t *data, size_t len,
				      uint64_t block_size, uint32_t *ret_object)
{
	const struct python_layout *layout = &types->process->layout;
	const uint32_t words = layout->managed_words * (uint32_t)sizeof(uint64_t);
	const uint32_t offs[] = {0, layout->gc_head, layout->gc_head + words, words};
	uint32_t type;

	for (size_t i = 0; i < (words ? 4 : 2); i++) {
		type = type_at(types, data, len, block_size, offs[i]);
		if (type == TYPE_NONE)
			continue;
		*ret_object = offs[i];
		return type;
	}
	return TYPE_NONE;
}

uint32_t python_types__of_block(struct python_types *types, const uint8_t *data, size_t len,
				uint32_t *ret_object)
{
	return python_types__of_sized_block(types, data, len, len < OBJECT_PEEK ? len : UINT64_MAX,
					    ret_object);
}
