/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small allocator, compiled by the tests in many ways. PREFIX(name) gives its functions their
 * names. Never linked into the test itself and never run.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef PREFIX
#define PREFIX(name) name
#endif

static unsigned char pool[1 << 20];
static size_t used;

void *PREFIX(malloc)(size_t size);
void *PREFIX(calloc)(size_t cnt, size_t size);
void *PREFIX(realloc)(void *old, size_t size);
void PREFIX(free)(void *block);
int PREFIX(posix_memalign)(void **out, size_t align, size_t size);
void *PREFIX(aligned_alloc)(size_t align, size_t size);

__attribute__((noinline)) static void give_back(unsigned char *block)
{
	used -= block[-1];
	memset(block, 0xdd, block[-1]);
}

void *PREFIX(malloc)(size_t size)
{
	unsigned char *block;

	if (size > sizeof(pool) - used)
		return NULL;
	block = pool + used;
	used += size;
	return block;
}

/* Begins with a test and a branch, like glibc's. */
void PREFIX(free)(void *block)
{
	if (!block)
		return;
	give_back(block);
	used ^= (uintptr_t)block;
	give_back((unsigned char *)block + 1);
}

void *PREFIX(calloc)(size_t cnt, size_t size)
{
	size_t bytes;
	void *block;

	if (__builtin_mul_overflow(cnt, size, &bytes))
		return NULL;
	block = PREFIX(malloc)(bytes);
	return block ? memset(block, 0, bytes) : NULL;
}

void *PREFIX(realloc)(void *old, size_t size)
{
	void *block = PREFIX(malloc)(size);

	if (block && old)
		memcpy(block, old, size);
	if (block)
		PREFIX(free)(old);
	return block;
}

int PREFIX(posix_memalign)(void **out, size_t align, size_t size)
{
	void *block = PREFIX(malloc)(size + align);

	if (!block)
		return 12;
	*out = (void *)(((uintptr_t)block + align - 1) & ~(align - 1));
	return 0;
}

/* A loop right at the start: something jumps back to the first block. */
void *PREFIX(aligned_alloc)(size_t align, size_t size)
{
	while (used & (align - 1))
		used++;
	return PREFIX(malloc)(size);
}

#ifdef WITH_OPERATORS
void *operator_new(size_t size) __asm__("_Znwm");
void operator_delete(void *block) __asm__("_ZdlPv");
void operator_delete_sized(void *block, size_t size) __asm__("_ZdlPvm");

void *operator_new(size_t size)
{
	void *block = PREFIX(malloc)(size);

	return block ? block : pool;
}

void operator_delete(void *block)
{
	PREFIX(free)(block);
}

void operator_delete_sized(void *block, size_t size)
{
	used += size;
	PREFIX(free)(block);
}
#endif

#ifdef WITH_ODDITIES
void *valloc(size_t size);
void *pvalloc(size_t size);
void cfree(void *block);
void *fetch(size_t size, int flavour);

/* Chosen by a resolver. */
static void *(*resolve_valloc(void))(size_t)
{
	return PREFIX(malloc);
}

void *valloc(size_t size) __attribute__((ifunc("resolve_valloc")));

/* One piece of code under names that disagree about the arguments. */
__asm__(".globl memalign\n.type memalign, @function\n.set memalign, malloc\n");

/* No size in the symbol table, and a first instruction that no probe can stand on. */
__asm__(".text\n.globl cfree\n.type cfree, @function\ncfree: int3\nret\n");
__asm__(".text\n.globl pvalloc\n.type pvalloc, @function\npvalloc: mov %rdi, %rax\npush %rbx\npop "
	"%rbx\nret\n"
	".globl neighbour\nneighbour: jmp pvalloc + 3\n"); /* the jump of another function */

void *fetch(size_t size, int flavour)
{
	return flavour ? PREFIX(malloc)(size) : NULL;
}
#endif

#ifdef WITH_MAIN
int main(void)
{
	return PREFIX(malloc)(1) == NULL;
}
#endif
