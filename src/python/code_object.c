// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Line tables say which line each range of a code object's instructions has. Three forms:
 *
 *   to 3.9   co_lnotab: pairs of bytes, {u8 bytes of code, s8 lines} to the next range's begin
 *            (Objects/lnotab_notes.txt)
 *   3.10     co_linetable: pairs {u8 bytes of code, s8 lines}, a range each; -128 lines = none
 *            (Objects/lnotab_notes.txt)
 *   3.11 on  co_linetable: entries of a kind and a length in units, then the line's change where
 *            the kind has one; of all bytes only an entry's first has bit 7 (Objects/locations.md,
 *            later InternalDocs/code_objects.md)
 *
 * Each walk reads a byte at least a step and stops at the table's end, whatever is in it.
 */
#include "python/code_object.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"

#define VERSION_3_10 0x030a
#define VERSION_3_11 0x030b

#define REPLACEMENT 0xfffd
#define ELLIPSIS 0x2026
#define UNKNOWN_TEXT "?"

/* ---- text ---- */

static bool is_character(uint32_t code)
{
	return code && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
}

/* Writes a character as UTF-8 (RFC 3629). Returns the end of it. */
static char *put_utf8(char *out, uint32_t code)
{
	if (code < 0x80) {
		*out++ = code;
		return out;
	}
	if (code < 0x800) {
		*out++ = 0xc0 | code >> 6;
	} else if (code < 0x10000) {
		*out++ = 0xe0 | code >> 12;
		*out++ = 0x80 | (code >> 6 & 0x3f);
	} else {
		*out++ = 0xf0 | code >> 18;
		*out++ = 0x80 | (code >> 12 & 0x3f);
		*out++ = 0x80 | (code >> 6 & 0x3f);
	}
	*out++ = 0x80 | (code & 0x3f);
	return out;
}

/* A character of 1, 2 or 4 bytes in the target's byte order, which is ours. */
static uint32_t read_character(const struct python_text *text, size_t idx)
{
	const uint8_t *at = text->bytes + idx * text->width;
	uint16_t half;
	uint32_t code;

	if (text->width == 1)
		return text->is_ascii && *at >= 0x80 ? REPLACEMENT : *at;
	if (text->width == 2) {
		memcpy(&half, at, sizeof(half));
		return half;
	}
	memcpy(&code, at, sizeof(code));
	return code;
}

char *python_text__decode(const struct python_text *text)
{
	size_t len = text->len < PYTHON_TEXT_BYTES ? text->len : PYTHON_TEXT_BYTES, cnt;
	char *copy, *out;

	if (text->width != 1 && text->width != 2 && text->width != 4)
		return strdup(UNKNOWN_TEXT);
	cnt = len / text->width;
	if (cnt > text->chars)
		cnt = text->chars;
	/* 4 bytes for each, 3 for the ellipsis. */
	copy = malloc(4 * cnt + 4);
	if (!copy)
		return NULL;
	out = copy;
	for (size_t i = 0; i < cnt; i++) {
		uint32_t code = read_character(text, i);

		out = put_utf8(out, is_character(code) ? code : REPLACEMENT);
	}
	if (cnt < text->chars)
		out = put_utf8(out, ELLIPSIS);
	*out = '\0';
	return copy;
}

/* ---- decoding ---- */

/*
 * Joins the copied bytes with those behind them. To 3.9 the last pair of a table holds for all code
 * behind it, so of one that was cut an odd byte tells that nothing is known there: none has one.
 */
static int join_lines(const struct python_code *record, const uint8_t *rest, uint32_t rest_len,
		      struct code_object *code)
{
	uint32_t copied = record->lines_copied, more = rest ? rest_len : 0, len;

	if (copied > PYTHON_LINES_BYTES)
		copied = PYTHON_LINES_BYTES;
	if (copied > record->lines_len)
		copied = record->lines_len;
	if (more > record->lines_len - copied)
		more = record->lines_len - copied;
	len = copied + more;
	code->lines = malloc((size_t)len + 1);
	if (!code->lines)
		return -ENOMEM;
	memcpy(code->lines, record->lines, copied);
	if (more)
		memcpy(code->lines + copied, rest, more);
	if (len < record->lines_len && len % 2 == 0 && code->version < VERSION_3_10)
		code->lines[len++] = 0;
	code->lines_len = len;
	return 0;
}

