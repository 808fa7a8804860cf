/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/message.h"

#include <stdarg.h>
#include <stdio.h>

int fail(char **ret_message, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (vasprintf(ret_message, fmt, args) < 0)
		*ret_message = NULL;
	va_end(args);
	return err;
}
