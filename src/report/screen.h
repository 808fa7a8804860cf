/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines for a terminal: built in memory, then wrapped at spaces under their label. */
#ifndef LEAKSWEEP_REPORT_SCREEN_H
#define LEAKSWEEP_REPORT_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SCREEN_INDENT 10 /* columns of the labels at the left */

enum paint { PAINT_NONE, PAINT_STRONG, PAINT_BAD, PAINT_WEAK };

struct screen {
	FILE *out;
	FILE *line; /* write the current line here */
	char *text;
	size_t len;
	unsigned int columns; /* 0 = no limit */
	bool color;
	bool estimated; /* sizes and counts get a "~" */
};

/* Returns 0 or -ENOMEM. `out` is borrowed. */
int screen__init(struct screen *screen, FILE *out, unsigned int columns, bool color,
		 bool estimated);
void screen__destroy(struct screen *screen);

/* Switches the colour from here on; end with PAINT_NONE before the end of the line. */
void screen__paint(struct screen *screen, enum paint paint);

/* Begins a line with a label; "" continues the one above. */
void screen__label(struct screen *screen, const char *label);

/* Ends the line, broken at spaces where it is too wide. */
void screen__end(struct screen *screen);

/* Ends the line as it is. */
void screen__end_whole(struct screen *screen);

/* Writes "12.3 MiB", "~12.3 MiB" when estimated. */
void screen__size(struct screen *screen, int64_t bytes);

/* Writes "31.2 k blocks", with its noun in the right number; `noun` may be NULL. */
void screen__count(struct screen *screen, int64_t count, const char *noun);

#endif
