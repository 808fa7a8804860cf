/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ends a virtual machine from inside: exit CODE makes qemu end with 2 * CODE + 1 (isa-debug-exit
 * at EXIT_PORT, see run.sh). Returns only when there is no such device.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

#define EXIT_PORT 0xf4
#define EXIT_PORTS 4

int main(int argc, char **argv)
{
	unsigned int code = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 1;

	if (ioperm(EXIT_PORT, EXIT_PORTS, 1)) {
		perror("ioperm");
		return 1;
	}
	outl(code, EXIT_PORT);
	return 1;
}
