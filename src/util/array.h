/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growable arrays: `struct { T *items; size_t cnt, cap; }` and nothing hidden. */
#ifndef LEAKSWEEP_UTIL_ARRAY_H
#define LEAKSWEEP_UTIL_ARRAY_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#define ARRAY(T)                                                                                   \
	struct {                                                                                   \
		T *items;                                                                          \
		size_t cnt;                                                                        \
		size_t cap;                                                                        \
	}

/* Makes room for one more item. Returns 0 or -ENOMEM; the array is untouched on failure. */
#define array_reserve_one(a)                                                                       \
	array_grow((void **)&(a)->items, (a)->cnt, &(a)->cap, sizeof(*(a)->items))

/* Appends a copy of `item`. Returns 0 or -ENOMEM. */
#define array_push(a, item) (array_reserve_one(a) ? -ENOMEM : ((a)->items[(a)->cnt++] = (item), 0))

#define array_free(a)                                                                              \
	do {                                                                                       \
		free((a)->items);                                                                  \
		(a)->items = NULL;                                                                 \
		(a)->cnt = (a)->cap = 0;                                                           \
	} while (0)

static inline int array_grow(void **items, size_t cnt, size_t *cap, size_t item_size)
{
	size_t new_cap;
	void *grown;

	if (cnt < *cap)
		return 0;
	new_cap = *cap ? *cap * 2 : 8;
	if (new_cap > SIZE_MAX / item_size)
		return -ENOMEM;
	grown = realloc(*items, new_cap * item_size);
	if (!grown)
		return -ENOMEM;
	*items = grown;
	*cap = new_cap;
	return 0;
}

#endif
