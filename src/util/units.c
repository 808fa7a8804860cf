/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers are read and scaled in integers: strtod would let in "inf", "0x1p3" and the locale's
 * comma, and lose bytes above 2^53.
 */
#include "util/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_SCALE 1000000000000000000ULL /* 10^18: times 2^60 it fits in 128 bits */

#define US_NS 1000ULL
#define MS_NS (1000 * US_NS)
#define SEC_NS (1000 * MS_NS)
#define MIN_NS (60 * SEC_NS)
#define HOUR_NS (60 * MIN_NS)
#define DAY_NS (24 * HOUR_NS)

/* Digits with an optional fraction: whole + part / scale. */
struct decimal {
	uint64_t whole, part, scale;
};

/* Reads a decimal at *text and moves past it. Returns 0, -EINVAL or -ERANGE. */
static int read_decimal(const char **text, struct decimal *ret)
{
	struct decimal number = {.scale = 1};
	const char *at = *text;
	unsigned int digits = 0;
	int err = 0;

	for (; isdigit((unsigned char)*at); at++, digits++)
		if (__builtin_mul_overflow(number.whole, 10, &number.whole) ||
		    __builtin_add_overflow(number.whole, *at - '0', &number.whole))
			err = -ERANGE;
	if (*at == '.') {
		if (!isdigit((unsigned char)*++at))
			return -EINVAL;
		for (; isdigit((unsigned char)*at); at++) {
			digits++;
			if (number.scale == MAX_SCALE)
				continue;
			number.part = number.part * 10 + (*at - '0');
			number.scale *= 10;
		}
	}
	if (!digits)
		return -EINVAL;
	*text = at;
	*ret = number;
	return err;
}

/* Returns 0 or -ERANGE. */
static int scale_decimal(const struct decimal *number, uint64_t unit, uint64_t *ret)
{
	uint64_t whole;
	uint64_t part = (unsigned __int128)number->part * unit / number->scale;

	if (__builtin_mul_overflow(number->whole, unit, &whole) ||
	    __builtin_add_overflow(whole, part, &whole))
		return -ERANGE;
	*ret = whole;
	return 0;
}

/* Returns the factor of a unit of size, 0 when there is no such unit. */
static uint64_t size_unit(const char *unit)
{
	static const char prefixes[] = "kmgtpe";
	const char *prefix;

	if (!*unit || !strcasecmp(unit, "b"))
		return 1;
	prefix = strchr(prefixes, tolower((unsigned char)*unit));
	if (!prefix || (unit[1] && strcasecmp(unit + 1, "i") && strcasecmp(unit + 1, "b") &&
			strcasecmp(unit + 1, "ib")))
		return 0;
	return 1ULL << (10 * (prefix - prefixes + 1));
}

int parse_size(const char *text, uint64_t *ret_bytes)
{
	struct decimal number;
	uint64_t unit;
	int err;

	err = read_decimal(&text, &number);
	if (err == -EINVAL)
		return err;
	if (*text == ' ' && text[1])
		text++;
	unit = size_unit(text);
	if (!unit)
		return -EINVAL;
	return err ? err : scale_decimal(&number, unit, ret_bytes);
}

int parse_percent(const char *text, uint64_t *ret_millis)
{
	struct decimal number;
	uint64_t millis;
	int err;

	err = read_decimal(&text, &number);
	if (err == -EINVAL || (*text && strcmp(text, "%")))
		return -EINVAL;
	if (!err)
		err = scale_decimal(&number, 1000, &millis);
	if (err || millis > 100 * 1000)
		return -ERANGE;
	*ret_millis = millis;
	return 0;
}

static const struct {
	const char *name;
	uint64_t ns;
} duration_units[] = {
	{"d", DAY_NS}, {"h", HOUR_NS}, {"m", MIN_NS}, {"s", SEC_NS},
	{"ms", MS_NS}, {"us", US_NS},  {"ns", 1},
};

/* Reads a unit of time at *text and moves past it. Returns its nanoseconds, 0 when there is no such
 * unit. */
static uint64_t read_duration_unit(const char **text)
{
	size_t len = 0;

	while (isalpha((unsigned char)(*text)[len]))
		len++;
	for (size_t i = 0; i < sizeof(duration_units) / sizeof(duration_units[0]); i++) {
		if (strlen(duration_units[i].name) == len &&
		    !memcmp(duration_units[i].name, *text, len)) {
			*text += len;
			return duration_units[i].ns;
		}
	}
	return 0;
}

