/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of a demangled name: C, C++ (libiberty's style, with return type and parameters), Rust,
 * Go. Names come from files of targets: anything may stand there. */
#ifndef LEAKSWEEP_MODEL_FUNCTION_NAME_H
#define LEAKSWEEP_MODEL_FUNCTION_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* A part of somebody else's text. */
struct name_part {
	const char *text;
	size_t len;
};

/* "int* ns::Box<int>::make<2>(int) const" has the path "ns::Box<int>::make<2>", the last part
 * "make". Both point into the text. */
struct function_name {
	struct name_part path; /* without return type and parameters */
	struct name_part last; /* without template arguments and the hash of Rust's legacy names */
};

/* Takes a name apart. Always gives something; of what is no proper name, the whole. */
void function_name__parse(const char *text, struct function_name *ret);

/* Whether a part is exactly `word`, or begins with it. */
bool name_part__is(struct name_part part, const char *word);
bool name_part__begins(struct name_part part, const char *word);

#endif
