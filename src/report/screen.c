/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/screen.h"

#include <errno.h>
#include <stdlib.h>

#include "util/units.h"

int screen__init(struct screen *screen, FILE *out, unsigned int columns, bool color, bool estimated)
{
	*screen = (struct screen){
		.out = out,
		.columns = columns,
		.color = color,
		.estimated = estimated,
	};
	screen->line = open_memstream(&screen->text, &screen->len);
	return screen->line ? 0 : -ENOMEM;
}

void screen__destroy(struct screen *screen)
{
	if (screen->line)
		fclose(screen->line);
	free(screen->text);
}

void screen__paint(struct screen *screen, enum paint paint)
{
	static const char *const codes[] = {
		[PAINT_NONE] = "\033[0m",
		[PAINT_STRONG] = "\033[1m",
		[PAINT_BAD] = "\033[1;31m",
		[PAINT_WEAK] = "\033[2m",
	};

	if (screen->color)
		fputs(codes[paint], screen->line);
}

void screen__label(struct screen *screen, const char *label)
{
	screen__paint(screen, PAINT_STRONG);
	fprintf(screen->line, "%-*s", SCREEN_INDENT, label);
	screen__paint(screen, PAINT_NONE);
}

/* Hands out the line and starts the next one in the same memory. Returns its end. */
static const char *take_line(struct screen *screen)
{
	const char *end;

	if (fflush(screen->line))
		return NULL;
	end = screen->text + screen->len;
	return fseeko(screen->line, 0, SEEK_SET) ? NULL : end;
}

/* Returns the end of the word (or of the run of spaces) at `at`; *ret_width counts what a terminal
 * shows of it. */
static const char *skip_word(const char *at, const char *end, bool spaces, size_t *ret_width)
{
	size_t width = 0;

	while (at < end && (*at == ' ') == spaces) {
		if (*at == '\033') {
			while (at < end && *at != 'm')
				at++;
			at += at < end;
			continue;
		}
		width += (*at & 0xc0) != 0x80;
		at++;
	}
	*ret_width = width;
	return at;
}

void screen__end(struct screen *screen)
{
	const char *end = take_line(screen), *at = screen->text, *word, *next;
	size_t column = 0, gap, width;

	for (; end && at < end; at = next) {
		word = skip_word(at, end, true, &gap);
		next = skip_word(word, end, false, &width);
		if (word == end)
			break;
		if (screen->columns && column > SCREEN_INDENT &&
		    column + gap + width > screen->columns) {
			fprintf(screen->out, "\n%*s", SCREEN_INDENT, "");
			column = SCREEN_INDENT;
		} else {
			fwrite(at, 1, word - at, screen->out);
			column += gap;
		}
		fwrite(word, 1, next - word, screen->out);
		column += width;
	}
	fputc('\n', screen->out);
}

void screen__end_whole(struct screen *screen)
{
	const char *end = take_line(screen);

	while (end && end > screen->text && end[-1] == ' ')
		end--;
	if (end)
		fwrite(screen->text, 1, end - screen->text, screen->out);
	fputc('\n', screen->out);
}

void screen__size(struct screen *screen, int64_t bytes)
{
	char buf[UNITS_MAX];

	fprintf(screen->line, "%s%s", screen->estimated ? "~" : "", format_size(bytes, buf));
}

void screen__count(struct screen *screen, int64_t count, const char *noun)
{
	char buf[UNITS_MAX];

	fprintf(screen->line, "%s%s", screen->estimated ? "~" : "", format_count(count, buf));
	if (noun)
		fprintf(screen->line, " %s%s", noun, count == 1 ? "" : "s");
}
