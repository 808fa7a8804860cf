/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A second allocator, as a library: free lists by size over a static pool. Built as libsecond.so
 * (my_alloc, my_free, and my_free_unseen for a free that no probe is on) and, with OWN_MALLOC, as
 * libownmalloc.so, which calls itself malloc and free.
 */
#include <stddef.h>
#include <stdint.h>

#define POOL_BYTES ((size_t)16 << 20)
#define CLASSES 256

#ifdef OWN_MALLOC
#define my_alloc malloc
#define my_free free
#endif

struct chunk {
	size_t class;
	struct chunk *next; /* the block itself, while it is free */
};

static char pool[POOL_BYTES] __attribute__((aligned(64)));
static size_t pool_used;
static struct chunk *free_chunks[CLASSES];

void *my_alloc(size_t bytes);
void my_free(void *p);
void my_free_unseen(void *p);

__attribute__((noinline)) void *my_alloc(size_t bytes)
{
	size_t class = bytes / 64 + 1, need = class * 64 + 16;
	struct chunk *chunk;

	if (class >= CLASSES)
		return NULL;
	chunk = free_chunks[class];
	if (chunk) {
		free_chunks[class] = chunk->next;
		return &chunk->next;
	}
	if (pool_used + need > POOL_BYTES)
		return NULL;
	chunk = (struct chunk *)(pool + pool_used);
	pool_used += need;
	chunk->class = class;
	return &chunk->next;
}

static inline __attribute__((always_inline)) void put_back(void *p)
{
	struct chunk *chunk = (struct chunk *)((char *)p - offsetof(struct chunk, next));

	chunk->next = free_chunks[chunk->class];
	free_chunks[chunk->class] = chunk;
}

__attribute__((noinline)) void my_free(void *p)
{
	if (p)
		put_back(p);
}

__attribute__((noinline)) void my_free_unseen(void *p)
{
	if (p)
		put_back(p);
}

#ifndef OWN_MALLOC
/* The same under the names of a prefixed build of jemalloc. */
void *zz_malloc(size_t bytes) __attribute__((alias("my_alloc")));
void *zz_mallocx(size_t bytes) __attribute__((alias("my_alloc")));
void zz_free(void *p) __attribute__((alias("my_free")));
#endif
