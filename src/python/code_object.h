/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code objects as the kernel side has copied them (struct python_code): text and lines. */
#ifndef LEAKSWEEP_PYTHON_CODE_OBJECT_H
#define LEAKSWEEP_PYTHON_CODE_OBJECT_H

#include <stdint.h>

#include "include/python.h"
#include "util/array.h"

struct code_object {
	char *file, *name; /* owned, UTF-8; "?" when they could not be read */
	int32_t first_line;
	uint16_t version; /* of the interpreter: how `lines` is to be read */
	uint8_t *lines;	  /* owned */
	uint32_t lines_len;
};

/*
 * Decodes a record. `rest` are the bytes of the line table behind those that were copied, NULL when
 * there are none or they could not be had: then lines there are not known. Returns 0 or -ENOMEM.
 */
int code_object__decode(const struct python_code *record, uint16_t version, const uint8_t *rest,
			uint32_t rest_len, struct code_object *ret);
void code_object__free(struct code_object *code);

/*
 * Returns the source line of the instruction at `unit` (of 2 bytes), the first line for
 * PYTHON_NO_UNIT, 0 when it has none.
 */
uint32_t code_object__line(const struct code_object *code, uint32_t unit);

/*
 * Decodes a str object's characters to UTF-8; what is no character becomes U+FFFD, control
 * characters stay (reports escape them). Appends U+2026 when not all of it was copied. Returns an
 * owned string or NULL.
 */
char *python_text__decode(const struct python_text *text);

#endif
