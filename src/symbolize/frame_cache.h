/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of each place in code that was ever asked for, with lines and inlined calls. */
#ifndef LEAKSWEEP_SYMBOLIZE_FRAME_CACHE_H
#define LEAKSWEEP_SYMBOLIZE_FRAME_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/symbol.h"
#include "symbolize/sources.h"
#include "symbolize/symbolizer.h"
#include "symbolize/text_pool.h"
#include "util/array.h"
#include "util/hashmap.h"

#define NO_ENTRY UINT32_MAX
#define KERNEL_SOURCE (NO_SOURCE - 1)

/* As struct symbol_inline, before the names are readable. */
struct cached_call {
	uint32_t function, file; /* texts, or NO_TEXT */
	uint32_t line;
};

struct cached_frame {
	uint32_t source; /* or KERNEL_SOURCE */
	uint64_t address;
	uint32_t function, file;   /* texts, or NO_TEXT */
	struct cached_call *calls; /* owned, until the frame is finished */
	bool is_open;		   /* is in the cache's list of them */
	/* Whole when the frame is finished; before that, what is no text. */
	struct symbol symbol;
};

/* Zero-initialise. */
struct frame_cache {
	ARRAY(struct cached_frame) frames;
	ARRAY(uint32_t) open; /* those that are not finished */
	struct hashmap index; /* (source, address) -> frame */
	struct text_pool functions, files;
	ARRAY(struct symbol_inline *) inlines; /* owned, of finished frames */
};

void frame_cache__free(struct frame_cache *cache);

/*
 * Finds or makes the frame of a place; *ret_index is its index. One whose lines are still to be
 * read is not finished any more. Pointers to frames are valid until the next call. Returns 0 or
 * -ENOMEM.
 */
int frame_cache__find(struct frame_cache *cache, uint32_t source, uint64_t address,
		      uint32_t *ret_index, bool *ret_new);

/* Gives a frame that is not finished its function. Returns 0 or -ENOMEM. */
int frame_cache__name(struct frame_cache *cache, struct cached_frame *frame, const char *name);

/*
 * Reads lines and inlined calls of all frames that are not finished from the DWARF of their
 * sources, for `cpu_ns` of CPU time; what that was not enough for may be asked for again. Returns 0
 * or -ENOMEM: what else goes wrong is the frame's line_reason.
 */
int frame_cache__read_lines(struct frame_cache *cache, struct sources *sources, uint64_t cpu_ns,
			    struct late_lines *ret_late);

/* Makes names readable and finishes all frames. Returns 0 or -ENOMEM. */
int frame_cache__finish(struct frame_cache *cache);

#endif
