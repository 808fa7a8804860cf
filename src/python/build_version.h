/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which version of CPython a file holds: told by the interpreter's own data, never by a file name.
 */
#ifndef LEAKSWEEP_PYTHON_BUILD_VERSION_H
#define LEAKSWEEP_PYTHON_BUILD_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/elf_image.h"

/* What symbols tell. */
struct version_hints {
	uint64_t py_version_vaddr;    /* Py_Version (3.11 and later), 0 = none */
	bool is_2;		      /* exports what only 2.x does */
	const uint8_t *debug_offsets; /* struct python_build; NULL = none */
	size_t debug_offsets_len;
};

/*
 * Tells the version as struct python_build does. Two witnesses that do not agree make it 0. In
 * files before 3.11 the witnesses are strings of the file: the tag of its caches ("cpython-38",
 * Python/sysmodule.c) and PY_VERSION. Returns 0 or a negative errno; *ret_text is owned.
 */
int build_version__read(const struct elf_image *image, const struct version_hints *hints,
			uint16_t *ret_version, char **ret_text);

#endif
