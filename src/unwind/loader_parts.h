/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loader with another compiler than unwind_table__compile, for its tests. */
#ifndef LEAKSWEEP_UNWIND_LOADER_PARTS_H
#define LEAKSWEEP_UNWIND_LOADER_PARTS_H

#include "unwind/compile_job.h"
#include "unwind/loader.h"

struct loader_parts {
	table_compiler compile;
	const struct sandbox_limits *limits; /* borrowed until table_loader__free */
	const char *build; /* tables of another build are not used; NULL = this one's */
};

/* As table_loader__new. */
struct table_loader *table_loader__new_with(const struct loader_parts *parts, const char *cache_dir,
					    uint64_t max_cache_bytes, int *ret_cache_err);

#endif
