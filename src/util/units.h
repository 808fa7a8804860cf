/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes, counts and durations as people write and read them. */
#ifndef LEAKSWEEP_UTIL_UNITS_H
#define LEAKSWEEP_UTIL_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define UNITS_MAX 32 /* bytes that any formatted value fits in */

/*
 * "4096", "64K", "64KiB", "1.5MiB", "2G", "10kB": powers of 1024 for K, Ki, KB, KiB alike.
 * Returns 0, -EINVAL (no number, unknown unit, negative) or -ERANGE; *ret_bytes untouched on
 * failure.
 */
int parse_size(const char *text, uint64_t *ret_bytes);

/* "500ms", "10s", "2m", "1h", "1.5s", "250us", "3d"; a bare number is seconds. Same errors;
 * nanoseconds. */
int parse_duration(const char *text, uint64_t *ret_ns);

/* "1", "0.5", "2%": parts of a hundred in 1/1000, at most a hundred (else -ERANGE). Same errors. */
int parse_percent(const char *text, uint64_t *ret_millis);

/* "1.2 GiB", "-3.0 KiB", "17 B": at most four digits, right for a column. Returns `buf`. */
const char *format_size(int64_t bytes, char buf[static UNITS_MAX]);

/* "812", "31.2 k", "1.30 M". Returns `buf`. */
const char *format_count(int64_t count, char buf[static UNITS_MAX]);

/* "350 ms", "12.4 s", "3m05s", "2h10m", "4d02h". Returns `buf`. */
const char *format_duration(uint64_t ns, char buf[static UNITS_MAX]);

#endif
