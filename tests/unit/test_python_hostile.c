/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Types and censuses of a process whose objects are made up, laid out as those of 3.11: rings where
 * chains should be, sizes beyond all memory, pointers to anywhere.
 */
#include "unit/forged_memory.h"

#include <errno.h>
#include <inttypes.h>

#include "python/census.h"
#include "python/owners.h"
#include "python/type_info.h"
#include "util/clock.h"

#define POOL 16384ULL
#define BLOCK 64
#define FIRST_BLOCK 48
#define TYPE_ROOM 1024
#define LARGE_AT (256ULL << 10) /* objects over 512 bytes */
#define POOL_AT (512ULL << 10)

#define SUB_LIST (1ULL << 25)
#define SUB_DICT (1ULL << 29)
#define SUB_TYPE (1ULL << 31)
#define PLAIN (TYPE_FLAG_READY)
#define COLLECTED (TYPE_FLAG_READY | TYPE_FLAG_GC)

/* Numbers of the forged types: where they lie in the memory. */
enum {
	T_TYPE,
	T_CODE,
	T_LIST,
	T_DICT,
	T_DEQUE,
	T_FLOAT,
	T_INT,
	T_HEAP,
	T_RING_A,
	T_RING_B,
	T_BASE_RING,
	T_NO_NAME,
	T_WILD_NAME,
	T_WILD_META,
	T_NOT_READY,
	T_HUGE,
	T_SMALL,
	T_MANAGED,
	T_CNT,
};

struct world {
	struct forged forged;
	struct python_process process;
	unsigned int block_cnt;
};

static uint64_t type_addr(const struct world *world, unsigned int type)
{
	return (uintptr_t)world->forged.memory + type * TYPE_ROOM;
}

static void put_type(struct world *world, unsigned int type, unsigned int meta, const char *name,
		     uint64_t basic, uint64_t item, uint64_t flags)
{
	const struct python_layout *layout = &world->process.layout;
	uint8_t *at = world->forged.memory + type * TYPE_ROOM;

	put64(at, 0, 1000);
	put64(at, 8, type_addr(world, meta));
	put64(at, layout->type_name, (uintptr_t)at + 960);
	memcpy(at + 960, name, strlen(name) + 1);
	put64(at, layout->type_basic_size, basic);
	put64(at, layout->type_item_size, item);
	put64(at, layout->type_flags, flags);
}

/* Returns the bytes of the next block of the one pool, all in use. */
static uint8_t *next_block(struct world *world)
{
	uint8_t *pool = world->forged.memory + POOL_AT;
	unsigned int i = world->block_cnt++;

	assert_true(i < 200);
	put32(pool, PYTHON_POOL_REF, i + 1);
	put32(pool, PYTHON_POOL_CLASS, BLOCK / 16 - 1);
	put32(pool, PYTHON_POOL_NEXT, FIRST_BLOCK + (i + 1) * BLOCK);
	put32(pool, PYTHON_POOL_MAX_NEXT, POOL - BLOCK);
	return pool + FIRST_BLOCK + i * BLOCK;
}

/* Makes an object in the next block; returns its bytes, behind the collector's header. */
static uint8_t *put_object(struct world *world, unsigned int type, uint32_t head)
{
	uint8_t *object = next_block(world) + head;

	put64(object, 0, 1);
	put64(object, 8, type_addr(world, type));
	return object;
}

