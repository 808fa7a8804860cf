/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of code objects share: records as the kernel side would have copied them. */
#ifndef LEAKSWEEP_TESTS_CODE_OBJECT_FIXTURE_H
#define LEAKSWEEP_TESTS_CODE_OBJECT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "python/code_object.h"

static inline struct python_text text_of(const void *bytes, uint8_t width, uint32_t chars)
{
	struct python_text text = {.chars = chars, .width = width, .len = chars * width};

	assert_true(chars * width <= PYTHON_TEXT_BYTES);
	memcpy(text.bytes, bytes, chars * width);
	return text;
}

/* Makes a record of a table and decodes it; `has_rest`: what was not copied can be had. */
static inline struct code_object decode(uint16_t version, int32_t first_line, const uint8_t *table,
					uint32_t len, uint32_t copied, bool has_rest)
{
	struct python_code *record = calloc(1, sizeof(*record));
	struct code_object code;

	assert_true(copied <= len && copied <= PYTHON_LINES_BYTES);
	record->first_line = first_line;
	record->lines_len = len;
	record->lines_copied = copied;
	memcpy(record->lines, table, copied);
	record->file = text_of("app.py", 1, 6);
	record->name = text_of("A.run", 1, 5);
	assert_int_equal(code_object__decode(record, version, has_rest ? table + copied : NULL,
					     has_rest ? len - copied : 0, &code),
			 0);
	free(record);
	return code;
}

#endif
