/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Readable names from mangled ones: C++ (Itanium ABI), Rust (legacy and v0) and D, by libiberty. */
#ifndef LEAKSWEEP_SYMBOLIZE_DEMANGLE_H
#define LEAKSWEEP_SYMBOLIZE_DEMANGLE_H

#include <stdbool.h>
#include <stddef.h>

/* Returns whether the name looks mangled. */
bool is_mangled(const char *name);

/*
 * Demangles `cnt` names in one child process with a limit of time and memory; the child is waited
 * for, but the caller may see its SIGCHLD. ret_texts has room for `cnt` pointers; each becomes
 * owned text, or NULL when the name is not mangled, not proper, or too costly. Returns 0, -ENOMEM,
 * or another negative errno when no child could be started (all NULL).
 */
int demangle_names(const char *const *names, size_t cnt, char **ret_texts);

/*
 * Returns an owned copy of a symbol's name for people: without the version after '@', cut after
 * some thousand bytes. NULL = no memory.
 */
char *symbol_name__copy(const char *name);

/*
 * Replaces control characters and bytes that are not UTF-8 by '?': names end on terminals and in
 * JSON.
 */
void clean_text(char *text);

#endif