static void make_types(struct world *world)
{
	const struct python_layout *layout = &world->process.layout;
	uint8_t *memory = world->forged.memory;

	put_type(world, T_TYPE, T_TYPE, "type", 904, 40, COLLECTED | SUB_TYPE);
	put_type(world, T_CODE, T_TYPE, "code", 192, 2, PLAIN);
	put_type(world, T_LIST, T_TYPE, "list", 40, 0, COLLECTED | SUB_LIST);
	put_type(world, T_DICT, T_TYPE, "dict", 48, 0, COLLECTED | SUB_DICT);
	put_type(world, T_DEQUE, T_TYPE, "collections.deque", 40, 0, COLLECTED);
	put_type(world, T_FLOAT, T_TYPE, "float", 24, 0, PLAIN);
	put_type(world, T_INT, T_TYPE, "int", 24, 4, PLAIN | 1ULL << 24);
	put_type(world, T_HEAP, T_TYPE, "Heap", 32, 0, COLLECTED | TYPE_FLAG_HEAP);
	put64(memory + T_HEAP * TYPE_ROOM, layout->type_dict, 0x10);
	put_type(world, T_RING_A, T_RING_B, "a", 32, 0, PLAIN | SUB_TYPE);
	put_type(world, T_RING_B, T_RING_A, "b", 32, 0, PLAIN | SUB_TYPE);
	put_type(world, T_BASE_RING, T_TYPE, "ring", 32, 0, PLAIN);
	put64(memory + T_BASE_RING * TYPE_ROOM, layout->type_dict - 8,
	      type_addr(world, T_BASE_RING));
	put_type(world, T_NO_NAME, T_TYPE, "", 32, 0, PLAIN);
	put_type(world, T_WILD_NAME, T_TYPE, "x", 32, 0, PLAIN);
	put64(memory + T_WILD_NAME * TYPE_ROOM, layout->type_name, UINT64_MAX - 3);
	put_type(world, T_WILD_META, T_TYPE, "x", 32, 0, PLAIN);
	put64(memory + T_WILD_META * TYPE_ROOM, 8, 0xdead000000000008);
	put_type(world, T_NOT_READY, T_TYPE, "x", 32, 0, 0);
	put_type(world, T_HUGE, T_TYPE, "x", 1ULL << 50, 0, PLAIN);
	put_type(world, T_SMALL, T_TYPE, "x", 8, 0, PLAIN);
	put_type(world, T_MANAGED, T_TYPE, "Managed", 16, 0,
		 COLLECTED | TYPE_FLAG_HEAP | TYPE_FLAG_MANAGED_DICT);
	put64(memory + T_MANAGED * TYPE_ROOM, layout->type_dict, UINT64_MAX);
}

static struct world make_world(void)
{
	const struct python_build build = {.version = 0x030b, .runtime_vaddr = 4096};
	struct world world = {.forged = map_memory(2 * MIB)};
	const char *reason = NULL;

	assert_int_equal(python_layout__of(&build, &world.process.layout, &reason), 0);
	world.process.runtime = (uintptr_t)world.forged.memory + MIB;
	world.process.frames = world.process.layout.frames;
	world.process.frames.code_type = type_addr(&world, T_CODE);
	make_types(&world);
	return world;
}

static void run_world(struct world *world)
{
	start_forged(&world->forged, NULL);
	world->process.pid = world->forged.pid;
}

/* ---- types ----------------------------------------------------------------------------------- */

static void test_types(void **state)
{
	static const struct {
		unsigned int type;
		const char *name; /* NULL = is none */
	} wanted[] = {
		{T_TYPE, "type"},    {T_LIST, "list"},	    {T_DEQUE, "collections.deque"},
		{T_HEAP, "Heap"},    {T_BASE_RING, "ring"}, {T_MANAGED, "Managed"},
		{T_RING_A, NULL},    {T_RING_B, NULL},	    {T_NO_NAME, NULL},
		{T_WILD_NAME, NULL}, {T_WILD_META, NULL},   {T_NOT_READY, NULL},
		{T_HUGE, NULL},	     {T_SMALL, NULL},
	};
	static const uint64_t wild[] = {0,    1,	  8,	      4096,
					0x10, 1ULL << 47, UINT64_MAX, UINT64_MAX - 7};
	struct world world = make_world();
	struct python_types *types;

	(void)state;
	run_world(&world);
	types = python_types__new(&world.process);
	assert_non_null(types);
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
			uint32_t type =
				python_types__find(types, type_addr(&world, wanted[i].type));

			if (!wanted[i].name) {
				assert_int_equal(type, TYPE_NONE);
				continue;
			}
			assert_int_not_equal(type, TYPE_NONE);
			assert_string_equal(python_types__name(types, type), wanted[i].name);
		}
	for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
		assert_int_equal(python_types__find(types, wild[i]), TYPE_NONE);
	assert_string_equal(python_types__name(types, TYPE_NONE), "?");
	python_types__free(types);
	python_types__free(NULL);
	end_forged(&world.forged);
}

