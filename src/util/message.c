/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/message.h"

#include <stdarg.h>

#include "util/format.h"

int fail(char **ret_message, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	*ret_message = format_text_va(fmt, args);
	va_end(args);
	return err;
}
