/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Functions of the running kernel and its modules: /proc/kallsyms (kernel/kallsyms.c). */
#ifndef LEAKSWEEP_SYMBOLIZE_KERNEL_SYMBOLS_H
#define LEAKSWEEP_SYMBOLIZE_KERNEL_SYMBOLS_H

#include <stdbool.h>
#include <stdint.h>

#define KALLSYMS "/proc/kallsyms"

struct kernel_symbols;

/*
 * Reads a table of lines "address type name [module]". Returns 0, -EACCES (every address is zero:
 * hidden by kernel.kptr_restrict or for want of CAP_SYSLOG), -ENOMEM or another negative errno.
 * Free with kernel_symbols__free.
 */
int kernel_symbols__read(const char *path, struct kernel_symbols **ret_symbols);
void kernel_symbols__free(struct kernel_symbols *symbols);

/*
 * Finds the function that covers the address; there are no sizes, so each one ends where the next
 * symbol begins. The name lives as long as the table. Returns whether there is one.
 */
bool kernel_symbols__find(const struct kernel_symbols *symbols, uint64_t address,
			  const char **ret_name, uint64_t *ret_start);

#endif
