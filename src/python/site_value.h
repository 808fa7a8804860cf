/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What registers and memory hold along a short stretch of code, in terms of what they held at its
 * begin: values are numbered, equal numbers are equal values. Memory that was not written in the
 * stretch does not change; writes to addresses that have nothing in common do not meet.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_VALUE_H
#define LEAKSWEEP_PYTHON_SITE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/x86_reg.h"

#define MAX_SITE_SYMBOLS 400
#define MAX_SITE_STORES 160

/* factor * symbol + add, modulo 2^64; symbol 0 = the constant `add`, with factor 0. */
struct value {
	uint16_t symbol;
	int64_t factor, add;
};

enum symbol_kind {
	SYMBOL_ANY = 1, /* nothing is known; the first GPR_CNT of these are the registers' */
	SYMBOL_LOAD,	/* what memory at `a` holds */
	SYMBOL_LOW,	/* lower half of `a` */
	SYMBOL_SUM,	/* a + b */
	SYMBOL_AND,	/* a & b */
};

struct symbol {
	uint8_t kind; /* enum symbol_kind */
	uint8_t size; /* bytes: of SYMBOL_LOAD and SYMBOL_ANY */
	struct value a, b;
};

struct stored {
	struct value addr, value;
	uint16_t size; /* bytes */
	uint16_t at;   /* which instruction of the stretch wrote it */
};

struct values {
	struct value regs[GPR_CNT];
	struct symbol symbols[MAX_SITE_SYMBOLS];
	struct stored stores[MAX_SITE_STORES]; /* in their order */
	uint16_t symbol_cnt, store_cnt;
	bool is_full; /* there was no room: nothing of it counts */
};

void values__begin(struct values *values);

static inline struct value value_const(int64_t constant)
{
	return (struct value){.add = constant};
}

static inline bool value__is_const(struct value value)
{
	return !value.symbol;
}

static inline bool value__is_same(struct value a, struct value b)
{
	return a.symbol == b.symbol && a.factor == b.factor && a.add == b.add;
}

struct value value__plus(struct value value, int64_t add);
struct value value__times(struct value value, int64_t factor);

/* The register at the begin. */
bool value__is_initial(struct value value, enum gpr reg);

struct value values__any(struct values *values, uint8_t size);
struct value values__add(struct values *values, struct value a, struct value b);
struct value values__and(struct values *values, struct value a, struct value b);

/* The value as 32-bit instructions leave it in a register. */
struct value values__low(struct values *values, struct value value);

/* Reads 4 or 8 bytes; of other sizes nothing is known. */
struct value values__load(struct values *values, struct value addr, uint8_t size);
void values__store(struct values *values, struct value addr, uint16_t size, struct value value,
		   uint16_t at);

/* Whether any of the bytes at `addr` are those that were written. */
bool stored__overlaps(const struct stored *stored, struct value addr, uint16_t size);

/* The symbol when the value is what `size` bytes of memory hold, nothing added; or NULL. */
const struct symbol *values__as_load(const struct values *values, struct value value, uint8_t size);

#endif
