/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "leaky_extension.h"

#include <stdlib.h>
#include <string.h>

static void *volatile last;
static volatile size_t calls;

void leaky_keep(size_t size)
{
	void *block = malloc(size);

	if (block)
		memset(block, 1, size);
	last = block;
	calls++;
}

void leaky_take(size_t size)
{
	void *block = malloc(size);

	last = block;
	free(block);
	calls++;
}

void leaky_call(void (*call)(size_t size), size_t size)
{
	call(size);
	calls++;
}

static int compare_with(const void *a, const void *b, void *arg)
{
	int (*const *compare)(const int *, const int *) = arg;

	return (*compare)(a, b);
}

void leaky_sort(int *numbers, size_t cnt, int (*compare)(const int *a, const int *b))
{
	qsort_r(numbers, cnt, sizeof(*numbers), compare_with, &compare);
	calls++;
}
