/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An allocator of small blocks out of pools, with the header, the free lists and the fast paths
 * that CPython's has (Objects/obmalloc.c), for the analyser of its machine code. INLINED copies its
 * fast paths into callers, as link-time optimisation does.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef POOL_SHIFT
#define POOL_SHIFT 14
#endif
#define ALIGN_SHIFT 4
#define CLASS_CNT 32
#define POOL_BYTES (1U << POOL_SHIFT)
#define NO_CLASS 0xffffU
#define ARENA_POOLS 4
#define MAX_ARENAS 8

#ifdef INLINED
#define FAST static inline __attribute__((always_inline))
#else
#define FAST static __attribute__((noinline))
#endif

struct pool {
	uint32_t used;
	void *free;
	struct pool *next, *previous;
	uint32_t arena, size_class, fresh_at, last_at;
};

_Static_assert(sizeof(struct pool) == 48 && offsetof(struct pool, free) == 8 &&
		       offsetof(struct pool, size_class) == 36,
	       "as CPython's");

static struct pool heads[CLASS_CNT]; /* rings of pools with room */
static struct pool *empty;	     /* pools without a block in use */
static _Alignas(POOL_BYTES) char memories[MAX_ARENAS][POOL_BYTES * ARENA_POOLS];
static uint64_t arenas;

static void link_in(struct pool *pool, struct pool *head)
{
	pool->next = head;
	pool->previous = head->previous;
	head->previous->next = pool;
	head->previous = pool;
}

static __attribute__((noinline)) int more_pools(void)
{
	char *memory;

	if (arenas == MAX_ARENAS)
		return 0;
	memory = memories[arenas];
	for (int i = 0; i < ARENA_POOLS; i++) {
		struct pool *pool = (struct pool *)(memory + (size_t)i * POOL_BYTES);

		pool->size_class = NO_CLASS;
		pool->arena = (uint32_t)arenas;
		pool->next = empty;
		empty = pool;
	}
	arenas++;
	return 1;
}

static uint32_t class_bytes(uint32_t size_class)
{
	return (size_class + 1) << ALIGN_SHIFT;
}

static __attribute__((noinline)) void *begin_pool(uint32_t size_class)
{
	struct pool *pool, *head = &heads[size_class];
	uint32_t bytes;
	char *block;

	if (!head->next)
		head->next = head->previous = head;
	if (!empty && !more_pools())
		return NULL;
	pool = empty;
	empty = pool->next;
	link_in(pool, head);
	pool->used = 1;
	if (pool->size_class == size_class) {
		block = pool->free;
		pool->free = *(void **)block;
		return block;
	}
	pool->size_class = size_class;
	bytes = class_bytes(size_class);
	block = (char *)pool + sizeof(*pool);
	pool->fresh_at = sizeof(*pool) + (bytes << 1);
	pool->last_at = POOL_BYTES - bytes;
	pool->free = block + bytes;
	*(void **)pool->free = NULL;
	return block;
}

static __attribute__((noinline)) void extend_pool(struct pool *pool, uint32_t size_class)
{
	if (pool->fresh_at <= pool->last_at) {
		pool->free = (char *)pool + pool->fresh_at;
		pool->fresh_at += class_bytes(size_class);
		*(void **)pool->free = NULL;
		return;
	}
	pool->next->previous = pool->previous;
	pool->previous->next = pool->next;
}

FAST void *take(size_t bytes)
{
	uint32_t size_class;
	struct pool *pool;
	void *block;

	if (__builtin_expect(bytes - 1 >= 512, 0))
		return malloc(bytes ? bytes : 1);
	size_class = (uint32_t)(bytes - 1) >> ALIGN_SHIFT;
	pool = heads[size_class].next;
	if (__builtin_expect(!pool || pool == &heads[size_class], 0))
		return begin_pool(size_class);
	pool->used++;
	block = pool->free;
	if (__builtin_expect((pool->free = *(void **)block) == NULL, 0))
		extend_pool(pool, size_class);
	return block;
}

static __attribute__((noinline)) void make_known(struct pool *pool)
{
	link_in(pool, &heads[pool->size_class]);
}

static __attribute__((noinline)) void retire(struct pool *pool)
{
	pool->next->previous = pool->previous;
	pool->previous->next = pool->next;
	pool->next = empty;
	empty = pool;
}

FAST void give_back(void *block)
{
	struct pool *pool = (struct pool *)((uintptr_t)block & -(uintptr_t)POOL_BYTES);
	void *last = pool->free;

	*(void **)block = last;
	pool->free = block;
	pool->used--;
	if (__builtin_expect(!last, 0)) {
		make_known(pool);
		return;
	}
	if (__builtin_expect(!pool->used, 0))
		retire(pool);
}

/* ---- callers --------------------------------------------------------------------------------- */

struct item {
	struct item *next;
	long value;
};

void *object_take(size_t bytes)
{
	return take(bytes);
}

void object_give_back(void *block)
{
	if (block)
		give_back(block);
}

struct item *item_add(struct item *list, long value)
{
	struct item *item = take(sizeof(*item));

	if (!item)
		return list;
	item->next = list;
	item->value = value;
	return item;
}

long item_drop(struct item **list)
{
	struct item *item = *list;
	long value = item->value;

	*list = item->next;
	give_back(item);
	return value;
}

/* Not the allocator's, however alike: a list with a count. */
struct stack {
	uint32_t depth;
	struct item *top;
};

long stack_pop(struct stack *stack)
{
	struct item *item = stack->top;

	stack->depth--;
	stack->top = item->next;
	return item->value;
}

void stack_push(struct stack *stack, struct item *item)
{
	item->next = stack->top;
	stack->top = item;
	stack->depth++;
}

/* ---- a run ----------------------------------------------------------------------------------- */

#ifdef RUN
#define STEP_CNT 200
#define KEPT 48

/* What the tracer has to find: the blocks in their order, with bit 0 for those given back. */
uint64_t run_log[2 * STEP_CNT];
uint64_t run_cnt;

int main(void)
{
	static void *kept[KEPT];
	uint32_t seed = 1;

	__asm__ volatile("int3" ::: "memory");
	for (int i = 0; i < STEP_CNT; i++) {
		void **place;

		seed = seed * 1664525 + 1013904223;
		place = &kept[(seed >> 8) % KEPT];
		if (*place) {
			run_log[run_cnt++] = (uint64_t)*place | 1;
			object_give_back(*place);
			*place = NULL;
			continue;
		}
		/* Large blocks mostly: their pools are soon used up, and given to other sizes. */
		*place = i % 5 ? object_take(400 + (seed >> 20) % 113) : item_add(NULL, i);
		run_log[run_cnt++] = (uint64_t)*place;
	}
	__asm__ volatile("int3" ::: "memory");
	return 0;
}
#endif