static uint32_t told(struct python_types *types, const uint64_t *words, size_t len,
		     uint32_t *ret_object)
{
	*ret_object = UINT32_MAX;
	return python_types__of_block(types, (const uint8_t *)words, len, ret_object);
}

static void test_blocks(void **state)
{
	struct world world = make_world();
	uint64_t list = type_addr(&world, T_LIST), flt = type_addr(&world, T_FLOAT);
	uint64_t integer = type_addr(&world, T_INT), managed = type_addr(&world, T_MANAGED);
	uint64_t words[8] = {0};
	struct python_types *types;
	uint32_t at, type;

	(void)state;
	run_world(&world);
	types = python_types__new(&world.process);
	assert_non_null(types);
	/* A float, and one in a free list: its type is the next one's address, its count 0. */
	words[0] = 3;
	words[1] = flt;
	type = told(types, words, 32, &at);
	assert_string_equal(python_types__name(types, type), "float");
	assert_int_equal(at, 0);
	words[0] = 0;
	assert_int_equal(told(types, words, 32, &at), TYPE_NONE);
	words[0] = 3;
	assert_int_equal(told(types, words, 16, &at), TYPE_NONE); /* too small a block */
	for (size_t len = 0; len < 16; len++)
		assert_int_equal(told(types, words, len, &at), TYPE_NONE);
	/* Two items of a list: an object of the program at a low address, and a type. */
	words[0] = (uintptr_t)world.forged.memory;
	assert_int_equal(told(types, words, 32, &at), TYPE_NONE);
	/* A list, which has a head; without it is none. */
	memset(words, 0, sizeof(words));
	words[2] = 1;
	words[3] = list;
	type = told(types, words, 64, &at);
	assert_string_equal(python_types__name(types, type), "list");
	assert_int_equal(at, 16);
	words[0] = 1;
	words[1] = list;
	words[2] = words[3] = 0;
	assert_int_equal(told(types, words, 64, &at), TYPE_NONE);
	/* An int that says it has 2^60 digits, in a block of 32 bytes. */
	words[1] = integer;
	words[2] = 1ULL << 60;
	assert_int_equal(told(types, words, 32, &at), TYPE_NONE);
	words[2] = 2;
	assert_int_equal(told(types, words, 32, &at), python_types__find(types, integer));
	words[2] = 3;
	assert_int_equal(told(types, words, 32, &at), TYPE_NONE);
	words[2] = -(uint64_t)2;
	assert_int_equal(told(types, words, 32, &at), python_types__find(types, integer));
	/* Attributes in front of the head. */
	memset(words, 0, sizeof(words));
	words[4] = 1;
	words[5] = managed;
	type = told(types, words, 48, &at);
	assert_string_equal(python_types__name(types, type), "Managed");
	assert_int_equal(at, 32);
	python_types__free(types);
	end_forged(&world.forged);
}

/* ---- a census -------------------------------------------------------------------------------- */

static const struct census_row *row_of(const struct census *census, const char *type)
{
	for (size_t i = 0; i < census->rows.cnt; i++)
		if (!strcmp(census->rows.items[i].type, type))
			return &census->rows.items[i];
	fail_msg("there is no %s", type);
	return NULL;
}

static void put_list(struct world *world, uint64_t items, uint64_t allocated)
{
	uint8_t *list = put_object(world, T_LIST, 16);

	put64(list, 16, allocated);
	put64(list, world->process.layout.list_items, items);
	put64(list, world->process.layout.list_allocated, allocated);
}