int parse_duration(const char *text, uint64_t *ret_ns)
{
	uint64_t unit, last_unit = UINT64_MAX, part, sum = 0;
	struct decimal number;
	int err, range = 0;

	do {
		err = read_decimal(&text, &number);
		if (err == -EINVAL)
			return err;
		range = err ? err : range;
		if (*text == ' ' && text[1])
			text++;
		unit = !*text && last_unit == UINT64_MAX ? SEC_NS : read_duration_unit(&text);
		/* "3m05s" is a sum, "5s3m" and "1s1s" are slips. */
		if (!unit || unit >= last_unit)
			return -EINVAL;
		last_unit = unit;
		if (!range)
			range = scale_decimal(&number, unit, &part);
		if (!range && __builtin_add_overflow(sum, part, &sum))
			range = -ERANGE;
	} while (*text);
	if (range)
		return range;
	*ret_ns = sum;
	return 0;
}

const char *format_size(int64_t bytes, char buf[static UNITS_MAX])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	uint64_t magnitude = bytes < 0 ? -(uint64_t)bytes : (uint64_t)bytes;
	const char *sign = bytes < 0 ? "-" : "";
	double value = magnitude / 1024.0;
	size_t unit = 0;

	if (magnitude < 1024) {
		snprintf(buf, UNITS_MAX, "%s%" PRIu64 " B", sign, magnitude);
		return buf;
	}
	while (value >= 1023.5) {
		value /= 1024;
		unit++;
	}
	/* 999.9 and 1023 have four digits, 1023.0 has five. */
	snprintf(buf, UNITS_MAX, "%s%.*f %s", sign, value < 999.95 ? 1 : 0, value, units[unit]);
	return buf;
}

const char *format_count(int64_t count, char buf[static UNITS_MAX])
{
	static const char units[] = "kMGTPE";
	uint64_t magnitude = count < 0 ? -(uint64_t)count : (uint64_t)count;
	const char *sign = count < 0 ? "-" : "";
	double value = magnitude / 1000.0;
	size_t unit = 0;

	if (magnitude < 1000) {
		snprintf(buf, UNITS_MAX, "%s%" PRIu64, sign, magnitude);
		return buf;
	}
	while (value >= 999.5) {
		value /= 1000;
		unit++;
	}
	snprintf(buf, UNITS_MAX, "%s%.*f %c", sign,
		 value < 9.995	 ? 2
		 : value < 99.95 ? 1
				 : 0,
		 value, units[unit]);
	return buf;
}

/* Rounds to the nearest whole unit without overflow. */
static uint64_t in_units(uint64_t ns, uint64_t unit)
{
	return ns / unit + (ns % unit >= unit / 2 + unit % 2);
}

const char *format_duration(uint64_t ns, char buf[static UNITS_MAX])
{
	if (ns < 1000)
		snprintf(buf, UNITS_MAX, "%" PRIu64 " ns", ns);
	else if (in_units(ns, US_NS) < 1000)
		snprintf(buf, UNITS_MAX, "%" PRIu64 " us", in_units(ns, US_NS));
	else if (in_units(ns, MS_NS) < 1000)
		snprintf(buf, UNITS_MAX, "%" PRIu64 " ms", in_units(ns, MS_NS));
	else if (in_units(ns, SEC_NS / 10) < 600)
		snprintf(buf, UNITS_MAX, "%" PRIu64 ".%" PRIu64 " s",
			 in_units(ns, SEC_NS / 10) / 10, in_units(ns, SEC_NS / 10) % 10);
	else if (in_units(ns, SEC_NS) < 3600)
		snprintf(buf, UNITS_MAX, "%" PRIu64 "m%02" PRIu64 "s", in_units(ns, SEC_NS) / 60,
			 in_units(ns, SEC_NS) % 60);
	else if (in_units(ns, MIN_NS) < 24 * 60)
		snprintf(buf, UNITS_MAX, "%" PRIu64 "h%02" PRIu64 "m", in_units(ns, MIN_NS) / 60,
			 in_units(ns, MIN_NS) % 60);
	else
		snprintf(buf, UNITS_MAX, "%" PRIu64 "d%02" PRIu64 "h", in_units(ns, HOUR_NS) / 24,
			 in_units(ns, HOUR_NS) % 24);
	return buf;
}
