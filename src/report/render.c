/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/render.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* ---- text ---- */

/*
 * Decodes one character of `text` (at least one byte, zero-terminated). Returns its length in
 * bytes, or 0 when the bytes are no UTF-8: overlong forms, surrogates and values above 10FFFF
 * included (RFC 3629, section 4).
 */
static size_t decode_utf8(const char *text, uint32_t *ret_code)
{
	const uint8_t *bytes = (const uint8_t *)text;
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t code;
	size_t len;

	if (bytes[0] < 0x80) {
		*ret_code = bytes[0];
		return 1;
	}
	len = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
	if (bytes[0] < 0xc2 || bytes[0] > 0xf4)
		return 0;
	code = bytes[0] & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		/* The terminating zero is no continuation byte: reading stops there. */
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (bytes[i] & 0x3f);
	}
	if (code < smallest[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret_code = code;
	return len;
}

/* Controls of C0 and C1, and format characters that turn text around, hide it or break lines. */
static bool is_dangerous(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0xad || code == 0x61c ||
	       (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2060 && code <= 0x206f) || code == 0xfeff || (code >> 8) == 0xe00;
}

/* A run of bytes to print as it is, or one character to print as `text`. */
struct piece {
	const char *text;
	size_t len, width, taken;
	char escape[16];
};

/* Takes the next piece of at most `max_width` columns (an escape may be wider) from `raw`, which is
 * not empty. */
static void next_piece(const char *raw, size_t max_width, struct piece *piece)
{
	uint32_t code;
	size_t len;

	for (len = 0; len < max_width && raw[len] >= 0x20 && raw[len] < 0x7f; len++)
		;
	*piece = (struct piece){.text = raw, .len = len, .width = len, .taken = len};
	if (len)
		return;
	len = decode_utf8(raw, &code);
	piece->taken = len ? len : 1;
	piece->text = piece->escape;
	if (!len) {
		piece->len = snprintf(piece->escape, sizeof(piece->escape), REPLACEMENT);
		piece->width = 1;
	} else if (is_dangerous(code)) {
		piece->len = snprintf(piece->escape, sizeof(piece->escape),
				      code < 0x100 ? "\\x%02" PRIx32 : "\\u{%" PRIx32 "}", code);
		piece->width = piece->len;
	} else {
		piece->text = raw;
		piece->len = len;
		piece->width = 1;
	}
}

size_t text_width(const char *raw)
{
	struct piece piece;
	size_t width = 0;

	for (; *raw; raw += piece.taken) {
		next_piece(raw, SIZE_MAX, &piece);
		width += piece.width;
	}
	return width;
}

void text_put(FILE *out, const char *raw)
{
	struct piece piece;

	for (; *raw; raw += piece.taken) {
		next_piece(raw, SIZE_MAX, &piece);
		fwrite(piece.text, 1, piece.len, out);
	}
}

void text_put_clipped(FILE *out, const char *raw, size_t width)
{
	struct piece piece;
	size_t left = width - 3;

	if (text_width(raw) <= width) {
		text_put(out, raw);
		return;
	}
	for (; left && *raw; raw += piece.taken, left -= piece.width) {
		next_piece(raw, left, &piece);
		if (piece.width > left)
			break;
		fwrite(piece.text, 1, piece.len, out);
	}
	fputs("...", out);
}

void text_put_folded(FILE *out, const char *raw)
{
	struct piece piece;
	size_t len;

	while (*raw) {
		len = strcspn(raw, ";");
		if (!len) {
			fputc(':', out);
			raw++;
			continue;
		}
		next_piece(raw, len, &piece);
		fwrite(piece.text, 1, piece.len, out);
		raw += piece.taken;
	}
}

char *text_utf8(const char *raw)
{
	char *copy = malloc(strlen(raw) * strlen(REPLACEMENT) + 1);
	char *end = copy;
	uint32_t code;
	size_t len;

	if (!copy)
		return NULL;
	while (*raw) {
		len = decode_utf8(raw, &code);
		if (len) {
			memcpy(end, raw, len);
			end += len;
			raw += len;
		} else {
			end = stpcpy(end, REPLACEMENT);
			raw++;
		}
	}
	*end = '\0';
	return copy;
}

/* ---- names ---- */

#define NAME_OF(names, value)                                                                      \
	((size_t)(value) < sizeof(names) / sizeof((names)[0]) && (names)[value] ? (names)[value]   \
										: "unknown")

const char *layer_name(unsigned int layer)
{
	static const char *const names[] = {
		[LAYER_MALLOC] = "malloc", [LAYER_PYTHON] = "python", [LAYER_MMAP] = "mmap",
		[LAYER_FAULT] = "fault",   [LAYER_KERNEL] = "kernel",
	};

	return NAME_OF(names, layer);
}

const char *unwind_name(unsigned int unwind)
{
	static const char *const names[] = {
		[UNWIND_LOST] = "lost",		  [UNWIND_COMPLETE] = "complete",
		[UNWIND_TRUNCATED] = "truncated", [UNWIND_BROKEN] = "broken",
		[UNWIND_NO_TABLE] = "no-table",	  [UNWIND_NO_RULE] = "no-rule",
		[UNWIND_ODD_RULE] = "odd-rule",	  [UNWIND_UNREADABLE] = "unreadable",
		[UNWIND_NO_CODE] = "no-code",
	};

	return NAME_OF(names, unwind);
}

#define TEXT_OF(number) TEXT_OF_EXPANDED(number)
#define TEXT_OF_EXPANDED(number) #number

const char *unwind_reason(unsigned int unwind)
{
	static const char *const reasons[] = {
		[UNWIND_LOST] = "table of stacks full",
		[UNWIND_COMPLETE] = "complete",
		[UNWIND_TRUNCATED] = "deeper than " TEXT_OF(MAX_FRAMES) " frames",
		[UNWIND_BROKEN] = "the next frame is impossible",
		[UNWIND_NO_TABLE] = "unwind table not loaded in time",
		[UNWIND_NO_RULE] = "code without unwind information",
		[UNWIND_ODD_RULE] = "unwind rule not supported",
		[UNWIND_UNREADABLE] = "stack memory not readable",
		[UNWIND_NO_CODE] = "return address outside of code",
	};

	return NAME_OF(reasons, unwind);
}

const char *status_name(enum coverage_status status)
{
	static const char *const names[] = {
		[COVERAGE_PROBED] = "probed",
		[COVERAGE_PARTIAL] = "partial",
		[COVERAGE_SKIPPED] = "skipped",
	};

	return NAME_OF(names, status);
}

const char *state_name(enum proc_state state)
{
	static const char *const names[] = {
		[PROC_RUNNING] = "running",
		[PROC_EXITED] = "exited",
		[PROC_EXECED] = "execed",
	};

	return NAME_OF(names, state);
}

const char *stat_name(enum stat_id stat)
{
	static const char *const names[] = {
#define STAT(symbol, name, class, meaning, cure) [STAT_##symbol] = (name),
		STATS(STAT)
#undef STAT
	};

	return NAME_OF(names, stat);
}

const char *format_rfc3339(uint64_t realtime_ns, bool with_ms, char buf[static RFC3339_MAX])
{
	time_t seconds = realtime_ns / 1000000000;
	struct tm tm;
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(buf, RFC3339_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	if (with_ms)
		snprintf(buf + len, RFC3339_MAX - len, ".%03uZ",
			 (unsigned int)(realtime_ns / 1000000 % 1000));
	else
		snprintf(buf + len, RFC3339_MAX - len, "Z");
	return buf;
}

const char *format_bytes(double bytes, char buf[static UNITS_MAX])
{
	return format_size(bytes < 0x1p62 ? (int64_t)bytes : INT64_MAX, buf);
}

/* ---- processes, frames and rows ---- */

void process_put(FILE *out, const struct snap_proc *proc)
{
	fprintf(out, "%" PRId32 " ", proc->pid);
	text_put(out, proc->comm);
	if (!proc->ns_pid)
		return;
	fprintf(out, " (%" PRId32 " in ", proc->ns_pid);
	text_put(out, *proc->container ? proc->container : "its namespace");
	fputc(')', out);
}

const char *path_basename(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

const struct symbol *frame_symbol(const struct profile *profile, uint32_t frame)
{
	static const struct symbol none = {.reason = SYMBOL_STRIPPED};

	return profile->symbols ? &profile->symbols[frame] : &none;
}

int finish_output(FILE *out)
{
	int err = 0;

	errno = 0;
	if (fflush(out))
		err = errno ? -errno : -EIO;
	return !err && ferror(out) ? -EIO : err;
}
