/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/format.h"

#include <stdio.h>

char *format_text_va(const char *fmt, va_list args)
{
	char *text;

	return vasprintf(&text, fmt, args) < 0 ? NULL : text;
}

char *format_text(const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = format_text_va(fmt, args);
	va_end(args);
	return text;
}
