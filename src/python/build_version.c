/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/build_version.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (1U << 20)
#define OVERLAP 64		/* longer than any text that is looked for */
#define MAX_SCAN (256ULL << 20) /* bytes of a file that are searched for strings */
#define TAG "cpython-"
#define DEBUG_VERSION_AT 8 /* in _Py_DebugOffsets, u64 */

/* PY_VERSION_HEX (Include/patchlevel.h): major, minor, micro in a byte each, level and serial in
 * four bits each. */
#define HEX_VERSION(hex) ((uint16_t)((hex) >> 16))

/* Strings found. */
struct evidence {
	uint16_t tag;	 /* 0 = none */
	bool is_torn;	 /* more than one tag */
	uint16_t wanted; /* versions with this begin are looked for */
	char text[24];	 /* PY_VERSION, "" = none */
	bool is_text_torn;
};

/* ---- numbers --------------------------------------------------------------------------------- */

static bool is_version_hex(uint64_t hex)
{
	unsigned int level = hex >> 4 & 15, major = hex >> 24 & 0xff;

	return hex <= UINT32_MAX && (level == 0xf || (level >= 0xa && level <= 0xc)) &&
	       (major == 2 || major == 3);
}

static char *text_of_hex(uint32_t hex)
{
	unsigned int major = hex >> 24, minor = hex >> 16 & 0xff, micro = hex >> 8 & 0xff;
	unsigned int level = hex >> 4 & 15, serial = hex & 15;
	const char *levels[] = {"a", "b", "rc"};
	char *text;
	int len;

	if (level == 0xf)
		len = asprintf(&text, "%u.%u.%u", major, minor, micro);
	else
		len = asprintf(&text, "%u.%u.%u%s%u", major, minor, micro, levels[level - 0xa],
			       serial);
	return len < 0 ? NULL : text;
}

/* The version as a number in the file: Py_Version, and in _Py_DebugOffsets. 0 = not there. */
static uint32_t read_hex(const struct elf_image *image, const struct version_hints *hints,
			 bool *ret_is_torn)
{
	uint64_t told = 0, debug = 0, off, avail;

	*ret_is_torn = false;
	if (hints->py_version_vaddr &&
	    elf_segments__offset(&image->segments, hints->py_version_vaddr, false, &off, &avail) &&
	    avail >= sizeof(told) && elf_image__read(image, off, &told, sizeof(told)))
		told = 0;
	if (hints->debug_offsets && hints->debug_offsets_len >= DEBUG_VERSION_AT + sizeof(debug))
		memcpy(&debug, hints->debug_offsets + DEBUG_VERSION_AT, sizeof(debug));
	if (!is_version_hex(told))
		told = 0;
	if (!is_version_hex(debug))
		debug = 0;
	*ret_is_torn = told && debug && told != debug;
	return (uint32_t)(told ? told : debug);
}

/* ---- strings --------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Takes a number of at most three digits. Returns how many. */
static size_t take_number(const char *text, unsigned int *ret)
{
	size_t len = 0;

	for (*ret = 0; len < 3 && is_digit(text[len]); len++)
		*ret = *ret * 10 + (unsigned int)(text[len] - '0');
	return len;
}

/* "cpython-38" and what an extension's name adds to it: one digit of major, the rest is minor. */
static void take_tag(struct evidence *evidence, const char *at)
{
	const char *digits = at + strlen(TAG);
	unsigned int minor;
	uint16_t tag;
	size_t len;

	if (!is_digit(digits[0]))
		return;
	len = take_number(digits + 1, &minor);
	if (!len || len > 2 || (digits[1 + len] && digits[1 + len] != '-'))
		return;
	tag = (uint16_t)((digits[0] - '0') << 8 | minor);
	evidence->is_torn |= evidence->tag && evidence->tag != tag;
	evidence->tag = tag;
}

/* The length of "3.8.18", "3.9.0rc1", "3.10.0+"; 0 = it is none. */
static size_t match_version(const char *text, uint16_t *ret_version)
{
	unsigned int major, minor, number;
	size_t len, at = take_number(text, &major);

	if (!at || text[at++] != '.')
		return 0;
	len = take_number(text + at, &minor);
	if (!len || text[at + len] != '.' || minor > 255)
		return 0;
	at += len + 1;
	len = take_number(text + at, &number);
	if (!len)
		return 0;
	at += len;
	if (text[at] == 'a' || text[at] == 'b' || (text[at] == 'r' && text[at + 1] == 'c')) {
		at += text[at] == 'r' ? 2 : 1;
		len = take_number(text + at, &number);
		if (!len)
			return 0;
		at += len;
	}
	if (text[at] == '+')
		at++;
	*ret_version = (uint16_t)(major << 8 | minor);
	return text[at] ? 0 : at;
}

