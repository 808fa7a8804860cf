/* SPDX-License-Identifier: GPL-2.0-or-later */
/* operator new and delete as libstdc++ has them, and a wrapper: over the malloc of another library.
 */
#include <stdlib.h>

void *operator_new(size_t size) __asm__("_Znwm");
void operator_delete(void *block) __asm__("_ZdlPv");

void *operator_new(size_t size)
{
	void *block;

	while (!(block = malloc(size ? size : 1)))
		;
	return block;
}

void operator_delete(void *block)
{
	free(block);
}

void *reallocarray(void *old, size_t cnt, size_t size)
{
	return realloc(old, cnt * size);
}
