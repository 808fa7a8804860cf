/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the renderers share: names of enums, labels of frames, and text that a hostile process chose
 * (its name, its paths, its symbols) made safe for a terminal, for JSON and for folded lines.
 */
#ifndef LEAKSWEEP_REPORT_RENDER_H
#define LEAKSWEEP_REPORT_RENDER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "model/profile.h"
#include "symbolize/symbolizer.h"
#include "util/units.h"

#define RFC3339_MAX 48

/* Returns the columns that text_put fills, every character counted as one. */
size_t text_width(const char *raw);

/*
 * Writes text for a terminal: control characters as \x1b, those that reorder or hide text as
 * \u{202e}, bytes that are not UTF-8 as U+FFFD.
 */
void text_put(FILE *out, const char *raw);

/* The same, cut with "..." when it is wider than `width` columns (at least 4). */
void text_put_clipped(FILE *out, const char *raw, size_t width);

/* The same for one frame of a folded line: ';' becomes ':'. */
void text_put_folded(FILE *out, const char *raw);

/* Returns an owned copy with bytes that are not UTF-8 as U+FFFD, or NULL (no memory). */
char *text_utf8(const char *raw);

/* Return the names that JSON uses; "unknown" for a value out of range. */
const char *layer_name(unsigned int layer);
const char *unwind_name(unsigned int unwind);
const char *status_name(enum coverage_status status);
const char *state_name(enum proc_state state);
const char *stat_name(enum stat_id stat);

/* Returns in a reader's words why a stack that is not complete ends where it does. */
const char *unwind_reason(unsigned int unwind);

/* Writes a time since the epoch as RFC 3339 in UTC, with milliseconds when asked. Returns `buf`. */
const char *format_rfc3339(uint64_t realtime_ns, bool with_ms, char buf[static RFC3339_MAX]);

/* As format_size, for what was computed and may be too large for it. Returns `buf`. */
const char *format_bytes(double bytes, char buf[static UNITS_MAX]);

/* Writes which process it is, for a terminal: "16427 nginx", "16427 nginx (7 in web)" when its own
 * PID namespace has another number for it. */
void process_put(FILE *out, const struct snap_proc *proc);

/* Returns what is behind the last '/', or the whole. */
const char *path_basename(const char *path);

/* Returns the name of a frame, NULL when it has none; frame index < snap->frames.cnt. */
const struct symbol *frame_symbol(const struct profile *profile, uint32_t frame);

/* Flushes. Returns 0 or a negative errno when anything written so far has failed. */
int finish_output(FILE *out);

#endif
