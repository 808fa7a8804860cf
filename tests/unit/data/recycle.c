/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects that keep freed ones of their type in the ways that CPython's do, over the small
 * allocator, for the analyser of its machine code; each new one is told to a tracer as CPython
 * tells. INLINED copies that into callers; TRACER tells through a pointer (3.13), not through a
 * flag. BOTH_AT_ONCE has one place where recycled and fresh objects are told of.
 */
#define object_take pool_take
#define object_give_back pool_give_back
#include "pymalloc.c"
#undef object_take
#undef object_give_back

#include <signal.h>

struct type {
	uint64_t refs;
	struct type *type;
	uint64_t size;
	const char *name;
};

struct object {
	uint64_t refs;
	void *type;
	struct object *link;
	uint64_t value[3];
};

#define KEPT_MAX 20
#define HEADER 16 /* bytes in front of an object, as the garbage collector's */

/* What CPython calls it, for the symbol: all others are free to be inlined. */
int tracing = 1;
uint64_t told;

__attribute__((noinline)) int _PyTraceMalloc_NewReference(struct object *object)
{
	__asm__ volatile("" ::"r"(object) : "memory");
	told++;
	return 0;
}

#ifdef TRACER
static int trace_object(struct object *object, int event, void *data)
{
	(void)event;
	(void)data;
	return _PyTraceMalloc_NewReference(object);
}

struct runtime {
	char before[0x2848];
	int (*tracer)(struct object *object, int event, void *data);
	void *data;
} runtime = {.tracer = trace_object};

#define TELL(object)                                                                               \
	do {                                                                                       \
		(object)->refs = 1;                                                                \
		if (__builtin_expect(runtime.tracer != NULL, 0))                                   \
			runtime.tracer((object), 0, runtime.data);                                 \
	} while (0)
#else
#define TELL(object)                                                                               \
	do {                                                                                       \
		if (__builtin_expect(tracing, 0))                                                  \
			_PyTraceMalloc_NewReference((object));                                     \
		(object)->refs = 1;                                                                \
	} while (0)
#endif

__attribute__((noinline)) void _Py_NewReference(struct object *object)
{
	TELL(object);
}

#ifdef INLINED
#define NEW_REFERENCE(object) TELL(object)
#else
#define NEW_REFERENCE(object) _Py_NewReference(object)
#endif

static struct type list_type = {.name = "list"}, number_type = {.name = "number"},
		   once_type = {.name = "once"};

__attribute__((noinline)) static struct object *make(struct type *type, size_t header)
{
	char *block = pool_take(sizeof(struct object) + header);
	struct object *object;

	if (!block)
		return NULL;
	object = (struct object *)(block + header);
	object->type = type;
	NEW_REFERENCE(object);
	return object;
}

/* An array, and how many are in it. */
static struct {
	struct object *kept[KEPT_MAX];
	int cnt;
} lists;

__attribute__((noinline)) struct object *list_new(uint64_t value)
{
	struct object *object;

	if (lists.cnt) {
		lists.cnt--;
		object = lists.kept[lists.cnt];
		NEW_REFERENCE(object);
	} else {
		object = make(&list_type, HEADER);
		if (!object)
			return NULL;
	}
	object->value[0] = value;
	return object;
}

void list_free(struct object *object)
{
	if (lists.cnt < KEPT_MAX)
		lists.kept[lists.cnt++] = object;
	else
		pool_give_back((char *)object - HEADER);
}

/* A chain through the objects' types. */
static struct {
	int cnt;
	struct object *first;
} numbers;

__attribute__((noinline)) struct object *number_new(uint64_t value)
{
	struct object *object = numbers.first;

	if (object) {
		numbers.first = object->type;
		numbers.cnt--;
#ifndef BOTH_AT_ONCE
		object->type = &number_type;
		NEW_REFERENCE(object);
#endif
	} else {
#ifdef BOTH_AT_ONCE
		object = pool_take(sizeof(*object));
#else
		object = make(&number_type, 0);
#endif
		if (!object)
			return NULL;
	}
#ifdef BOTH_AT_ONCE
	object->type = &number_type;
	NEW_REFERENCE(object);
#endif
	object->value[0] = value;
	return object;
}

void number_free(struct object *object)
{
	if (numbers.cnt < KEPT_MAX) {
		object->type = numbers.first;
		numbers.first = object;
		numbers.cnt++;
	} else {
		pool_give_back(object);
	}
}

/* One, or none. */
static struct object *once;

__attribute__((noinline)) struct object *once_new(uint64_t value)
{
	struct object *object = once;

	if (object) {
		once = NULL;
		NEW_REFERENCE(object);
	} else {
		object = make(&once_type, HEADER);
		if (!object)
			return NULL;
	}
	object->value[0] = value;
	object->value[1] = value + 1;
	return object;
}

void once_free(struct object *object)
{
	if (!once)
		once = object;
	else
		pool_give_back((char *)object - HEADER);
}

/* Is none: what is looked at comes from memory, too, but stays where it is. */
struct object *last_made;

void tell_again(void)
{
	NEW_REFERENCE(last_made);
}

#ifdef RUN_OBJECTS
#define ROUNDS 5
#define AT_ONCE 25

int main(void)
{
	static struct object *made[AT_ONCE * 3];

	raise(SIGUSR1);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < AT_ONCE; i++) {
			made[3 * i] = list_new((uint64_t)i);
			made[3 * i + 1] = number_new((uint64_t)i);
			made[3 * i + 2] = once_new((uint64_t)i);
		}
		for (int i = 0; i < AT_ONCE; i++) {
			list_free(made[3 * i]);
			number_free(made[3 * i + 1]);
			once_free(made[3 * i + 2]);
		}
	}
	raise(SIGUSR1);
	return 0;
}
#endif