static void put_dict(struct world *world, uint64_t keys, uint64_t values)
{
	uint8_t *dict = put_object(world, T_DICT, 16);

	put64(dict, world->process.layout.dict_keys, keys);
	/* the last word of 64 bytes: values lie behind them, in the next block's head */
	put64(dict, 16 + 8, values);
}

/* Every block is asked of, and whatever a part may be: there is an answer, soon. */
static void check_owners(struct world *world)
{
	const struct pool_scan_opts opts = {.pool_shift = world->process.layout.pool_shift,
					    .alignment = world->process.layout.alignment,
					    .has_data = true,
					    .keep_bytes = UINT64_MAX};
	uint64_t base = (uintptr_t)world->forged.memory, room = UINT64_MAX;
	struct python_owners *owners;
	struct pool_scan *scan = NULL;
	struct python_types *types;
	size_t known = 0;
	uint32_t owner;

	assert_int_equal(pool_scan__read(world->process.pid, &opts, &scan), 0);
	types = python_types__new(&world->process);
	owners = python_owners__new(types, scan, &room);
	assert_non_null(owners);
	for (uint64_t addr = base; addr < base + MIB; addr += 8) {
		owner = python_owners__of(owners, addr, TYPE_NONE);
		if (owner != TYPE_NONE) {
			char *name = python_owner__name(types, owner);

			assert_string_not_equal(name, "?");
			free(name);
			known++;
		}
	}
	assert_true(known);
	owner = python_owners__of(owners, base + LARGE_AT + 8192, TYPE_NONE);
	assert_string_equal(python_types__name(types, owner), "list");
	owner = python_owners__of(owners, base + LARGE_AT + 32768, TYPE_NONE);
	assert_string_equal(python_types__name(types, owner), "collections.deque");
	assert_int_equal(python_owners__of(owners, 0x10, TYPE_NONE), TYPE_NONE);
	assert_int_equal(python_owners__of(owners, UINT64_MAX, TYPE_NONE), TYPE_NONE);
	python_owners__free(owners);
	python_types__free(types);
	pool_scan__free(scan);
}

