/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lines of a source file, and which of them are worth a reader's time. The text is anything. */
#ifndef LEAKSWEEP_REPORT_SOURCE_VIEW_H
#define LEAKSWEEP_REPORT_SOURCE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/array.h"

/* Lines count from 1. */
struct source_view {
	const char *text; /* borrowed */
	size_t len;
	bool is_python;		/* blocks are told by their indentation alone */
	ARRAY(uint32_t) starts; /* of each line, in bytes */
	bool *shown;		/* per line */
};

/* Splits a text of less than 4 GiB, NULL = none. Returns 0 or -ENOMEM; to be freed in both cases.
 */
int source_view__init(struct source_view *view, const char *text, size_t len, bool is_python);
void source_view__free(struct source_view *view);

/* Returns how many lines there are. */
static inline size_t source_view__cnt(const struct source_view *view)
{
	return view->starts.cnt;
}

/* Returns a line without its end, not terminated; *ret_len are its bytes. `line` must be there. */
const char *source_view__line(const struct source_view *view, size_t line, size_t *ret_len);

/* Chooses all lines. */
void source_view__show_all(struct source_view *view);

/*
 * Chooses a line and the function around it; of a long function its head and the lines nearby. A
 * line that is not there is left out.
 */
void source_view__show_around(struct source_view *view, size_t line);

/* Chooses what a mark for left out lines would not be shorter than. To be called at last. */
void source_view__close_gaps(struct source_view *view);

static inline bool source_view__is_shown(const struct source_view *view, size_t line)
{
	return line && line <= view->starts.cnt && view->shown[line];
}

#endif
