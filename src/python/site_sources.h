/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where branches come from: the other direction of code_area__control. */
#ifndef LEAKSWEEP_PYTHON_SITE_SOURCES_H
#define LEAKSWEEP_PYTHON_SITE_SOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/site_code.h"
#include "util/array.h"

/* A direct jmp or jcc; both are places in the area, which is no larger than MAX_SITE_CODE. */
struct site_source {
	uint32_t target, at;
};

struct site_sources {
	const struct code_area *area;	/* borrowed */
	ARRAY(struct site_source) list; /* by target, then by place */
};

/* Returns 0 or -ENOMEM. Free with site_sources__free. */
int site_sources__index(const struct code_area *area, struct site_sources *ret);
void site_sources__free(struct site_sources *sources);

/* Those that go to `target`, by place. */
const struct site_source *site_sources__to(const struct site_sources *sources, size_t target,
					   size_t *ret_cnt);

/*
 * The instruction in front of `at` when control comes from there without a branch, be it a call
 * that returned; SIZE_MAX = it does not.
 */
size_t site_sources__before(const struct site_sources *sources, size_t at);

/* Whether there is more than one way to come to `at`. */
bool site_sources__is_join(const struct site_sources *sources, size_t at);

#endif
