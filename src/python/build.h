/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a file that holds a CPython interpreter (a program, or libpython) says of itself: version
 * and where its fixed things are. The file is a stranger's: everything in it is checked.
 */
#ifndef LEAKSWEEP_PYTHON_BUILD_H
#define LEAKSWEEP_PYTHON_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/array.h"

struct code_range {
	uint64_t start, end; /* file offsets */
};

struct python_build {
	uint16_t version;	  /* major << 8 | minor, 0x030b = 3.11; 0 = could not be told */
	char *version_text;	  /* owned; "3.11.2" or as much of it as is known, "" = nothing */
	bool free_threaded;	  /* built without the GIL */
	uint64_t runtime_vaddr;	  /* _PyRuntime; 0 = none (before 3.7) */
	uint64_t code_type_vaddr; /* PyCode_Type */
	uint64_t type_type_vaddr; /* PyType_Type */
	uint64_t none_vaddr;	  /* _Py_NoneStruct */
	ARRAY(struct code_range)
	eval;			/* the interpreter loop, with the parts that the compiler
				   split off, as far as they can be found */
	uint64_t no_memory_off; /* file offset of PyErr_NoMemory, 0 = none */
	uint64_t finalize_off;	/* file offset of Py_FinalizeEx, 0 = none */
	/* 3.13 and later: offsets that the interpreter itself tells (_Py_DebugOffsets), its first
	 * bytes as they are in the file; NULL = none. Owned. */
	uint8_t *debug_offsets;
	size_t debug_offsets_len;
};

/*
 * Reads the ELF file behind `fd`. Returns 0, -ENOENT (no interpreter in it), or as
 * elf_image__open. Free with python_build__free.
 */
int python_build__read(int fd, struct python_build *ret);
void python_build__free(struct python_build *build);

#endif
