/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names as files have them and as people read them, each once. Nothing is forgotten: answers point
 * into it. */
#ifndef LEAKSWEEP_SYMBOLIZE_TEXT_POOL_H
#define LEAKSWEEP_SYMBOLIZE_TEXT_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/array.h"
#include "util/hashmap.h"

#define NO_TEXT UINT32_MAX

struct pooled_text {
	char *raw;
	char *shown;   /* demangled, clean; NULL until text_pool__show */
	uint32_t next; /* another text with the same hash, or NO_TEXT */
};

/* Zero-initialise. */
struct text_pool {
	ARRAY(struct pooled_text) texts;
	struct hashmap index; /* hash -> newest text */
	size_t shown_cnt;     /* texts below it are shown */
};

void text_pool__free(struct text_pool *pool);

/* Interns a text; *ret_id is its index. Returns 0 or -ENOMEM. */
int text_pool__add(struct text_pool *pool, const char *text, uint32_t *ret_id);

/*
 * Makes what was added since the last call readable, in one batch. A name that cannot be demangled
 * stays as it is. Returns 0 or -ENOMEM.
 */
int text_pool__show(struct text_pool *pool, bool demangle);

/* Returns the readable text, NULL for NO_TEXT. */
const char *text_pool__get(const struct text_pool *pool, uint32_t id);

#endif