int code_object__decode(const struct python_code *record, uint16_t version, const uint8_t *rest,
			uint32_t rest_len, struct code_object *ret)
{
	struct code_object code = {.first_line = record->first_line, .version = version};
	int err;

	err = join_lines(record, rest, rest_len, &code);
	if (err)
		return err;
	code.file = python_text__decode(&record->file);
	code.name = python_text__decode(&record->name);
	if (!code.file || !code.name) {
		code_object__free(&code);
		return -ENOMEM;
	}
	*ret = code;
	return 0;
}

void code_object__free(struct code_object *code)
{
	free(code->file);
	free(code->name);
	free(code->lines);
	*code = (struct code_object){0};
}

/* ---- lines ---- */

/* No overflow before this: up to 2^32 changes of less than 2^31. */
static uint32_t line_of(int64_t line)
{
	return line > 0 && line <= INT32_MAX ? line : 0;
}

static uint32_t line_to_3_9(const struct code_object *code, uint64_t offset)
{
	int64_t line = code->first_line;
	uint64_t begin = 0;

	for (uint32_t i = 0; i < code->lines_len; i += 2) {
		begin += code->lines[i];
		if (begin > offset)
			break;
		if (i + 1 == code->lines_len)
			return 0; /* cut */
		line += (int8_t)code->lines[i + 1];
	}
	return line_of(line);
}

static uint32_t line_3_10(const struct code_object *code, uint64_t offset)
{
	int64_t line = code->first_line;
	uint64_t end = 0;

	for (uint32_t i = 0; i + 1 < code->lines_len; i += 2) {
		int8_t change = code->lines[i + 1];
		bool has_line = change != INT8_MIN;

		end += code->lines[i];
		if (has_line)
			line += change;
		if (end > offset)
			return has_line ? line_of(line) : 0;
	}
	return 0;
}

/*
 * Reads a signed number: groups of 6 bits, the lowest first, its sign in the lowest bit. Returns
 * false where it does not end in its entry, or is none that CPython writes.
 */
static bool read_signed(const struct code_object *code, uint32_t at, int64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned int shift = 0; at < code->lines_len && shift < 36; at++, shift += 6) {
		uint8_t byte = code->lines[at];

		if (byte & 0x80)
			return false;
		value |= (uint64_t)(byte & 0x3f) << shift;
		if (!(byte & 0x40)) {
			*ret_value = value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
			return value >> 1 <= INT32_MAX;
		}
	}
	return false;
}

static uint32_t line_from_3_11(const struct code_object *code, uint64_t unit)
{
	enum { ONE_LINE_0 = 10, ONE_LINE_2 = 12, NO_COLUMNS = 13, LONG = 14, NO_LINE = 15 };
	int64_t line = code->first_line, change;
	uint64_t end = 0;
	uint32_t at = 0;

	while (at < code->lines_len) {
		unsigned int kind = code->lines[at] >> 3 & 15;

		end += (code->lines[at] & 7) + 1;
		change = kind >= ONE_LINE_0 && kind <= ONE_LINE_2 ? kind - ONE_LINE_0 : 0;
		if ((kind == NO_COLUMNS || kind == LONG) && !read_signed(code, at + 1, &change))
			return 0;
		line += change;
		if (end > unit)
			return kind == NO_LINE ? 0 : line_of(line);
		do
			at++;
		while (at < code->lines_len && !(code->lines[at] & 0x80));
	}
	return 0;
}

uint32_t code_object__line(const struct code_object *code, uint32_t unit)
{
	if (unit == PYTHON_NO_UNIT)
		return line_of(code->first_line);
	if (code->version >= VERSION_3_11)
		return line_from_3_11(code, unit);
	return code->version == VERSION_3_10 ? line_3_10(code, 2 * (uint64_t)unit)
					     : line_to_3_9(code, 2 * (uint64_t)unit);
}