static void test_census(void **state)
{
	struct world world = make_world();
	uint8_t *memory = world.forged.memory, *large = memory + LARGE_AT, *object;
	uint64_t base = (uintptr_t)memory, began;
	struct census census = {0};

	(void)state;
	/* Lists: of nowhere, of the kernel, of more than there is, of themselves, of the pool. */
	put_list(&world, 0x10, 4);
	put_list(&world, 0xffff888000000000, 100);
	put_list(&world, base + LARGE_AT, 1ULL << 60);
	put_list(&world, base + LARGE_AT + 4096, (1ULL << 37) - 1);
	put_list(&world, base + POOL_AT + FIRST_BLOCK, 4);
	put_list(&world, base + POOL_AT, 4);
	put_list(&world, 0x7fffffffffff, 100);
	/* Two that share their items: they are counted once. */
	put_list(&world, base + LARGE_AT + 8192, 128);
	put_list(&world, base + LARGE_AT + 8192, 128);
	for (size_t i = 0; i < 128; i++)
		put64(large + 8192, i * 8, i & 1 ? base + LARGE_AT : base + POOL_AT + i);
	/* A list among malloc's blocks that says it is a list of itself, and is too small. */
	put64(large, 0, 1);
	put64(large, 8, type_addr(&world, T_LIST));
	/* An int of 2^39 digits, and one of 200 that is there. */
	put64(large + 8192, 8, base + LARGE_AT + 512);
	put64(large, 512, 1);
	put64(large, 520, type_addr(&world, T_INT));
	put64(large, 528, 1ULL << 39);
	put64(large + 8192, 24, base + LARGE_AT + 1024);
	put64(large, 1024, 1);
	put64(large, 1032, type_addr(&world, T_INT));
	put64(large, 1040, 200);
	/* Dicts: their tables are nowhere, this list, and one of 2^40 entries. */
	put_dict(&world, 0, 0);
	put_dict(&world, UINT64_MAX, 0);
	put_dict(&world, base + LARGE_AT + 8192, 0);
	put64(large, 16384, 1);
	put64(large, 16384 + 8, 40 | 43 << 8);
	put_dict(&world, base + LARGE_AT + 16384, 0);
	/* A deque whose blocks are a ring of one, of 2^62 items. */
	object = put_object(&world, T_DEQUE, 16);
	put64(object, 16, 1ULL << 62);
	put64(object, 24, base + LARGE_AT + 32768);
	put64(object, 32, base);
	put64(large, 32768 + 520, base + LARGE_AT + 32768);
	/* Attributes before an object that lead into it. */
	object = put_object(&world, T_MANAGED, 32);
	put64(object - 32, 0, (uintptr_t)object);
	put64(object - 24, 0, (uintptr_t)object);
	run_world(&world);
	began = clock_ns(CLOCK_MONOTONIC);
	assert_int_equal(census__take(&world.process, &census), 0);
	print_message("hostile census: %.1f ms\n",
		      (double)(clock_ns(CLOCK_MONOTONIC) - began) / 1e6);
	assert_int_equal(row_of(&census, "list")->cnt, 9);
	assert_int_equal(row_of(&census, "dict")->cnt, 4);
	assert_int_equal(row_of(&census, "collections.deque")->cnt, 1);
	assert_int_equal(row_of(&census, "Managed")->cnt, 1);
	assert_int_equal(row_of(&census, "int")->cnt, 1);
	assert_int_equal(row_of(&census, "int")->bytes, 24 + 200 * 4);
	check_owners(&world);
	assert_true(clock_ns(CLOCK_MONOTONIC) - began < 20 * NS_PER_SEC);
	census__free(&census);
	end_forged(&world.forged);
}

/* A process without any pool, and one that is gone. */
static void test_nothing(void **state)
{
	struct world world = make_world();
	struct census census = {0};

	(void)state;
	run_world(&world);
	assert_int_equal(census__take(&world.process, &census), 0);
	census__free(&census);
	end_forged(&world.forged);
	assert_int_equal(census__take(&world.process, &census), -ESRCH);
	assert_int_equal(census.rows.cnt, 0);
}

/* ---- differences ----------------------------------------------------------------------------- */

static void test_compare(void **state)
{
	struct census_row old_rows[] = {
		{.type = "a", .cnt = 5, .bytes = 50},
		{.type = "b", .cnt = 4, .bytes = 40},
		{.type = "c", .cnt = 3, .bytes = 30},
	};
	struct census_row new_rows[] = {
		{.type = "d", .cnt = 9, .bytes = 90},
		{.type = "c", .cnt = 4, .bytes = 130},
		{.type = "b", .cnt = 4, .bytes = 40},
	};
	struct census old = {.rows = {old_rows, 3, 3}}, now = {.rows = {new_rows, 3, 3}};
	struct census_change *changes = NULL;
	size_t cnt = 0;

	(void)state;
	assert_int_equal(census__compare(&old, &now, &changes, &cnt), 0);
	assert_int_equal(cnt, 3);
	assert_string_equal(changes[0].type, "c");
	assert_int_equal(changes[0].bytes, 100);
	assert_int_equal(changes[0].cnt, 1);
	assert_string_equal(changes[1].type, "d");
	assert_int_equal(changes[1].bytes, 90);
	assert_string_equal(changes[2].type, "a");
	assert_int_equal(changes[2].bytes, -50);
	assert_int_equal(changes[2].cnt, -5);
	free(changes);
	assert_int_equal(census__compare(&now, &now, &changes, &cnt), 0);
	assert_int_equal(cnt, 0);
	free(changes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),	cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_census),	cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_compare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
