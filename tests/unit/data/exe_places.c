/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program with variables of an interpreter in it, that tells where they are. */
#include <stdio.h>
#include <unistd.h>

long _PyRuntime[8], PyCode_Type[8];

int main(void)
{
	printf("%p %p\n", (void *)_PyRuntime, (void *)PyCode_Type);
	fflush(stdout);
	pause();
	return 0;
}
