/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lists behind is_runtime_function, one question a function. Private to the folding. */
#ifndef LEAKSWEEP_MODEL_RUNTIME_NAMES_H
#define LEAKSWEEP_MODEL_RUNTIME_NAMES_H

#include "model/function_name.h"

/* Whether all of a module is runtime: the C and C++ libraries, the dynamic linker, allocators. */
bool is_runtime_module(const char *path);

/* Whether the name is an allocator's or a well-known wrapper's, in whatever module it is. `raw` is
 * the whole name. */
bool is_allocator_name(const char *raw, const struct function_name *name);

/* Whether the name is a helper of a library that keeps the library's other functions out: GLib. */
bool is_library_name(const struct function_name *name, const char *module);

/* Whether the name lies in std:: or in another library of containers, and is no call-back. */
bool is_cxx_runtime(const struct function_name *name);
bool is_rust_runtime(const struct function_name *name);

/* Whether the code is from a header or a source of the C++ or Rust library, and is no call-back:
 * names of inlined calls may lack their namespace. The name is taken apart, `file` is its path. */
bool is_library_source(const char *file, const struct function_name *name);

#endif
