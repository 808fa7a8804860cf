/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text of any length, without buffers of a fixed size. */
#ifndef LEAKSWEEP_UTIL_FORMAT_H
#define LEAKSWEEP_UTIL_FORMAT_H

#include <stdarg.h>

/* Return an owned printf-style string, or NULL. */
char *format_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *format_text_va(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));

#endif
