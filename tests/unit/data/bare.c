/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program that is nothing but an allocator of its own, without any libc. */
#include <stddef.h>

static unsigned char pool[4096];
static size_t used;

void *malloc(size_t size);
void free(void *block);

void *malloc(size_t size)
{
	void *block = pool + used;

	used += size;
	return used < sizeof(pool) ? block : NULL;
}

void free(void *block)
{
	if (block)
		used--;
}