static void take_version(struct evidence *evidence, const char *at)
{
	uint16_t version;
	size_t len;

	if (is_digit(at[-1]) || at[-1] == '.')
		return;
	len = match_version(at, &version);
	if (!len || len >= sizeof(evidence->text) || version != evidence->wanted)
		return;
	evidence->is_text_torn |= evidence->text[0] && strcmp(evidence->text, at) != 0;
	memcpy(evidence->text, at, len + 1);
}

/* Before the `len` bytes is another one, behind them are OVERLAP more. */
static void search_tags(struct evidence *evidence, const char *data, size_t len)
{
	const char *at = data, *end = data + len;

	while ((at = memmem(at, (size_t)(end - at), TAG, strlen(TAG)))) {
		take_tag(evidence, at);
		at += strlen(TAG);
	}
}

static void search_versions(struct evidence *evidence, const char *data, size_t len)
{
	char start[16];
	const char *at = data, *end = data + len;

	snprintf(start, sizeof(start), "%u.%u.", evidence->wanted >> 8, evidence->wanted & 0xff);
	while ((at = memmem(at, (size_t)(end - at), start, strlen(start)))) {
		take_version(evidence, at);
		at++;
	}
}

struct chunk {
	uint64_t at; /* in the segment */
	size_t len;  /* bytes */
	char *buf;   /* a zero byte, the bytes, OVERLAP zero bytes */
};

/*
 * A text may be cut off at a chunk's end and would look like a shorter one, so what begins in its
 * last bytes is left to the next chunk; and what begins at its first byte was seen in the last one.
 */
static void search_chunk(const struct chunk *chunk, struct evidence *evidence,
			 void (*search)(struct evidence *, const char *, size_t))
{
	size_t skip = chunk->at ? 1 : 0, cut = chunk->len == CHUNK_BYTES ? OVERLAP / 2 : 0;

	memset(chunk->buf + 1 + chunk->len, 0, OVERLAP);
	if (chunk->len > skip + cut)
		search(evidence, chunk->buf + 1 + skip, chunk->len - skip - cut);
}

/* Searches what the file has of its segments, in chunks that overlap. */
static int search_strings(const struct elf_image *image, struct evidence *evidence,
			  void (*search)(struct evidence *, const char *, size_t))
{
	struct chunk chunk = {.buf = calloc(1, 1 + CHUNK_BYTES + OVERLAP)};
	uint64_t left = MAX_SCAN;

	if (!chunk.buf)
		return -ENOMEM;
	for (size_t i = 0; i < image->segments.list.cnt; i++) {
		const struct elf_segment *segment = &image->segments.list.items[i];

		for (chunk.at = 0; chunk.at < segment->size && left;
		     chunk.at += CHUNK_BYTES - OVERLAP) {
			chunk.len = segment->size - chunk.at < CHUNK_BYTES
					    ? (size_t)(segment->size - chunk.at)
					    : CHUNK_BYTES;
			if (elf_image__read(image, segment->off + chunk.at, chunk.buf + 1,
					    chunk.len))
				break;
			search_chunk(&chunk, evidence, search);
			left -= left < chunk.len ? left : chunk.len;
		}
	}
	free(chunk.buf);
	return 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int read_strings(const struct elf_image *image, bool is_2, uint16_t *ret_version,
			char **ret_text)
{
	struct evidence evidence = {0};
	uint16_t version = 0;
	char *text;
	int err;

	err = search_strings(image, &evidence, search_tags);
	if (err)
		return err;
	if (is_2 && !evidence.tag)
		evidence.wanted = 0x0207; /* caches have no tags there; before 2.7 is long ago */
	else if (!is_2 && !evidence.is_torn)
		evidence.wanted = evidence.tag;
	if (evidence.wanted) {
		err = search_strings(image, &evidence, search_versions);
		if (err)
			return err;
	}
	if (!is_2 || evidence.text[0])
		version = evidence.wanted;
	if (!version)
		text = strdup("");
	else if (evidence.text[0] && !evidence.is_text_torn)
		text = strdup(evidence.text);
	else if (asprintf(&text, "%u.%u", version >> 8, version & 0xff) < 0)
		text = NULL;
	if (!text)
		return -ENOMEM;
	*ret_version = version;
	*ret_text = text;
	return 0;
}

int build_version__read(const struct elf_image *image, const struct version_hints *hints,
			uint16_t *ret_version, char **ret_text)
{
	bool is_torn;
	uint32_t hex = read_hex(image, hints, &is_torn);
	char *text;

	if (!hex && !is_torn)
		return read_strings(image, hints->is_2, ret_version, ret_text);
	text = is_torn ? strdup("") : text_of_hex(hex);
	if (!text)
		return -ENOMEM;
	*ret_version = is_torn ? 0 : HEX_VERSION(hex);
	*ret_text = text;
	return 0;
}
