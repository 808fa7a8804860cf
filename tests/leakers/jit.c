/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code made at run time, in an anonymous mapping, that calls malloc.
 *   jit chained    two such frames, which keep a frame pointer
 *   jit bare       they keep none, and the caller's frame pointer register holds something else
 * x86-64 only.
 */
#include <sys/mman.h>

#include "tests/leakers/whole_stacks.h"

#define ROUNDS 200
#define CODE_BYTES 4096

typedef void *(*jit_inner_fn)(size_t bytes, void *(*alloc)(size_t));
typedef void *(*jit_outer_fn)(size_t bytes, void *(*alloc)(size_t), jit_inner_fn inner);

static struct site chained_site = {
	.name = "(unnamed) < (unnamed) < call_chained < chained < main" BELOW_MAIN};
static struct site bare_site = {.name = "[no-rule] (unnamed)"};

/* push %rbp; mov %rsp,%rbp; sub $32,%rsp; call *%rsi; leave; ret */
static const unsigned char chained_inner[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x83,
					      0xec, 0x20, 0xff, 0xd6, 0xc9, 0xc3};
/* push %rbp; mov %rsp,%rbp; call *%rdx; pop %rbp; ret */
static const unsigned char chained_outer[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd2, 0x5d, 0xc3};
/* sub $40,%rsp; call *%rsi; add $40,%rsp; ret */
static const unsigned char bare_inner[] = {0x48, 0x83, 0xec, 0x28, 0xff, 0xd6,
					   0x48, 0x83, 0xc4, 0x28, 0xc3};

static unsigned char *code;

static void *put_code(size_t at, const unsigned char *bytes, size_t len)
{
	memcpy(code + at, bytes, len);
	return code + at;
}

SITE_FN static void call_chained(jit_outer_fn outer, jit_inner_fn inner, size_t bytes)
{
	KEEP(note_alloc(&chained_site, outer(bytes, malloc, inner), bytes));
}

SITE_FN static void chained(void)
{
	jit_inner_fn inner = (jit_inner_fn)put_code(0, chained_inner, sizeof(chained_inner));
	jit_outer_fn outer = (jit_outer_fn)put_code(64, chained_outer, sizeof(chained_outer));

	for (size_t i = 0; i < ROUNDS; i++)
		call_chained(outer, inner, 30 + i);
	leaker__stacks(&chained_site, 1);
}

/* Calls with a frame pointer that leads to what looks like a frame: a chain of one link to code. */
SITE_FN static void *call_bare(jit_inner_fn inner, size_t bytes)
{
	uintptr_t lie[8] = {0, (uintptr_t)call_chained, 0, 0};
	void *p = NULL;

#if defined(__x86_64__)
	void *(*alloc)(size_t) = malloc;

	__asm__ volatile("push %%rbp\n\t"
			 "push %%rbp\n\t"
			 "mov %[lie], %%rbp\n\t"
			 "call *%[inner]\n\t"
			 "pop %%rbp\n\t"
			 "pop %%rbp"
			 : "=a"(p), "+D"(bytes), "+S"(alloc)
			 : [lie] "r"(lie), [inner] "r"(inner)
			 : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
#else
	p = inner(bytes, malloc);
#endif
	KEEP(lie);
	return p;
}

SITE_FN static void bare(void)
{
	jit_inner_fn inner = (jit_inner_fn)put_code(0, bare_inner, sizeof(bare_inner));

	for (size_t i = 0; i < ROUNDS; i++)
		KEEP(note_alloc(&bare_site, call_bare(inner, 40 + i), 40 + i));
	leaker__stacks(&bare_site, 1);
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "chained");

	code = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	LEAKER_CHECK(code != MAP_FAILED);
	leaker__ready(argc, argv);
	if (!strcmp(mode, "chained"))
		chained();
	else
		bare();
	leaker__done();
	return 0;
}
