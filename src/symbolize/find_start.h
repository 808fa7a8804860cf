/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of many places in code an address belongs to. Private to the symbolizer. */
#ifndef LEAKSWEEP_SYMBOLIZE_FIND_START_H
#define LEAKSWEEP_SYMBOLIZE_FIND_START_H

#include <stddef.h>
#include <stdint.h>

#include "util/array.h"

/*
 * Returns the last item of an array whose `start` is not above `address`, or NULL. The items are
 * sorted by `start`; where one ends is for the caller to look at.
 */
#define array_find_start(a, address)                                                               \
	({                                                                                         \
		const uint64_t wanted_ = (address);                                                \
		size_t low_ = 0, high_ = (a)->cnt;                                                 \
                                                                                                   \
		while (low_ < high_) {                                                             \
			size_t mid_ = low_ + (high_ - low_) / 2;                                   \
                                                                                                   \
			if ((a)->items[mid_].start <= wanted_)                                     \
				low_ = mid_ + 1;                                                   \
			else                                                                       \
				high_ = mid_;                                                      \
		}                                                                                  \
		low_ ? &(a)->items[low_ - 1] : NULL;                                               \
	})

#endif
