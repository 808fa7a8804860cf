/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program that uses its libc's allocator: linked statically, it contains it. */
#include <stdlib.h>

int main(int argc, char **argv)
{
	void *volatile block = malloc((size_t)argc);
	void *volatile zeroed = calloc(2, (size_t)argc);

	(void)argv;
	zeroed = realloc(zeroed, 100);
	free(block);
	free(zeroed);
	return 0;
}
